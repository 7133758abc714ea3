"""A study's definition replaced, on both databases."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState, create_trial
from toy_study import toy_spec

from tuner.errors import LeaseLost
from tuner.storage import Store, leases, slots
from tuner.storage.corrections import CorrectionRefused, correct_study, has_definition, has_finished
from tuner.storage.schema import optuna_trials
from tuner.storage.studies import create_study
from tuner.study.spec import CodeFile

CORRECTED = toy_spec(code={"toy.py": CodeFile.of(b"# corrected\n")})


def test_code_is_replaced_and_reports_are_forgotten(store: Store) -> None:
    study = create_study(store, "x", toy_spec())
    trials = optuna.load_study(study_name="x", storage=store.optuna)
    trials.add_trial(create_trial(state=TrialState.FAIL, intermediate_values={1: 0.1}))
    trials.ask().report(0.3, 1)
    done = correct_study(store, study, CORRECTED.model_dump_json(), changes_data=True)
    assert not isinstance(done, CorrectionRefused)
    assert done.spec == CORRECTED
    assert (has_definition(store, study), has_definition(store, done)) == (False, True)
    reports = [trial.intermediate_values for trial in store.optuna.get_all_trials(study.study_id)]
    assert reports == [{1: 0.1}, {}]  # a trial that failed keeps what it said


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_a_finished_trial_keeps_the_code(store: Store, state: TrialState) -> None:
    study = create_study(store, "x", toy_spec())
    assert not has_finished(store, study)
    value = 0.5 if state is TrialState.COMPLETE else None
    trials = optuna.load_study(study_name="x", storage=store.optuna)
    trials.add_trial(create_trial(state=state, value=value, intermediate_values={1: 0.5}))
    refused = correct_study(store, study, CORRECTED.model_dump_json(), changes_data=False)
    assert refused == CorrectionRefused("1 trial has finished with the former code")
    assert has_definition(store, study)
    assert has_finished(store, study)


def test_a_search_keeps_the_code(store: Store) -> None:
    study = create_study(store, "x", toy_spec())
    lease = leases.open_lease(store, study)
    refused = correct_study(store, study, CORRECTED.model_dump_json(), changes_data=False)
    assert isinstance(refused, CorrectionRefused)
    assert "stop that search first" in refused.reason
    leases.renew_lease(store, lease, 0.0)
    done = correct_study(store, study, CORRECTED.model_dump_json(), changes_data=False)
    assert not isinstance(done, CorrectionRefused)


def test_a_search_that_was_held_up_does_not_go_on_with_the_code_of_before(store: Store) -> None:
    study = create_study(store, "x", toy_spec())
    slots.ensure_slots(store, study, 2)
    held_up = leases.open_lease(store, study, lasts_s=-1.0)
    assert slots.claim(store, held_up, 2) is not None
    done = correct_study(store, study, CORRECTED.model_dump_json(), changes_data=False)
    assert not isinstance(done, CorrectionRefused)
    with pytest.raises(LeaseLost, match="code corrected"):
        leases.renew_lease(store, held_up)
    with pytest.raises(LeaseLost):
        slots.claim(store, held_up, 2)
    later = leases.open_lease(store, study)
    assert later.number == 1  # it must not draw what the other one has drawn
    assert [orphan.number for orphan in slots.take_over_orphans(store, later)] == [1]


def test_a_trial_that_finishes_at_the_same_time_keeps_the_code(store: Store) -> None:
    study = create_study(store, "x", toy_spec())
    trial = optuna.load_study(study_name="x", storage=store.optuna).ask()
    held_up = leases.open_lease(store, study, lasts_s=-1.0)
    has_begun = threading.Event()

    def finish(connection: sa.Connection) -> None:
        leases.check(connection, held_up)
        has_begun.set()
        time.sleep(0.3)  # the other one is under way by then
        finished = sa.update(optuna_trials).where(optuna_trials.c.trial_id == trial._trial_id)
        connection.execute(finished.values(state="COMPLETE"))

    with ThreadPoolExecutor(1) as pool:
        finishing = pool.submit(store.write, finish)
        assert has_begun.wait(10)
        done = correct_study(store, study, CORRECTED.model_dump_json(), changes_data=False)
        finishing.result()
    assert done == CorrectionRefused("1 trial has finished with the former code")
