"""What a worker is given of a trial: made here for searching, comparing and training again."""

from collections.abc import Mapping
from typing import Any

from tuner.runner.study_files import TrialFiles
from tuner.runner.trial_writer import Running, TrialBook, trial_seed
from tuner.storage import attempt_rows
from tuner.storage.trials import TrialRow
from tuner.study.engines import Engine, engine_to_ask_for
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
) -> TrialRequest:
    """The plan of a study's trial: the only place where one is made. `choices`: what
    `spec.choices()` gives, which takes long in a study of many configurations."""
    return TrialRequest(
        network=spec.space.network,
        params=dict(params),
        seed=trial_seed(spec.seed, number),
        goal=Goal(spec.metric, spec.direction, target),
        intervals=spec.intervals,
        held_out=spec.held_out,
        choices=dict(choices),
        engine=engine,
        checkpoints=checkpoints,
    )


class SearchRequests:
    """Makes the plans of one study's trials in a search."""

    def __init__(self, book: TrialBook, files: TrialFiles, goal: Goal, engine: Engine) -> None:
        self._book, self._files, self._goal, self._engine = book, files, goal, engine
        self._choices = book.spec.choices()

    def of(self, running: Running) -> TrialRequest:
        """The plan of a trial that has begun, with what its earlier attempts left."""
        number, attempt = running.number, running.slot.attempt
        book, trial_id = self._book, running.trial_id
        known = attempt_rows.known_epochs(book.store, book.lease, trial_id) if attempt > 1 else 0
        return make_request(
            self._book.spec,
            number,
            running.params,
            self._choices,
            self._engine,
            self._goal.target,
            self._files.checkpoints(number, attempt, known),
        )


def request_again(spec: StudySpec, trial: TrialRow) -> TrialRequest:
    """The plan that repeats a finished trial: by the kind of program that its last attempt has
    recorded, up to the epoch at which a target ended it."""
    last = trial.last
    # The first value that met the target was the best one: as a target it ends the same epoch.
    target = last.score if last is not None and last.end == "target" else None
    engine = engine_to_ask_for(None if last is None else last.engine)
    return make_request(spec, trial.number, trial.params, spec.choices(), engine, target)
