"""Populations in a real loop, on toy trials: lineages, exact totals, and checkpoints."""

from collections import Counter
from typing import Any

import pytest
from test_runner_control import lost_nothing
from toy_study import ANY_X, Bench
from web_client import page_client

from tuner.algorithms.samplers import settled_sampler
from tuner.errors import StudyError
from tuner.reports.lineages import population_facts, read_lineage
from tuner.reports.study_tables import report_trial
from tuner.runner import RunStatus, Silent
from tuner.runner.requests import lineage_of, request_again
from tuner.runner.trial_writer import trial_seed
from tuner.storage import slots, study_control
from tuner.storage.lineages import read_ancestors, read_places
from tuner.storage.studies import StudyRow, load_study
from tuner.storage.trials import TrialRow, enqueue, find_best
from tuner.study.ends import StopReason
from tuner.study.lineage import Place
from tuner.study.spec import Choice
from tuner.study.study_state import StudyState

RATE = {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}


def create(bench: Bench, parameters: dict[str, Any] | None = None, **options: Any) -> StudyRow:
    """Four members, three generations of two epochs."""
    own = {"population": 4, "interval": 2, "quantile": 0.25, "resample_probability": 0.0}
    sampler = settled_sampler(Choice(name="pbt", options=own | options))
    values = {"epochs": 6, "learning_rate": RATE, "x": ANY_X} | (parameters or {})
    return bench.create(values, sampler=sampler)


def files(bench: Bench) -> list[str]:
    return [path.name for path in (bench.folder / "checkpoints").rglob("*.ckpt")]


def check_lineages(bench: Bench, trials: int) -> None:
    """Exact totals; each member has each generation once, goes on from the one before, and trains
    the epochs of its own."""
    study, rows = load_study(bench.store), bench.trials
    assert slots.slot_counts(bench.store, study) == {"done": trials} and len(rows) == trials
    places = read_places(bench.store, study)
    by_number = {trial.number: trial for trial in rows}
    counts = Counter(
        (place.member_of(number), place.generation) for number, place in places.items()
    )
    assert set(counts.values()) == {1}
    for number, place in places.items():
        trial = by_number[number]
        epochs = [row.epoch for row in bench.curve(trial)]
        assert epochs == [2 * place.generation + 1, 2 * place.generation + 2]
        assert trial.last is not None and (trial.last.engine, trial.last.best_epoch) == (
            "toy",
            epochs[-1],
        )
        assert lost_nothing(trial)
        if place.parent is not None:
            check_goes_on(trial, by_number[place.parent], place, places)
    assert files(bench) == []


def check_goes_on(
    trial: TrialRow, parent: TrialRow, place: Place, places: dict[int, Place]
) -> None:
    of_parent = places.get(parent.number, Place())
    assert of_parent.generation == place.generation - 1
    is_copy = of_parent.member_of(parent.number) != place.member
    changed = {name for name in trial.params if trial.params[name] != parent.params[name]}
    assert changed <= ({"learning_rate"} if is_copy else set())


def test_a_population_trains_all_generations(bench: Bench) -> None:
    study = create(bench)
    bench.run(12, workers=2)
    check_lineages(bench, 12)
    best = find_best(bench.store, study).trial
    assert best is not None
    lineage = read_lineage(bench.store, study, best)
    assert lineage is not None and [stage.last_epoch for stage in lineage.stages] == [2, 4, 6]
    facts = population_facts(bench.store, study, best)
    assert facts["best_lineage"] == " → ".join(str(stage.trial) for stage in lineage.stages)
    report = report_trial(study, best, [], None, lineage)
    assert [row["to_epoch"] for row in report.schedule] == [2, 4, 6]
    with page_client(bench.store) as client:
        text = client.get(f"/studies/{study.uuid}/trials/{best.number}").text
    assert f"trial {lineage.stages[1].trial}" in text and ">to epoch</th>" in text
    # Trained again, it is the whole lineage: the seed of its first trial, and each one's numbers.
    ancestors = read_ancestors(bench.store, study, best.number)
    known = lineage_of(study.spec, best, ancestors)
    assert known is not None
    request = request_again(study.spec, best, known)
    assert request.seed == trial_seed(study.spec.seed, ancestors[0].number)
    assert [g.params for g in request.earlier] == [trial.params for trial in ancestors]
    assert (request.begins_after, request.ends_after) == (4, 6)


def test_too_few_trials_for_a_population_are_refused(bench: Bench) -> None:
    create(bench)
    with pytest.raises(StudyError, match=r"trains 4 members, and 3 trials .* --trials 12 each"):
        bench.run(3)


class StopOnce(Silent):
    """Stops the study as soon as so many trials have ended."""

    def __init__(self, bench: Bench, ended: int) -> None:
        self._bench, self._ended = bench, ended

    def changed(self, status: RunStatus) -> None:
        if status.done >= self._ended:
            set_state(self._bench, StudyState.STOPPED)


def set_state(bench: Bench, state: StudyState) -> None:
    study_control.set_state(bench.store, load_study(bench.store), state)


def test_a_stopped_search_goes_on_from_what_it_kept(bench: Bench) -> None:
    create(bench)
    assert bench.run(12, workers=2, watcher=StopOnce(bench, 5)).reason is StopReason.STOPPED
    assert files(bench) != []
    set_state(bench, StudyState.RUNNING)
    bench.run(12, workers=2)
    check_lineages(bench, 12)


def test_lost_workers_diverged_members_and_more_trials(bench: Bench) -> None:
    # In the third epoch, the first of a second generation, some crash, once, and some diverge.
    acts = {"type": "categorical", "choices": ["learn", "crash", "nan"]}
    study = create(bench, {"act": acts, "at": 3, "crashes": 1})
    for act in ("crash", "nan"):
        enqueue(bench.store, study, {"x": 0.99, "learning_rate": 0.01, "act": act})
    bench.run(5, workers=2)
    assert len(bench.trials) == 5 and files(bench) == []
    bench.run(12, workers=2)
    assert slots.slot_counts(bench.store, study) == {"done": 12}
    assert max(len(trial.attempts) for trial in bench.trials) == 2
    ends = {trial.number: trial.end for trial in bench.trials}
    assert "diverged" in ends.values()
    places = read_places(bench.store, study)
    parents = {place.parent for place in places.values() if place.parent is not None}
    assert {ends[parent] for parent in parents} == {"complete"}
    # The checkpoints of the first five were removed: whoever went on made the parent again.
    engines = {trial.last.engine for trial in bench.trials if trial.last}
    assert engines >= {"toy", "toy again"}
    assert files(bench) == []
