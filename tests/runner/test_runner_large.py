"""Large studies: what a loop does not read, and that small ones notice nothing of it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from toy_study import Bench, any_of
from toy_training import BROKEN

import tuner.algorithms.samplers
from tuner.algorithms.pruners import make_pruner
from tuner.algorithms.samplers import InView, make_sampler
from tuner.runner import open_writer
from tuner.runner.policy import completed
from tuner.runner.trial_writer import TrialWriter
from tuner.search_space import load_space
from tuner.storage import frozen_trials, leases, open_store, slots
from tuner.storage.optuna_storage import RobustStorage
from tuner.storage.studies import StudyRow, delete_study
from tuner.storage.transaction_hooks import DeferredWrites
from tuner.study.messages import Ended, Report
from tuner.study.spec import Choice

SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


def test_with_nothing_to_do_nothing_is_started_and_nothing_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.create(baselines=[{"x": 0.5}, {"x": 0.75}])
    before = bench.run(2)
    (bench.folder / "points.npz").unlink()
    for reading in ("read_whole", "read_outlined"):
        monkeypatch.setattr(frozen_trials, reading, _not_to_be_called)
    again = bench.run(2, entry=BROKEN)
    assert again.reason is None
    assert (again.status.total, again.status.done, again.status.done_here) == (2, 2, 0)
    assert (again.status.best, again.status.best_trial) == (before.status.best, 1)
    assert bench.run(1, target=0.25, entry=BROKEN).reason == "target"


def _not_to_be_called(*_: Any, **__: Any) -> None:
    raise AssertionError("the trials are not to be read")


@SQLITE
def test_with_nothing_to_do_what_a_dead_loop_left_is_put_right(bench: Bench) -> None:
    study = bench.create(baselines=[{"x": 0.5}, {"x": 0.25}])
    bench.run(1)
    dead = writer_of(bench, study)
    slots.ensure_slots(bench.store, study, 2)
    assert dead.begin(0, 2) is not None
    leases.renew_lease(bench.store, dead.lease, lasts_s=-1.0)
    assert bench.run(1, entry=BROKEN).status.done == 1
    assert bench.states == ["COMPLETE", "WAITING"]
    assert bench.slots == {"done": 1, "open": 1}


def writer_of(bench: Bench, study: StudyRow) -> TrialWriter:
    store = open_store(bench.url)
    return open_writer(store, study, leases.open_lease(store, study))


def proposals(sampler: optuna.samplers.BaseSampler, pruner: str, count: int) -> list[Any]:
    """The parameters of a conditional space's trials, scored by a rule that depends on them."""
    space = load_space("mlp")
    study = optuna.create_study(
        study_name="proposals",
        storage=InMemoryStorage(),
        sampler=sampler,
        pruner=make_pruner(Choice(name=pruner), 27, "maximize"),
        direction="maximize",
    )
    for _ in range(count):
        trial = study.ask()
        space.sample(trial)
        score = len(repr(sorted(trial.params.items()))) % 7
        for step in (1, 3):
            trial.report(score / step, step)
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, float(score))
    return [(trial.params, trial.state, trial.system_attrs) for trial in study.trials]


@pytest.mark.parametrize("pruner", ["hyperband", "asha", "median"])
@pytest.mark.parametrize("liar", [True, False])
def test_small_studies_are_sampled_as_before(pruner: str, liar: bool) -> None:
    settings: dict[str, Any] = {"multivariate": True, "group": True, "constant_liar": liar}
    choice = Choice(name="tpe", options={"constant_liar": liar})
    ours = make_sampler(choice, load_space("mlp"), 7, 0)
    seed = tuner.algorithms.samplers.seed_of_loop(7, 0)
    with tuner.algorithms.samplers.without_experimental_warnings():
        theirs = TPESampler(seed=seed, **settings)
    assert proposals(ours, pruner, 40) == proposals(theirs, pruner, 40)


@contextlib.contextmanager
def large_from(trials: int, best: int, latest: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuner.algorithms.samplers, "LARGE", trials)
        patch.setattr(tuner.algorithms.samplers, "BEST_SEEN", best)
        patch.setattr(tuner.algorithms.samplers, "LATEST_SEEN", latest)
        yield


STATES = st.sampled_from([TrialState.COMPLETE] * 4 + list(TrialState))
SCORES = st.sampled_from([0.0, 0.25, 0.5, 1.0, float("inf"), float("-inf")])


@given(
    made=st.lists(st.tuples(STATES, SCORES, st.booleans()), max_size=40),
    maximize=st.booleans(),
    cut=st.integers(0, 40),
)
def test_the_best_and_the_latest_are_seen(
    made: list[tuple[TrialState, float, bool]], maximize: bool, cut: int
) -> None:
    trials = [_trial(n, *facts) for n, facts in enumerate(made)]
    direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
    finished = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    fit = [t for t in finished if t.state == TrialState.COMPLETE and not t.constraints]
    with large_from(12, best=4, latest=6):
        fresh = InView(direction).choose(trials)
        twice = InView(direction)
        twice.choose(trials[:cut])
        assert twice.choose(trials) == fresh
    if len(finished) <= 12 or len(fit) < 4:
        assert fresh is None
        return
    assert fresh is not None
    numbers = [trial.number for trial in fresh]
    assert numbers == sorted(numbers)
    sign = -1 if maximize else 1
    best = sorted(fit, key=lambda t: sign * (t.value or 0.0))[:4]
    unfinished = [t for t in trials if not t.state.is_finished()]
    assert {t.number for t in [*best, *finished[-6:], *unfinished]} <= set(numbers)
    assert len([t for t in fresh if t in finished]) <= 10
    # TPE's good trials are the same ones, whichever it sees.
    study = optuna.create_study(direction=direction, storage=InMemoryStorage())
    whole, _ = _split_trials(study, [t for t in trials if t in finished], 4)
    seen, _ = _split_trials(study, [t for t in fresh if t in finished], 4)
    assert [t.number for t in seen] == [t.number for t in whole]


