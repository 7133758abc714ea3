"""Trials as people look at them: Optuna's record and ours, joined."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from tuner.errors import SpaceError, StudyError
from tuner.parameters import Params
from tuner.storage.optuna_rows import OptunaTrial, read_trials
from tuner.storage.records import AttemptRow, IntervalRow, read_attempts, read_intervals
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow


@dataclass(frozen=True)
class TrialRow:
    """One trial. `value` is its score, or for a pruned one its best report; `end` says how its
    last attempt ended; `seconds` is that attempt's whole time; `retry_of` the number of the
    trial it was made from."""

    number: int
    trial_id: int
    state: str
    value: float | None
    params: Params
    attempts: list[AttemptRow]
    retry_of: int | None = None

    @property
    def last(self) -> AttemptRow | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def end(self) -> str | None:
        return self.last.end if self.last else None

    @property
    def seconds(self) -> float | None:
        last = self.last
        if last is None or last.ended_at is None:
            return None
        return last.ended_at - last.started_at


def list_trials(store: Store, study: StudyRow) -> list[TrialRow]:
    """All trials of a study, by number."""
    attempts = read_attempts(store, study)
    trials = store.read(lambda connection: read_trials(connection, study.study_id))
    return [_row(study, trial, attempts.get(trial.trial_id, [])) for trial in trials]


def _row(study: StudyRow, trial: OptunaTrial, attempts: list[AttemptRow]) -> TrialRow:
    queued = trial.state == "WAITING" and not trial.params
    flat: dict[str, Any] = trial.fixed if queued else trial.params
    # A queued trial knows only what was asked for; the rest is drawn when it begins.
    params = dict(flat) if queued else _resolved(study, flat)
    return TrialRow(
        number=trial.number,
        trial_id=trial.trial_id,
        state=trial.state,
        value=trial.value,
        params=params,
        attempts=attempts,
        retry_of=trial.retry_of,
    )


def _resolved(study: StudyRow, flat: dict[str, Any]) -> Params:
    try:
        return study.spec.space.resolve(flat)
    except SpaceError:
        return dict(flat)  # it is being drawn now, or its loop died while it was


def find_trial(store: Store, study: StudyRow, number: int) -> TrialRow:
    """The trial of that number. Raises StudyError."""
    for trial in store.read(lambda connection: read_trials(connection, study.study_id, number)):
        attempts = read_attempts(store, study, trial.trial_id)
        return _row(study, trial, attempts.get(trial.trial_id, []))
    raise StudyError(f"study {study.name!r} has no trial {number}")


def trial_curve(store: Store, study: StudyRow, trial: TrialRow) -> list[IntervalRow]:
    """The intervals of a trial's last attempt."""
    if trial.last is None:
        return []
    return read_intervals(store, study, trial.trial_id, trial.last.attempt)


def best_trial(study: StudyRow, trials: list[TrialRow]) -> TrialRow | None:
    """The COMPLETE trial with the best finite score; the earliest among equals. A comparison, which
    selects nothing, has none."""
    if not study.spec.selects:
        return None
    sign = -1 if study.spec.direction == "maximize" else 1
    finished = [
        trial
        for trial in trials
        if trial.state == "COMPLETE" and trial.value is not None and math.isfinite(trial.value)
    ]
    return min(finished, key=lambda t: (sign * (t.value or 0.0), t.number), default=None)


def ends(trials: list[TrialRow]) -> dict[str, int]:
    """How trials ended, counted; unfinished ones under their state."""
    counts = Counter(
        trial.end
        if trial.end and trial.state not in ("WAITING", "RUNNING")
        else trial.state.lower()
        for trial in trials
    )
    return dict(counts.most_common())


def table_row(trial: TrialRow, only: Sequence[str] | None = None) -> dict[str, Any]:
    """One row: what `trial list` prints and `study export` writes; `only` these params."""
    last = trial.last
    return {
        "trial": trial.number,
        "state": trial.state.lower(),
        "end": trial.end,
        "score": trial.value,
        "epochs": last.epochs if last else None,
        "seconds": round(trial.seconds, 2) if trial.seconds is not None else None,
        "params": {
            name: value for name, value in trial.params.items() if only is None or name in only
        },
    }


def ordered(study: StudyRow, trials: list[TrialRow]) -> list[TrialRow]:
    """Best score first: COMPLETE trials, then pruned ones, then those without a value."""
    sign = -1 if study.spec.direction == "maximize" else 1

    def key(trial: TrialRow) -> tuple[bool, bool, float, int]:
        value = trial.value if trial.value is not None and math.isfinite(trial.value) else None
        return value is None, trial.state != "COMPLETE", sign * (value or 0.0), trial.number

    return sorted(trials, key=key)


def enqueue(store: Store, study: StudyRow, configuration: Params) -> tuple[int, int]:
    """Queue a configuration. Its trial's number, and how many trials wait. Raises SpaceError for
    values that the study's space does not hold."""
    return _queue(store, study, study.spec.space.flatten(configuration), {})


def retry(store: Store, study: StudyRow, number: int) -> tuple[int, int]:
    """Queue a trial's configuration again, as a new trial with a seed of its own. Its number, and
    how many trials wait. Raises StudyError."""
    found = find_trial(store, study, number)
    flat = store.optuna.get_trial(found.trial_id).params
    if found.state in ("WAITING", "RUNNING") or not flat:
        raise StudyError(
            f"trial {number} of study {study.name!r} is {found.state.lower()}, and has nothing yet "
            "to be tried again"
        )
    return _queue(store, study, flat, {"retry_of": number})


def _queue(
    store: Store, study: StudyRow, flat: dict[str, Any], attributes: dict[str, Any]
) -> tuple[int, int]:
    import optuna

    optuna_study = optuna.load_study(study_name=study.name, storage=store.optuna)
    optuna_study.enqueue_trial(flat, user_attrs={"added_by": "user"} | attributes)
    waiting = optuna_study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return waiting[-1].number, len(waiting)
