"""What an operator changes from the page, and that a reader cannot."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tried_trials import tried_study
from waiting import wait_until
from web_client import page_client, submit

from tuner.storage import Store, open_store, slots
from tuner.storage.studies import StudyRow, load_study
from tuner.storage.trials import find_trial, list_trials
from tuner.web.actions import STUDY_ACTIONS, TRIAL_ACTIONS
from tuner.web.security import accounts as accounts_module
from tuner.web.security.accounts import Accounts, Role

PASSWORD = "a good password"


@pytest.fixture
def store(tmp_path: Path, made_tables: Path) -> Iterator[Store]:
    shutil.copy(made_tables, tmp_path / "tuner.db")
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield store
    store.close()


@pytest.fixture
def study(store: Store) -> StudyRow:
    return tried_study(store, 6)


@pytest.fixture
def client(store: Store, study: StudyRow) -> Iterator[Any]:
    with page_client(store) as client:
        yield client


def done(client: Any, path: str, **fields: Any) -> str:
    """The line that the page shows after a form."""
    answer = submit(client, path, **fields)
    assert answer.status_code == 303, answer.text
    shown = client.get(answer.headers["location"])
    assert shown.status_code == 200
    match = re.search(r'<p class="message[^"]*"[^>]*>([^<]*)</p>', shown.text)
    assert match is not None
    return match[1]


def test_a_study_is_paused_resumed_and_stopped(client: Any, store: Store, study: StudyRow) -> None:
    actions = f"/studies/{study.uuid}/actions"
    assert done(client, f"{actions}/pause").startswith("paused")
    assert load_study(store).state == "paused"
    assert "Resume</button>" in client.get(f"/studies/{study.uuid}").text
    buttons = client.get(actions, headers={"x-part": "1"}).text
    assert "Resume</button>" in buttons and "Pause</button>" not in buttons
    assert done(client, f"{actions}/resume").startswith("may go on")
    assert load_study(store).state == ""
    assert "no search runs" in done(client, f"{actions}/stop")
    assert load_study(store).state == "stopped"
    assert submit(client, f"{actions}/nothing").status_code == 404


def test_trials_are_added_and_the_priority_is_set(
    client: Any, store: Store, study: StudyRow
) -> None:
    actions = f"/studies/{study.uuid}/actions"
    assert done(client, f"{actions}/add", more="50") == "50 trials added: the study has 50 in all"
    assert done(client, f"{actions}/add", more="1").endswith("has 51 in all")
    assert slots.total_slots(store, study) == 51
    for more in ("0", "-3", "many", "", "1e3", "9999999999"):
        assert "number of trials to add" in done(client, f"{actions}/add", more=more)
    assert slots.total_slots(store, study) == 51
    assert "priority 7" in done(client, f"{actions}/priority", priority="7")
    assert load_study(store).priority == 7
    assert "must be a whole number" in done(client, f"{actions}/priority", priority="high")


def test_a_configuration_is_queued_by_a_form_made_of_the_space(
    client: Any, store: Store, study: StudyRow
) -> None:
    path = f"/studies/{study.uuid}/enqueue"
    form = client.get(path).text
    for name in study.spec.space.varying():
        assert f'name="{name}"' in form
    assert 'value="&#34;a c&#34;"' in form
    assert 'min="0.01" max="0.1"' in form and "only when size is 64 or 128" in form
    fields = {"x": "0.25", "kind": '"a c"', "size": "", "depth": "2", "width": "9, 10"}
    line = done(client, path, **fields)
    assert line.startswith("trial 8 is queued (2 waiting)") and "too few trials left" in line
    trial = find_trial(store, study, 8)
    assert trial.params == {"x": 0.25, "kind": "a c", "depth": 2, "width_1": 9, "width_2": 10}
    wrong = submit(client, path, x="7", kind="b")
    assert wrong.status_code == 400
    assert 'role="alert">x must be in 0.0001 … 1, log; got 7' in wrong.text
    assert 'value="7"' in wrong.text and '<option value="b" selected>' in wrong.text
    assert len(list_trials(store, study)) == 9
    complete = next(each for each in list_trials(store, study) if each.state == "COMPLETE")
    like = client.get(path, params={"like": complete.number}).text
    assert f'value="{complete.params["x"]!r}"' in like


def test_a_trial_is_tried_again_and_one_that_runs_is_stopped(
    client: Any, store: Store, study: StudyRow
) -> None:
    trials = f"/studies/{study.uuid}/trials"
    assert done(client, f"{trials}/0/actions/retry").startswith("trial 8 is queued")
    again = find_trial(store, study, 8)
    assert again.retry_of == 0
    assert again.params["x"] == find_trial(store, study, 0).params["x"]
    assert "has ended already" in done(client, f"{trials}/0/actions/stop")
    assert "waits and has not begun" in done(client, f"{trials}/7/actions/stop")
    assert "Stop this trial" in client.get(f"{trials}/6").text
    assert "Stop this trial" not in client.get(f"{trials}/0").text
    gone = submit(client, f"{trials}/99/actions/retry")
    assert gone.status_code == 404 and "has no trial 99" in gone.text


@pytest.mark.parametrize("name", ["\0", "a\nb", "--replace", "x" * 300, "<script>"])
def test_a_model_that_cannot_have_its_name_starts_no_promotion(
    client: Any, study: StudyRow, name: str
) -> None:
    path = f"/studies/{study.uuid}/trials/0/promote"
    assert "no name for a registered model" in done(client, path, name=name)
    assert "No trial of this study" in client.get(f"/studies/{study.uuid}/promotion").text


@pytest.mark.parametrize("number", ["-1", str(2**31), "9" * 30])
def test_a_trial_that_there_is_not(client: Any, study: StudyRow, number: str) -> None:
    base = f"/studies/{study.uuid}/trials/{number}"
    for page in ("", "/now", "/log", "/curves", "/promote", "/mlflow", "/dashboard"):
        assert client.get(f"{base}{page}", follow_redirects=False).status_code == 404
    for action in ("actions/stop", "actions/retry", "promote"):
        assert submit(client, f"{base}/{action}").status_code == 404


def test_a_promotion_runs_in_a_process_and_its_failure_is_shown(
    client: Any, store: Store, study: StudyRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # no code is trusted
    complete = next(each for each in list_trials(store, study) if each.state == "COMPLETE")
    path = f"/studies/{study.uuid}/trials/{complete.number}/promote"
    assert "the test split is read" in client.get(path).text
    progress = f"/studies/{study.uuid}/promotion"
    assert submit(client, path).headers["location"] == progress
    assert "is being promoted: wait" in done(client, path)
    wait_until(lambda: "badge running" not in client.get(progress).text, timeout_s=120)
    shown = client.get(progress).text
    assert "not promoted" in shown
    assert f"tuner promote tried --trial {complete.number} --trust-code" in shown


def test_readers_see_no_buttons_and_are_refused(
    store: Store, study: StudyRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts_module, "_COST", {"n": 16, "r": 8, "p": 1})
    users = Accounts(tmp_path / "users.json")
    users.put("bob", PASSWORD, Role.READER)
    base = f"/studies/{study.uuid}"
    paths = [f"{base}/actions/{name}" for name in STUDY_ACTIONS]
    paths += [f"{base}/trials/0/actions/{name}" for name in TRIAL_ACTIONS]
    paths += [f"{base}/enqueue", f"{base}/trials/0/promote"]
    with page_client(store, accounts=users) as client:
        for path in paths:
            assert client.post(path).status_code == 401
        client.post("/login", data={"name": "bob", "password": PASSWORD})
        for path in paths:
            assert submit(client, path, more="5", priority="5").status_code == 403, path
        for page in (base, f"{base}/trials/0", f"{base}/enqueue", f"{base}/trials/0/promote"):
            shown = client.get(page)
            assert shown.status_code == 200
            assert re.findall(r'method="post" action="([^"]*)"', shown.text) == ["/logout"]
    now = load_study(store)
    assert (now.state, now.priority, slots.total_slots(store, study)) == ("", 0, 0)
    assert len(list_trials(store, study)) == 8


def test_without_the_form_token_nothing_changes(client: Any, store: Store, study: StudyRow) -> None:
    client.get("/")
    for path in ("actions/pause", "trials/0/actions/retry", "enqueue", "trials/0/promote"):
        assert client.post(f"/studies/{study.uuid}/{path}", data={"x": "1"}).status_code == 403
    assert load_study(store).state == ""
    assert len(list_trials(store, study)) == 8


@pytest.mark.parametrize("number", [99, 10**30, -1])
def test_a_trial_that_is_not_there_is_no_error_of_the_server(
    client: Any, study: StudyRow, number: int
) -> None:
    base = f"/studies/{study.uuid}/trials/{number}"
    for path in ("", "/now", "/attempts", "/curves", "/promote", "/mlflow", "/dashboard"):
        assert client.get(base + path).status_code == 404, path
    for path in ("/promote", "/actions/retry", "/actions/stop"):
        assert submit(client, base + path).status_code == 404, path
    like = client.get(f"/studies/{study.uuid}/enqueue?like={number}")
    assert like.status_code == (404 if number == 99 else 400)


def test_a_name_that_does_not_print_is_escaped_on_every_page(store: Store) -> None:
    study = tried_study(store, 6, name="odd\u202ename")
    base = f"/studies/{study.uuid}"
    trials = list_trials(store, study)
    paths = ["/trials", "/trials/0", "/trials/0/promote", "/enqueue", "/promotion", "/actions"]
    paths.append(f"/compare?trial={trials[0].number}&trial={trials[1].number}")
    with page_client(store) as client:
        for path in ("/", base, *(base + path for path in paths)):
            text = client.get(path).text
            assert "\u202e" not in text and "odd\\u202ename" in text, path
