"""The table of trials, a trial's page, and two trials side by side, as a browser gets them."""

import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tried_trials import tried_study
from web_client import page_client

from tuner.runner.study_files import search_log
from tuner.settings import load_settings
from tuner.storage import Store, open_store
from tuner.storage.schema import attempts
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow, list_trials

TRIALS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, made_tables: Path) -> Path:
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(made_tables, folder / "tuner.db")
    return folder


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{folder}/tuner.db")
    yield store
    store.close()


@pytest.fixture(scope="module")
def study(store: Store) -> StudyRow:
    return tried_study(store, TRIALS)


@pytest.fixture(scope="module")
def client(store: Store, study: StudyRow) -> Iterator[Any]:
    with page_client(store) as client:
        yield client


def text_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def numbers(text: str) -> list[int]:
    """The trials of a table, from the top."""
    return [int(number) for number in re.findall(r'<tr data-key="(\d+)"', text)]


def link(text: str, name: str) -> str:
    """The address that a link of this text leads to."""
    match = re.search(rf'href="([^"]*)"[^>]*>{re.escape(name)}</a>', text)
    assert match is not None, name
    return html.unescape(match[1])


def with_end(store: Store, study: StudyRow, end: str) -> TrialRow:
    return next(trial for trial in list_trials(store, study) if trial.end == end)


def test_the_table_is_walked_by_links(client: Any, study: StudyRow) -> None:
    first = text_of(client.get(f"/studies/{study.uuid}/trials"))
    assert numbers(first) == list(range(TRIALS + 1, TRIALS + 1 - 50, -1))
    assert "1–50 of 62 trials" in first and "page 1 of 2" in first
    second = text_of(client.get(link(first, "Next")))
    assert numbers(second) == list(range(TRIALS + 1 - 50, -1, -1))
    assert numbers(text_of(client.get(link(second, "Previous")))) == numbers(first)
    by_score = text_of(client.get(link(first, "score")))
    assert 'aria-sort="descending"' in by_score
    turned = text_of(client.get(link(by_score, "score")))
    assert 'aria-sort="ascending"' in turned
    # The page, the order and the filter stay together.
    failed = text_of(client.get(link(turned, "fail")))
    assert set(re.findall(r'class="badge bad">([a-z ]+)<', failed)) == {"user error"}
    assert 'aria-sort="ascending"' in failed
    assert 'name="sort" value="score"' in failed


def test_a_filter_is_kept_and_its_mistakes_are_said(client: Any, study: StudyRow) -> None:
    path = f"/studies/{study.uuid}/trials"
    shown = text_of(client.get(path, params={"filter": 'kind="a c" size>32'}))
    assert 'value="kind=&#34;a c&#34; size&gt;32"' in shown
    assert 0 < len(numbers(shown)) < 50
    wrong = text_of(client.get(path, params={"filter": "<script>alert(1)</script>"}))
    assert numbers(wrong) == [] and "<script>alert" not in wrong
    assert 'role="alert">the filter cannot be read at' in wrong
    nothing = text_of(client.get(path, params={"filter": "x>1"}))
    assert "No trial matches" in nothing
    assert client.get(path, params={"page": "0"}).status_code == 400
    part = text_of(client.get(path, headers={"x-part": "1"}))
    assert "<html" not in part and len(numbers(part)) == 50


def test_a_trial_page_says_what_came_of_it(
    client: Any, store: Store, study: StudyRow, folder: Path
) -> None:
    failed = with_end(store, study, "user_error")
    path = f"/studies/{study.uuid}/trials/{failed.number}"
    with store.writing() as connection:
        detail = "Traceback:\n<script>alert('x')</script> postgresql://me:hunter2secret@host/db"
        row = sa.update(attempts).where(attempts.c.trial_id == failed.trial_id)
        connection.execute(
            row.where(attempts.c.end == "user_error").values(
                detail=detail, host="rack-1", node="6c414144aa"
            )
        )
    log = search_log(load_settings(f"sqlite:///{folder}/tuner.db", None).checkpoints, study.uuid)
    assert "The log of the search is not on this machine" in text_of(client.get(path))
    log.parent.mkdir(parents=True)
    lines = [f"INFO trial {failed.number}1, attempt 1: given to worker 0"]
    lines += [f"INFO trial {failed.number}, attempt 2: given to worker 3", "a line of its worker"]
    lines += [f"INFO trial {failed.number} ended: user_error, score None", "a later line"]
    log.write_text("\n".join(lines) + "\n")
    shown = text_of(client.get(path))
    assert "&lt;script&gt;alert" in shown and "<script>alert" not in shown
    assert "hunter2secret" not in shown
    assert "a line of its worker" in shown and "a later line" not in shown
    assert f"trial {failed.number}1," not in shown
    assert re.search(r"worker \d+ on rack-1/6c414144", shown)
    for tool in ("mlflow", "dashboard"):
        assert f'href="{path}/{tool}"' in shown
    assert client.get(f"/studies/{study.uuid}/trials/999").status_code == 404
    assert client.get(f"/studies/{study.uuid}/trials/-1").status_code == 404
    assert client.get(f"/studies/{'0' * 32}/trials").status_code == 404


def test_curves_are_sent_once_and_as_tables_too(client: Any, store: Store, study: StudyRow) -> None:
    trial = with_end(store, study, "complete")
    path = f"/studies/{study.uuid}/trials/{trial.number}/curves"
    figure = client.get(path).json()
    assert [panel["label"] for panel in figure["panels"]] == ["loss by epoch", "accuracy by epoch"]
    assert client.get(path, params={"have": figure["mark"]}).status_code == 204
    assert "<table>" in text_of(client.get(f"{path}/table"))
    waiting = f"/studies/{study.uuid}/trials/{TRIALS + 1}/curves"
    assert "has finished no epoch (waiting)" in client.get(waiting).json()["note"]


def test_two_trials_are_compared_by_two_links(client: Any, store: Store, study: StudyRow) -> None:
    pair = [trial for trial in list_trials(store, study) if trial.state == "COMPLETE"][:2]
    first, second = (trial.number for trial in pair)
    chosen = text_of(client.get(f"/studies/{study.uuid}/trials", params={"chosen": first}))
    assert f"Choose the trial to compare with trial {first}" in chosen
    compared = text_of(client.get(f"/studies/{study.uuid}/compare?trial={first}&trial={second}"))
    differing, _, same = compared.partition("parameters are the same")
    for name in study.spec.space.parameters:
        is_different = pair[0].params.get(name) != pair[1].params.get(name)
        assert (f"≠</span> {name}</th>" in differing) is is_different, name
        assert (f'"row">{name}</th>' in same) is not is_different, name
    curves = client.get(f"/studies/{study.uuid}/compare/{first}/{second}/curves").json()
    names = {trace["name"] for trace in curves["panels"][0]["data"]}
    assert names >= {f"trial {first}", f"trial {second}"}
    for query in ("", "?trial=1", "?trial=1&trial=1", "?trial=1&trial=2&trial=3"):
        assert client.get(f"/studies/{study.uuid}/compare{query}").status_code == 400, query
    assert client.get(f"/studies/{study.uuid}/compare?trial=1&trial=999").status_code == 404
