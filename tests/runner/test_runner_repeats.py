"""No trial repeats a configuration: proposals are drawn again, and a space has an end."""

import pytest
import sqlalchemy as sa
from toy_study import Bench, any_of

from tuner.algorithms.expected_gain import FEWEST_TRIALS, GainLimit
from tuner.runner import most_trials
from tuner.storage import slots
from tuner.storage.drawn_again import count_drawn_again
from tuner.storage.schema import slot_rows
from tuner.storage.studies import load_study
from tuner.storage.trial_outcomes import read_expected_gain
from tuner.storage.trials import retry
from tuner.study.ends import StopReason
from tuner.study.spec import Choice

SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
SIX = {"x": any_of(0.1, 0.2, 0.3), "epochs": {"type": "int", "low": 1, "high": 2}}


def points(bench: Bench) -> list[tuple[object, object]]:
    return [(trial.params["x"], trial.params["epochs"]) for trial in bench.trials]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_small_space_is_tried_once_and_ends(bench: Bench, sampler: str) -> None:
    study = bench.create(SIX, sampler=Choice(name=sampler))
    outcome = bench.run(50)
    assert (outcome.reason, outcome.status.done, outcome.status.total) == (None, 6, 6)
    assert len(set(points(bench))) == len(points(bench)) == 6
    assert count_drawn_again(bench.store, study) > 0
    assert bench.run(50).status.done_here == 0
    assert bench.run(None, more=5).status.done_here == 0


@SQLITE
def test_a_repeat_on_purpose_gets_a_slot_of_its_own(bench: Bench) -> None:
    study = bench.create(SIX)
    bench.run(50)
    retry(bench.store, study, 0)
    assert most_trials(bench.store, study) == 7
    assert bench.run(50).status.done_here == 1
    assert len(set(points(bench))) == 6
    assert len(points(bench)) == 7


@SQLITE
def test_slots_beyond_the_space_are_given_up(bench: Bench) -> None:
    """As a study has them whose total was set before its trials were imported."""
    study = bench.create(SIX)
    slots.ensure_slots(bench.store, study, 20)
    outcome = bench.run(20, asked={"follows_total": True})
    assert outcome.reason is StopReason.EXHAUSTED
    assert slots.total_slots(bench.store, study) == 6


@SQLITE
def test_a_slot_that_nothing_is_left_for_is_no_reason_to_wait(bench: Bench) -> None:
    """Its trial had failed, its configuration was imported: slots behind it have trials."""
    study = bench.create(SIX)
    slots.ensure_slots(bench.store, study, 6)
    bench.run(6)

    def free_first(connection: sa.Connection) -> None:
        connection.execute(sa.update(slot_rows).where(slot_rows.c.number == 1).values(number=7))
        slots.insert_open(connection, study.study_id, 0, 1)

    bench.store.write(free_first)
    outcome = bench.run(7, timeout_s=30)
    assert (outcome.reason, outcome.status.done_here) == (StopReason.EXHAUSTED, 0)


def test_loops_side_by_side_share_a_small_space(bench: Bench) -> None:
    study = bench.create({"x": any_of(*(n / 40 for n in range(40))), "epochs": 1})
    slots.ensure_slots(bench.store, study, 60)
    loops = [bench.start(60, workers=2, asked={"follows_total": True}) for _ in range(3)]
    for loop in loops:
        assert loop.wait(60) == 0, loop.communicate()
    tried = [trial.params["x"] for trial in bench.trials]
    assert len(tried) == len(set(tried)) == 40
    assert slots.total_slots(bench.store, study) == 40


@SQLITE
def test_a_space_without_an_end_is_left_alone(bench: Bench) -> None:
    study = bench.create()
    assert bench.run(4).status.done_here == 4
    assert count_drawn_again(bench.store, study) == 0
    only = bench.create({"x": 0.5}, name="only")
    assert bench.store and only.spec.space.grid_size() == 1


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@SQLITE
def test_a_search_that_is_sure_begins_no_more(bench: Bench, direction: str) -> None:
    metric = "val_accuracy" if direction == "maximize" else "val_loss"
    bench.create({"act": "flat", "epochs": 1}, metric=metric, direction=direction)
    outcome = bench.run(300, until_sure=GainLimit(0.5, is_share=True))
    expected = outcome.status.expected
    assert outcome.reason is StopReason.SURE
    assert FEWEST_TRIALS <= outcome.status.done < 100
    assert expected is not None
    assert expected.share < 0.5
    assert expected == read_expected_gain(
        bench.store, load_study(bench.store), load_study(bench.store).spec
    )
    assert bench.run(300, until_sure=GainLimit(0.5, is_share=True)).status.done_here == 0
    assert bench.run(outcome.status.done + 1).status.done_here == 1
