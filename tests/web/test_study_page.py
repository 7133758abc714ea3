"""The page of a study, its parts and figures, as a browser gets them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import trial_writes
from toy_study import ANY_X, toy_spec
from web_client import page_client

from tuner.storage import Store, daemon_rows, leases, open_store, slots, study_control
from tuner.storage.attempt_rows import record_report
from tuner.storage.schema import studies
from tuner.storage.studies import StudyRow, create_study
from tuner.study.messages import Report
from tuner.study.spec import Choice
from tuner.study.study_state import StudyState
from tuner.system.secret_masking import remember_values
from tuner.web import study_page

SCRIPT = "<script>alert(1)</script>"
SECRET = "s3cr3t-of-a-database"
PART = {"x-part": "1"}


@pytest.fixture
def own_store(made_tables: Path, tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "tuner.db").write_bytes(made_tables.read_bytes())
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield store
    store.close()


@pytest.fixture
def client(own_store: Store) -> Iterator[Any]:
    with page_client(own_store) as client:
        yield client


def searched(store: Store, name: str = "toy") -> StudyRow:
    """Of 5 trials, one has failed, and one runs."""
    study = create_study(store, name, toy_spec({"x": ANY_X}))
    slots.ensure_slots(store, study, 5)
    lease = leases.open_lease(store, study)
    failed = trial_writes.begun(store, lease)
    trial_writes.fail(store, lease, failed, f'Traceback:\n  File "n.py"\nOSError: {SCRIPT}')
    running = trial_writes.begun(store, lease)
    record_report(store, lease, running, Report(1, 1, True, {"val_accuracy": 0.25}))
    return study


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_what_the_page_shows_of_a_running_study(own_store: Store, client: Any) -> None:
    study = searched(own_store, SCRIPT)
    html = client.get(f"/studies/{study.uuid}").text
    assert SCRIPT not in html
    assert "<h1>&lt;script&gt;alert(1)&lt;/script&gt;</h1>" in html
    # A policy of the page refuses these.
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", html)
    shown = words(html)
    assert "running" in shown
    assert "0 of 5" in shown
    assert "user error 1" in shown
    assert re.search(r"1 1 of 3 – 0 of \S+ \(pid \d+\)", shown)
    part = client.get(f"/studies/{study.uuid}/now", headers=PART).text
    assert words(part) in shown
    assert "<html" not in part
    whole = client.get(f"/studies/{study.uuid}/now").text
    assert whole.startswith("<!doctype html>")


def test_the_best_of_a_large_study_is_fetched_once_the_page_is_shown(
    own_store: Store, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_page, "_LARGE", 4)
    study = searched(own_store)
    page = client.get(f"/studies/{study.uuid}").text
    assert f'data-part="/studies/{study.uuid}/now" data-later' in page
    assert "0 of 5" in words(page)
    assert "user error 1" not in words(page)
    part = client.get(f"/studies/{study.uuid}/now", headers=PART).text
    assert "user error 1" in words(part)


def test_where_nothing_happens_it_says_what_to_do(own_store: Store, client: Any) -> None:
    study = create_study(own_store, "toy", toy_spec())
    page = f"/studies/{study.uuid}"
    asked = words(client.get(page).text)
    assert "no trials are asked for yet. tuner study set toy --trials 100" in asked
    slots.ensure_slots(own_store, study, 5)
    assert "nobody works on it. tuner worker" in words(client.get(page).text)
    daemon_rows.register(own_store, 2, ["vision-*"])  # it does not take this one
    assert "nobody works on it. tuner worker" in words(client.get(page).text)
    study_control.set_state(own_store, study, StudyState.PAUSED)
    assert "paused. tuner study resume toy" in words(client.get(page).text)
    study_control.set_state(own_store, study, StudyState.RUNNING)
    daemon = daemon_rows.register(own_store, 2)
    waits = f"it waits for a free process of {daemon}"
    assert waits in words(client.get(page).text)
    daemon_rows.renew(own_store, daemon, "idle", {"toy": f"no data here {SCRIPT}"})
    html = client.get(page).text
    assert f"{daemon} leaves it alone: no data here <script>" in words(html).replace(
        "&lt;script&gt;", "<script>"
    )
    assert SCRIPT not in html


def test_failures_come_with_their_text_but_without_secrets(own_store: Store, client: Any) -> None:
    study = create_study(own_store, "toy", toy_spec())
    assert "No trial has failed." in client.get(f"/studies/{study.uuid}/failures").text
    slots.ensure_slots(own_store, study, 1)
    lease = leases.open_lease(own_store, study)
    remember_values([SECRET])
    text = f'Traceback:\n  File "n.py", line 1\nOSError: {SCRIPT} postgresql://u:{SECRET}@h/d'
    trial_writes.fail(own_store, lease, trial_writes.begun(own_store, lease), text)
    html = client.get(f"/studies/{study.uuid}/failures", headers=PART).text
    assert "1 × user error" in words(html)
    assert "OSError: &lt;script&gt;" in html
    assert f'<a href="/studies/{study.uuid}/trials/0">' in html
    assert "<pre" in html
    assert SCRIPT not in html
    assert SECRET not in html


def test_a_damaged_study_says_what_removes_it(own_store: Store, client: Any) -> None:
    study = create_study(own_store, "toy", toy_spec())
    with own_store.writing() as connection:
        connection.execute(sa.update(studies).values(spec="{}"))
    answer = client.get(f"/studies/{study.uuid}")
    assert answer.status_code == 200
    assert "This study is damaged" in answer.text
    assert "tuner study delete toy" in answer.text


def test_a_comparison_shows_its_configurations(own_store: Store, client: Any) -> None:
    compared = {"held_out": "test", "metric": "test_accuracy", "sampler": Choice(name="listed")}
    spec = toy_spec({"x": 0.5}).model_copy(update=compared)
    study = create_study(own_store, "compared", spec)
    page = client.get(f"/studies/{study.uuid}").text
    assert "data-figure" not in page
    assert (
        "the test split was read only after" in client.get(f"/studies/{study.uuid}/comparison").text
    )
    figure = client.get(f"/studies/{study.uuid}/figures/history").json()
    assert "is a comparison" in figure["note"]


def test_a_figure_is_sent_once(own_store: Store, client: Any) -> None:
    study = searched(own_store)
    url = f"/studies/{study.uuid}/figures/curves"
    first = client.get(url).json()
    (panel,) = first["panels"]
    assert [trace["name"] for trace in panel["data"]] == ["trial 1, running", "best epoch"]
    assert client.get(url, params={"have": first["mark"]}).status_code == 204
    table = words(client.get(f"{url}/table", headers=PART).text)
    assert "trial 1, running 1 0.2500" in table
    note = client.get(f"/studies/{study.uuid}/figures/history").json()["note"]
    assert "no finished trial yet" in note
    assert client.get(f"/studies/{study.uuid}/figures/histroy").status_code == 404
    assert client.get(f"/studies/{'0' * 32}/figures/curves").status_code == 404


def test_plotly_comes_from_its_wheel(own_store: Store, client: Any) -> None:
    study = searched(own_store)
    page = client.get(f"/studies/{study.uuid}").text
    address = re.search(r'data-plotly="([^"]+)"', page)
    assert address is not None
    packed = client.get(address[1], headers={"accept-encoding": "gzip"})
    plain = client.get(address[1], headers={"accept-encoding": "identity"})
    assert "immutable" in packed.headers["cache-control"]
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content  # The client unpacks.
    assert b"plotly.js v" in plain.content[:100]
