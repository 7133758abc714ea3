"""How many trials, and which: places, queues, seeds."""

from pathlib import Path

import optuna
import pytest
from toy_study import Bench, any_of
from trial_writes import begun

from tuner.errors import DatasetError
from tuner.runner import repair
from tuner.storage import leases, open_store, slots
from tuner.storage.studies import load_study
from tuner.storage.trials import enqueue
from tuner.study.spec import Choice

SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


def xs(bench: Bench) -> list[float]:
    return [trial.params["x"] for trial in bench.trials]  # type: ignore[misc]


def test_the_total_is_exact_and_repeating_the_command_adds_nothing(bench: Bench) -> None:
    bench.create()
    assert bench.run(3).status.done_here == 3
    again = bench.run(3)
    assert (again.reason, again.status.done, again.status.done_here) == (None, 3, 0)
    assert bench.run(2).status.done_here == 0
    assert bench.run(5).status.done_here == 2
    assert bench.run(None, more=2).status.done_here == 2
    assert bench.states == ["COMPLETE"] * 7
    assert bench.slots == {"done": 7}


@SQLITE
def test_two_workers_do_the_total_between_them(bench: Bench) -> None:
    bench.create({"pace": 0.01})
    bench.run(8, workers=2)
    assert bench.states == ["COMPLETE"] * 8
    assert {trial.attempts[0].worker for trial in bench.trials} == {0, 1}


def test_baselines_come_first_then_what_was_queued(bench: Bench) -> None:
    study = bench.create(baselines=[{"x": 0.5}, {"x": 0.25}, {"x": 0.75}])
    bench.run(2)
    assert enqueue(bench.store, study, {"x": 0.125}) == (3, 2)
    bench.run(5)
    assert xs(bench)[:4] == [0.5, 0.25, 0.75, 0.125]
    assert bench.states == ["COMPLETE"] * 5


@SQLITE
def test_a_grid_does_each_point_once_and_stops(bench: Bench) -> None:
    parameters = {"x": any_of(0.2, 0.4, 0.6), "pace": any_of(0.0, 0.001)}
    bench.create(parameters, [{"x": 0.6, "pace": 0.0}], sampler=Choice(name="grid"))
    assert bench.run(100).status.total == 6
    assert bench.run(None, more=5).status.done_here == 0
    points = [(trial.params["x"], trial.params["pace"]) for trial in bench.trials]
    assert points[0] == (0.6, 0.0)
    assert sorted(points) == [(x, pace) for x in (0.2, 0.4, 0.6) for pace in (0.0, 0.001)]


@SQLITE
def test_a_study_with_one_worker_is_repeatable(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    twin = Bench(other, open_store(f"sqlite:///{other}/tuner.db"))
    for each in (bench, twin):
        each.create(sampler=Choice(name="tpe"), pruner=Choice(name="hyperband"), seed=5)
        each.run(12)
    first, second = ([(t.state, t.value, t.params) for t in b.trials] for b in (bench, twin))
    assert first == second
    assert {state for state, _, _ in first} == {"COMPLETE", "PRUNED"}
    twin.store.close()


@SQLITE
@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_a_second_start_proposes_other_points(bench: Bench, sampler: str) -> None:
    bench.create(sampler=Choice(name=sampler))
    for total in (3, 6, 9):
        bench.run(total)
    assert len(set(xs(bench))) == 9


@SQLITE
def test_a_trial_that_optuna_alone_began_is_failed_and_takes_no_slot(bench: Bench) -> None:
    bench.create()
    optuna.load_study(study_name="toy", storage=bench.store.optuna).ask()
    bench.run(2)
    assert bench.states == ["FAIL", "COMPLETE", "COMPLETE"]


def test_a_trial_whose_loop_died_while_it_was_drawn(bench: Bench) -> None:
    study = bench.create({"pace": any_of(0.0, 0.001)})
    slots.ensure_slots(bench.store, study, 1)
    lease = leases.open_lease(bench.store, study)
    slot = begun(bench.store, lease)
    optuna_study = optuna.load_study(study_name="toy", storage=bench.store.optuna)
    optuna_study.get_trials()
    optuna.Trial(optuna_study, slot.trial_id).suggest_float("x", 0.0, 1.0)
    leases.renew_lease(bench.store, lease, lasts_s=-1.0)
    (drawn,) = xs(bench)
    bench.run(1)
    assert (bench.states, xs(bench)) == (["COMPLETE"], [drawn])


@SQLITE
def test_changed_data_are_refused(bench: Bench) -> None:
    bench.create()
    data = bench.folder / "points.npz"
    data.unlink()
    bench.write_data(data, seed=1)
    with pytest.raises(DatasetError, match="has changed since the study was created"):
        bench.run(2)
    assert bench.states == []
    assert load_study(bench.store).name == "toy"


@SQLITE
def test_a_repair_changes_no_proposal(bench: Bench) -> None:
    proposed = []
    for repairs in (0, 1, 3):
        study = bench.create(name=f"repaired {repairs} times")
        bench.run(2)
        assert bench.run(2).status.done_here == 0  # repairs too: nothing is left to do
        for _ in range(repairs):
            repair(bench.store, study)
        bench.run(4)
        proposed.append(xs(bench))
    assert proposed[0] == proposed[1] == proposed[2]
