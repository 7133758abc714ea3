"""Pausing, stopping, setting and watching studies from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_study import toy_spec
from trial_writes import begun, complete, put_back

from tuner.manage import watching
from tuner.reports.worker_tables import worker_rows
from tuner.runner import RunStatus, Silent
from tuner.storage import Store, attempt_rows, daemon_rows, leases, open_store, slots, study_control
from tuner.storage.studies import StudyRow, create_study, load_study
from tuner.study.ends import TrialEnd
from tuner.study.messages import WorkerPlace
from tuner.study.spec import Choice
from tuner.study.study_state import StudyState


@pytest.fixture
def store(tuner, tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path}/tuner.db")


@pytest.fixture
def study(store: Store) -> StudyRow:
    return create_study(store, "mine", toy_spec())


def test_a_study_is_created_for_daemons(tuner, store: Store) -> None:
    words = ("study", "create", "d", "--data", "iris", "--space", "tabular", "--trials", "5")
    done = tuner(*words, "--priority", "-2", "--target", "0.9", "--trial-timeout", "10m")
    assert done.out.splitlines()[-2:] == [
        "5 trials in all, priority -2, target 0.9, trial timeout 600 s",
        "next: tuner worker",
    ]
    study = load_study(store)
    assert slots.slot_counts(store, study) == {"open": 5}
    assert (study.priority, study.limits) == (-2, {"target": 0.9, "trial_timeout_s": 600.0})
    # The same command again adds nothing, and takes nothing away.
    study_control.set_total(store, study, 8)
    daemon_rows.register(store, 2)
    again = tuner(*words)
    assert again.out.splitlines()[-1] == "next: tuner study watch d"
    assert slots.slot_counts(store, study) == {"open": 8}


def test_states_are_said_with_what_comes_next(tuner, store: Store, study: StudyRow) -> None:
    slots.ensure_slots(store, study, 4)
    assert tuner("study", "pause").out == "study mine: paused; to go on: tuner study resume mine\n"
    (row,) = json.loads(tuner("study", "list", "--json").out)
    assert (row["state"], row["total"], row["priority"]) == ("paused", 4, 0)
    assert "state" in tuner("study", "show").out
    assert tuner("study", "resume").out == (
        "study mine: may go on; nobody works on it; here: tuner optimize mine --trials 4\n"
        "or as a service, here or elsewhere: tuner worker\n"
    )
    assert "state" not in tuner("study", "list").out
    lease = leases.open_lease(store, study)
    assert tuner("study", "pause", "mine").out.startswith("study mine: asked to pause: ")
    assert tuner("study", "resume", "mine").out.startswith("study mine: goes on: ")
    slot = begun(store, lease)
    assert tuner("trial", "stop", "0").out == "study mine: trial 0 ends at its next report\n"
    put_back(store, lease, slot, "paused")
    assert tuner("trial", "stop", "0").out == "study mine: trial 0 ends when it goes on\n"


def test_a_study_that_is_done_waits_for_nobody(tuner, store: Store, study: StudyRow) -> None:
    daemon_rows.register(store, 2)
    slots.ensure_slots(store, study, 1)
    lease = leases.open_lease(store, study)
    complete(store, lease, begun(store, lease))
    leases.renew_lease(store, lease, 0.0)
    assert tuner("study", "resume").out == (
        "study mine: all its trials are done; for more: tuner study set mine --trials 2\n"
    )


def test_set_changes_what_it_is_told(tuner, store: Store, study: StudyRow) -> None:
    done = tuner("study", "set", "mine", "--trials", "6", "--patience-trials", "4")
    assert done.out == "study mine: 6 trials in all, patience 4 trials\n"
    lease = leases.open_lease(store, study)
    for _ in range(3):
        begun(store, lease)
    done = tuner("study", "set", "--trials", "1", "--patience-trials", "none", "--priority", "7")
    assert done.out == "study mine: 3 trials in all, since so many have begun, priority 7\n"
    grid = toy_spec(
        {"x": {"type": "categorical", "choices": [0.1, 0.2]}}, sampler=Choice(name="grid")
    )
    create_study(store, "grid", grid)
    create_study(store, "few", grid.model_copy(update={"sampler": Choice(name="random")}))
    done = tuner("study", "set", "few", "--trials", "9", "--until-sure", "auto")
    few = "study few: 2 trials in all, since the space has no more configurations, until sure 5%\n"
    assert done.out == few
    done = tuner("study", "set", "grid", "--trials", "9")
    assert done.out == "study grid: 2 trials in all, since the grid has no more points\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to change, such as --trials 200 or --priority 10"),
        (["--trials", "0"], "--trials must be between 1 and 1000000, got 0"),
        (["--priority", "9999999"], "--priority must be a whole number from -1000000 to 1000000"),
        (["--target", "high"], "--target must be a number or none, got 'high'"),
        (["--target", "nan"], "--target must be a finite number, got nan"),
        (["--patience-trials", "2.5"], "--patience-trials must be a whole number"),
        (["--trial-timeout", "soon"], "--trial-timeout"),
        (["--until-sure", "-1"], "--until-sure must be auto, a share such as 5%, or a number"),
    ],
)
def test_what_cannot_be_set_is_one_line(
    tuner, store: Store, study: StudyRow, words: list[str], message: str
) -> None:
    done = tuner("study", "set", "mine", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"tuner: {message}")
    assert done.err.count("\n") == 1


def test_watching_tells_what_happens_until_the_study_is_done(store: Store, study: StudyRow) -> None:
    lease = leases.open_lease(store, study, begins_trials=False)
    steps: list[Callable[[], object]] = [
        lambda: slots.ensure_slots(store, study, 2),
        lambda: study_control.set_state(store, study, StudyState.PAUSED),
        lambda: study_control.set_state(store, study, StudyState.RUNNING),
        lambda: complete(store, lease, begun(store, lease), 0.25),
        lambda: complete(store, lease, begun(store, lease), 0.5),
    ]
    told: list[str] = []

    class Ends(Silent):
        def trial_ended(
            self, status: RunStatus, trial: int, end: TrialEnd, value: float | None, is_best: bool
        ) -> None:
            told.append(f"{status.done} trial {trial} {end} {value} {is_best}")

    def sleep(_seconds: float) -> None:
        steps.pop(0)()

    status = watching.watch_study(store, study, Ends(), told.append, sleep)
    assert steps == []
    at_work = f"at work: {leases.holders(store, study)[0]}"
    assert told == [
        at_work,
        "paused; to go on: tuner study resume mine",
        at_work,
        "1 trial 0 complete None True",
        "",
        "2 trial 1 complete None True",
    ]
    assert (status.done, status.total, status.best_trial) == (2, 2, 1)
    leases.renew_lease(store, lease, 0.0)


def test_places_of_a_cluster_are_watched(store: Store, study: StudyRow) -> None:
    slots.ensure_slots(store, study, 1)
    lease = leases.open_lease(store, study)
    slot = begun(store, lease)
    attempt_rows.move(store, lease, slot, 0, WorkerPlace("rack-1", "6c414144aa"))
    seen: list[tuple[dict[int, str], str]] = []

    class Places(Silent):
        def changed(self, status: RunStatus) -> None:
            seen.append((dict(status.places), status.places_text))

    def sleep(_seconds: float) -> None:
        complete(store, lease, slot, 0.5)

    watching.watch_study(store, study, Places(), lambda line: None, sleep)
    assert seen[0] == ({0: "rack-1/6c414144"}, "1 worker on 1 node")


def test_the_time_that_is_left_is_known_at_once(store: Store, study: StudyRow) -> None:
    slots.ensure_slots(store, study, 2)
    lease = leases.open_lease(store, study)
    complete(store, lease, begun(store, lease), 0.25)
    left: list[float | None] = []

    class Left(Silent):
        def changed(self, status: RunStatus) -> None:
            left.append(status.left_s)

    def sleep(_seconds: float) -> None:
        complete(store, lease, begun(store, lease), 0.5)

    watching.watch_study(store, study, Left(), lambda line: None, sleep)
    assert len(left) == 2 and left[0] is not None and left[1] == 0.0


def test_a_study_that_is_done_is_watched_no_longer(tuner, store: Store, study: StudyRow) -> None:
    slots.ensure_slots(store, study, 1)
    lease = leases.open_lease(store, study)
    complete(store, lease, begun(store, lease), 0.5)
    done = tuner("study", "watch", "mine")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "study mine: 1 of 1 trials done; best: trial 0, val_accuracy 0.5000\n"
        "next: tuner study best mine\n"
    )


def test_nobody_at_work_is_said_with_what_to_do(store: Store, study: StudyRow) -> None:
    reader = watching.ProgressReader(store, study)
    assert watching.describe_work(study, reader.read()) == (
        "no trials are asked for yet; to go on: tuner study set mine --trials 100"
    )
    slots.ensure_slots(store, study, 9)
    nobody = (
        "nobody works on it; here: tuner optimize mine --trials 9\n"
        "or as a service, here or elsewhere: tuner worker"
    )
    assert watching.describe_work(study, reader.read()) == nobody
    daemon_rows.register(store, 2, ["vision-*"])
    assert watching.describe_work(study, reader.read()) == nobody
    daemon = daemon_rows.register(store, 2, ["m*"])
    waits = f"it waits for a free process of {daemon}"
    assert watching.describe_work(study, reader.read()) == waits
    daemon_rows.renew(store, daemon, "idle", {"mine": "its data are missing"})
    skipped = f"nobody works on it: {daemon} leaves it alone: its data are missing"
    assert watching.describe_work(study, reader.read()) == skipped
    other = daemon_rows.register(store, 1)
    waits = f"it waits for a free process of {other}"
    assert watching.describe_work(study, reader.read()) == waits


def test_a_search_is_listed_although_the_row_of_its_daemon_has_expired(
    store: Store, study: StudyRow
) -> None:
    slots.ensure_slots(store, study, 2)
    lease = leases.open_lease(store, study, daemon_id="expired")
    begun(store, lease)
    [row] = worker_rows(store)
    assert (row["kind"], row["state"], row["running"]) == ("search", "working", {"mine": 1})
