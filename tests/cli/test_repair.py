"""Putting studies and trials right from the command line."""

import json
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from trial_writes import begun

from tuner.runner.policy import pruned
from tuner.runner.trial_writer import TrialWriter
from tuner.storage import Store, leases, open_store, slots
from tuner.storage.studies import StudyRow, load_study
from tuner.storage.study_control import read_orders
from tuner.study.ends import StopReason
from tuner.study.messages import Report


@pytest.fixture
def store(tuner, tmp_path: Path) -> Store:
    assert tuner("study", "create", "mine", "--data", "digits").code == 0
    return open_store(f"sqlite:///{tmp_path}/tuner.db")


def test_repair_opens_slots_and_fails_stray_trials(tuner, store: Store) -> None:
    study = load_study(store)
    slots.ensure_slots(store, study, 1)
    lease = leases.open_lease(store, study)
    slot = begun(store, lease)
    optuna.load_study(study_name="mine", storage=store.optuna).add_trial(
        create_trial(state=TrialState.RUNNING)
    )
    # Its loop lives: only the trial that has no place is put right.
    done = tuner("study", "repair", "mine")
    assert (done.code, done.out) == (
        0,
        "study mine: 1 running trials without a slot marked failed\n",
    )
    leases.renew_lease(store, lease, lasts_s=-1.0)
    assert (
        tuner("study", "repair", "mine").out
        == "study mine: 1 trial slots of dead searches released\n"
    )
    assert store.optuna.get_trial(slot.trial_id).state == TrialState.WAITING
    assert tuner("study", "repair", "mine").out == "study mine: nothing to repair\n"
    rows = json.loads(tuner("trial", "list", "mine", "--json").out)
    assert [row["state"] for row in rows] == ["waiting", "waiting", "fail"]


def test_show_names_the_engine_of_a_pruned_trial(tuner, store: Store) -> None:
    study = load_study(store)
    writer = open_writer(store, study)
    slots.ensure_slots(store, study, 1)
    running = writer.begin(0, 1)
    assert running is not None
    interval = Report(1, 1, True, {study.spec.metric: 0.5}, engine="graph")
    writer.record_report(running, interval)
    writer.end(running, pruned(running.pruning.best))
    shown = json.loads(tuner("trial", "show", "0", "--json").out)
    assert (shown["state"], shown["engine"]) == ("pruned", "graph")
    assert "graph" in tuner("trial", "show", "0").out


def open_writer(store: Store, study: StudyRow) -> TrialWriter:
    found = optuna.load_study(study_name=study.name, storage=store.optuna)
    return TrialWriter(store, found, study.spec, leases.open_lease(store, study))


def test_retry_queues_the_same_configuration_again(tuner, store: Store) -> None:
    study = optuna.load_study(study_name="mine", storage=store.optuna)
    spec = load_study(store).spec
    trial = study.ask()
    params = spec.space.sample(trial)
    assert tuner("trial", "retry", "0").code == 2  # it is running
    study.tell(trial, state=TrialState.FAIL)
    done = tuner("trial", "retry", "0")
    assert done.code == 0
    assert done.out.startswith("study mine: trial 2 is queued (2 waiting)\n")
    shown = json.loads(tuner("trial", "show", "2", "--json").out)
    assert shown["retry_of"] == 0
    known = spec.space.flatten(params)
    assert shown["params"] == {name: known[name] for name in shown["params"]} != {}
    missing = tuner("trial", "retry", "99")
    assert (missing.code, missing.err) == (2, "tuner: study 'mine' has no trial 99\n")


def test_stop_asks_the_searches_that_run(tuner, store: Store) -> None:
    study = load_study(store)
    alone = "; daemons leave it alone until: tuner study resume mine\n"
    assert tuner("study", "stop", "mine").out == f"study mine: no search runs{alone}"
    lease = leases.open_lease(store, study)
    done = tuner("study", "stop", "mine")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("study mine: asked to stop: ")
    assert read_orders(store, lease).stop is StopReason.STOPPED
    assert read_orders(store, leases.open_lease(store, study)).stop is None