def _trial(number: int, state: TrialState, score: float, fits: bool) -> FrozenTrial:
    value = score if state == TrialState.COMPLETE else None
    attributes = {} if fits else {"constraints:feasible": 1.0}
    trial = create_trial(state=state, value=value, system_attrs=attributes)
    trial.number = number
    return trial


def whole(trials: list[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials if trial.params]


@pytest.mark.parametrize("pruner", ["hyperband", "median"])
def test_a_large_study_is_read_in_outline_and_sampled(bench: Bench, pruner: str) -> None:
    study = bench.create(sampler=Choice(name="tpe"), pruner=Choice(name=pruner))
    first = writer_of(bench, study)
    slots.ensure_slots(bench.store, study, 36)
    for n in range(30):
        _run(first, score=n % 7 / 10)
    first.close()
    scores = {n: n % 7 / 10 for n in range(30)}
    best = sorted(scores, key=lambda n: (-scores[n], n))[:4]
    with large_from(20, best=4, latest=6):
        second = writer_of(bench, study)
        _run(second, score=0.9)
        read = second.study.get_trials(deepcopy=False)
        assert whole(read) == sorted({*best, *range(24, 31)})
        assert [trial.number for trial in read] == list(range(31))
        every = bench.store.optuna.get_all_trials(study.study_id)
        assert [_rivalry(trial) for trial in read] == [_rivalry(trial) for trial in every]
        reported = [trial.number for trial in read if trial.intermediate_values]
        assert reported == (list(range(31)) if pruner == "median" else whole(read))
        for _ in range(4):
            _run(second, score=0.8)
        assert whole(second.study.get_trials(deepcopy=False))[-5:] == list(range(30, 35))
        second.close()
    assert bench.states == ["COMPLETE"] * 35


def _rivalry(trial: FrozenTrial) -> tuple[Any, ...]:
    """What a trial is compared by."""
    return trial.state, trial.value, trial.system_attrs.get("completed_rung_0")


@SQLITE
@pytest.mark.parametrize("sampler", ["qmc", "cmaes"])
def test_samplers_that_need_all_trials_are_given_them(bench: Bench, sampler: str) -> None:
    study = bench.create(sampler=Choice(name=sampler))
    first = writer_of(bench, study)
    slots.ensure_slots(bench.store, study, 13)
    for n in range(12):
        _run(first, score=n / 20)
    with large_from(5, best=2, latest=2):
        second = writer_of(bench, study)
        _run(second, score=0.9)
        assert whole(second.study.get_trials(deepcopy=False)) == list(range(13))


def _run(writer: TrialWriter, score: float) -> None:
    running = writer.begin(0, 99)
    assert running is not None
    writer.record_report(running, Report(1, 1, True, {"val_accuracy": score}))
    writer.end(running, completed(Ended("complete", score, 1, 3, 7)))


@SQLITE
@pytest.mark.parametrize("pruner", ["hyperband", "asha", "median"])
def test_an_early_stop_writes_the_remaining_epochs_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, pruner: str
) -> None:
    """And the same as one by one, with what the pruner keeps of the trial."""
    parameters = {"epochs": 27, "patience": 2, "act": any_of("flat")}
    found, writes = [], []
    for apart in (True, False):
        with monkeypatch.context() as patch:
            if apart:
                patch.setattr(RobustStorage, "one_transaction", _one_by_one)
            name = "again"  # Hyperband's brackets depend on it
            study = bench.create(parameters, name=name, pruner=Choice(name=pruner))
            writer = writer_of(bench, study)
            slots.ensure_slots(bench.store, study, 9)
            for n in range(9):
                writes.append(_stop_early(writer, score=(n * 5 % 7) / 10))
            told = writer.study.get_trials()
            found.append([(t.intermediate_values, t.system_attrs, t.user_attrs) for t in told])
            writer.close()
            delete_study(bench.store, study)
    assert found[0] == found[1]
    assert set(writes[9:]) == {1}
    assert min(writes[:9]) > 1


@contextlib.contextmanager
def _one_by_one(_storage: RobustStorage, trial_id: int) -> Iterator[dict[int, DeferredWrites]]:
    yield {trial_id: DeferredWrites(trial_id)}


def _stop_early(writer: TrialWriter, score: float) -> int:
    """How many transactions the trial's end took."""
    running = writer.begin(0, 99)
    assert running is not None
    for epoch in (1, 2, 3):
        writer.record_report(running, Report(epoch, epoch, True, {"val_accuracy": score}))
    fence, fenced = writer.store.optuna.fence, []
    writer.store.optuna.fence = lambda connection, trial_id: (
        fenced.append(trial_id),
        fence(connection, trial_id),
    )
    writer.end(running, completed(Ended("early_stopped", score, 1, 3, 7)))
    writer.store.optuna.fence = fence
    return len(fenced)
