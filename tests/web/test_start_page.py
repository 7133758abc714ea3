"""The start page: all studies, how far they are, and who works on them."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy_study import toy_spec
from trial_writes import begun, complete, fail
from web_client import page_client

from tuner.storage import Store, daemon_rows, leases, slots, study_control
from tuner.storage.studies import StudyRow, create_study, delete_study, find_study, list_studies
from tuner.study.study_state import StudyState

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def own_store(store: Store) -> Iterator[Store]:
    """Of a database that other tests use too."""
    _delete_all(store)
    yield store
    _delete_all(store)


def _delete_all(store: Store) -> None:
    for summary in list_studies(store):
        delete_study(store, find_study(store, summary.name), even_while_searched=True)


def searched(store: Store, name: str, total: int, scores: tuple[float, ...]) -> StudyRow:
    """A study with so many slots, whose first trials have these scores; a live loop's."""
    study = create_study(store, name, toy_spec())
    slots.ensure_slots(store, study, total)
    lease = leases.open_lease(store, study)
    for score in scores:
        complete(store, lease, begun(store, lease), score)
    return study


def row_of(html: str, study: StudyRow) -> str:
    """The text of the study's row."""
    row = re.search(rf'<tr data-key="{study.uuid}">(.*?)</tr>', html, re.DOTALL)
    assert row is not None
    return " ".join(re.sub(r"<[^>]+>", " ", row[1]).split())


def test_without_a_database_it_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "none.db"
    with page_client(f"sqlite:///{file}") as client:
        html = client.get("/").text
        assert "No study yet. Create one:" in html
        assert "tuner study create --data digits" in html
        assert "Nobody." in html
        assert not file.exists()  # who only looks creates nothing


def test_what_it_shows_of_studies(own_store: Store) -> None:
    going = searched(own_store, "going", 4, (0.5, 0.75))
    done = searched(own_store, "finished", 1, (0.5,))
    paused = searched(own_store, "paused", 4, ())
    study_control.set_state(own_store, paused, StudyState.PAUSED)
    failing = create_study(own_store, "failing", toy_spec())
    slots.ensure_slots(own_store, failing, 2)
    lease = leases.open_lease(own_store, failing)
    fail(own_store, lease, begun(own_store, lease))
    leases.renew_lease(own_store, lease, 0.0)
    with page_client(own_store) as client:
        html = client.get("/").text
    assert f'href="/studies/{going.uuid}"' in html
    assert re.match(r"going running 2 of 4 0\.7500 val_accuracy points\.npz", row_of(html, going))
    assert "finished done 1 of 1 0.5000" in row_of(html, done)
    assert "paused paused 0 of 4 –" in row_of(html, paused)
    assert "failing waiting 0 of 2, 1 failed –" in row_of(html, failing)
    assert html.count("search in the foreground") == 3


@pytest.mark.parametrize(
    ("baseline", "shown"),
    [(0.5, "0.7500 +0.2500"), (0.75, "0.7500 ±0"), (1.0, "1.0000 ±0")],
)
def test_the_best_is_told_against_the_baseline(
    baseline: float, shown: str, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = SimpleNamespace(value=baseline)
    monkeypatch.setattr("tuner.web.start_page.read_baseline", lambda *_: trial)
    study = searched(sqlite_store, f"against-{baseline}", 2, (0.75,))
    with page_client(sqlite_store) as client:
        html = client.get("/").text
    delete_study(sqlite_store, study, even_while_searched=True)
    assert shown in row_of(html, study)
    assert ('class="good"' in html) == (baseline < 0.75)


def test_names_and_damage_are_shown_and_do_not_run(own_store: Store) -> None:
    study = create_study(own_store, SCRIPT, toy_spec())
    broken = create_study(own_store, "broken", toy_spec())
    with own_store.writing() as connection:
        sql = "UPDATE tuner_studies SET spec = '{' || '%s' WHERE name = 'broken'"
        connection.exec_driver_sql(sql % SCRIPT)
    with page_client(own_store) as client:
        html = client.get("/").text
        assert SCRIPT not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in row_of(html, study)
        assert row_of(html, broken).startswith("broken damaged not a study of this version")
        for find, shown, hidden in (("SCRIPT", study, broken), ("brok", broken, study)):
            part = client.get("/overview", params={"find": find}, headers={"x-part": "1"}).text
            assert shown.uuid in part and hidden.uuid not in part
        none = client.get("/", params={"find": SCRIPT + "x"}).text
        assert "No study has" in none and SCRIPT not in none
        assert client.get("/", params={"page": "0"}).status_code == 400


def test_who_is_at_work(own_store: Store) -> None:
    waiting = create_study(own_store, "waiting", toy_spec())
    slots.ensure_slots(own_store, waiting, 1)
    with page_client(own_store) as client:
        assert "1 study waits for a worker: <code" in client.get("/").text
        daemon = daemon_rows.register(own_store, 3, None, "working")
        url = "postgresql://me:hidden77@host/db"
        daemon_rows.renew(own_store, daemon, "working", {"waiting": f"no answer from {url}"})
        html = client.get("/").text
        daemon_rows.remove(own_store, daemon)
        assert "worker of 3 processes, working" in html
        assert "skips waiting: no answer from postgresql://***@host/db" in html
        assert "hidden77" not in html


def test_many_studies_come_in_pages(own_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.web.start_page._PER_PAGE", 2)
    made = [create_study(own_store, f"s{number}", toy_spec()) for number in range(3)]
    with page_client(own_store) as client:
        first, second = client.get("/").text, client.get("/?page=2").text
        assert [study.uuid in first for study in made] == [False, True, True]
        assert [study.uuid in second for study in made] == [True, False, False]
        assert "page 1 of 2, 3 studies" in first
        assert client.get("/?page=99").text.count("page 2 of 2") == 1
