"""What a worker is asked to train: made here for searching, comparing and training again."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuner.runner.populations import GenerationFiles
from tuner.runner.trial_writer import RunningTrial, TrialWriter, trial_seed
from tuner.storage import attempt_rows
from tuner.storage.trials import TrialRow
from tuner.study.ends import TrialEnd
from tuner.study.engines import Engine, engine_to_ask_for
from tuner.study.lineage import Lineage, make_lineage
from tuner.study.messages import Checkpoints, Goal, TrialRequest
from tuner.study.spec import StudySpec

Choices = Mapping[str, tuple[Any, ...]]


def make_request(
    spec: StudySpec,
    number: int,
    params: Mapping[str, Any],
    choices: Choices,
    engine: Engine = "auto",
    target: float | None = None,
    checkpoints: Checkpoints | None = None,
    recorded: bool = True,
    lineage: Lineage | None = None,
) -> TrialRequest:
    """The request of a study's trial: the only place where one is made. `choices`: from
    `spec.choices()`, which takes long in a study of many configurations. `recorded`: whether the
    metrics that the study records are computed, besides its objective. `lineage`: what the trial
    goes on from; None for one of its own."""
    return TrialRequest(
        network=spec.space.network,
        params=dict(params),
        seed=trial_seed(spec.seed, number if lineage is None else lineage.root),
        goal=spec.goal(target),
        first_epoch_reports=spec.first_epoch_reports,
        held_out=spec.held_out,
        host_metrics=spec.host_metrics(recorded),
        further_goals=spec.goals[1:],
        choices=dict(choices),
        engine=engine,
        checkpoints=checkpoints,
        number=number,
        earlier=() if lineage is None else lineage.earlier,
        last_epoch=None if lineage is None else lineage.last_epoch,
    )


class SearchRequests:
    """Makes the requests of one study's trials in a search."""

    def __init__(
        self, writer: TrialWriter, files: GenerationFiles, goal: Goal, engine: Engine
    ) -> None:
        self._writer, self._files, self._goal, self._engine = writer, files, goal, engine
        self._choices = writer.spec.choices()

    def request_for(self, running: RunningTrial) -> TrialRequest:
        """The request of a trial that has begun. It can go on from what its earlier attempts
        left."""
        attempt, known_epochs = running.slot.attempt, 0
        if attempt > 1:
            store, lease = self._writer.store, self._writer.lease
            known_epochs = attempt_rows.known_epochs(store, lease, running.trial_id)
        generations = self._writer.generations
        return make_request(
            self._writer.spec,
            running.number,
            running.params,
            self._choices,
            self._engine,
            self._goal.target,
            self._files.checkpoints(running.number, attempt, known_epochs),
            lineage=None if generations is None else generations.lineage(running.number),
        )


def lineage_of(spec: StudySpec, trial: TrialRow, ancestors: Sequence[TrialRow]) -> Lineage | None:
    """What a finished trial went on from; None for one that is no part of a population.
    `ancestors`: as `lineages.read_ancestors` gives them."""
    interval = spec.generation_epochs
    if interval is None or trial.end in (TrialEnd.IMPORTED, TrialEnd.IMPORTED_PRUNED):
        return None
    assert spec.epochs is not None
    numbers = [*(ancestor.number for ancestor in ancestors), trial.number]
    return make_lineage(numbers, [each.params for each in ancestors], interval, spec.epochs)


def request_again(spec: StudySpec, trial: TrialRow, lineage: Lineage | None = None) -> TrialRequest:
    """The request that repeats a finished trial: by the engine that its last attempt has recorded,
    up to the epoch at which a target ended it. `lineage`: what it went on from, which is trained
    too: the whole schedule that its numbers had."""
    last = trial.last
    # The first value that met the target was the best one: as a target it ends the same epoch.
    target = last.score if last is not None and last.end == TrialEnd.TARGET else None
    engine = engine_to_ask_for(None if last is None else last.engine)
    return make_request(
        spec,
        trial.number,
        trial.params,
        spec.choices(),
        engine,
        target,
        recorded=False,
        lineage=lineage,
    )
