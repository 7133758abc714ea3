"""Trials of other searches, written into a study as finished trials without a slot.

Each has an attempt of its own with its curve, so that lists, plots and MLflow show it as any other
trial, and a mark by which a repeated import recognizes it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tuner.storage.attempt_rows import encode_metrics
from tuner.storage.schema import (
    StudyKey,
    attempts,
    optuna_trial_attributes,
    optuna_trials,
    reports,
)
from tuner.storage.store import Store, now
from tuner.storage.studies import StudyRow
from tuner.study.ends import TrialEnd

# Optuna's trial attribute with the mark of an imported trial, as JSON.
IMPORTED = "tuner:imported"
# What Optuna's dashboard shows: where the trial is from.
_ORIGIN = "imported_from"


@dataclass(frozen=True)
class ImportedTrial:
    """A trial to be written. `mark`: no other trial that the study imports has it. `origin`: where
    it is from, in words. `params`: flat, each with Optuna's distribution. `curve`: metrics by whole
    epoch; those of the objective by its name."""

    origin: str
    score: float
    end: TrialEnd
    mark: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    distributions: Mapping[str, Any] = field(default_factory=dict)
    curve: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    best_epoch: int | None = None
    started_at: float | None = None
    ended_at: float | None = None


def imported_marks(store: Store, study: StudyKey) -> set[str]:
    """The marks of the trials that the study has imported."""
    marks, trials = optuna_trial_attributes, optuna_trials
    query = (
        sa.select(marks.c.value_json)
        .join(trials, trials.c.trial_id == marks.c.trial_id)
        .where(trials.c.study_id == study.study_id, marks.c.key == IMPORTED)
    )
    rows = store.read(lambda connection: connection.execute(query).scalars().all())
    return {str(json.loads(row)) for row in rows}


def write_imported(store: Store, study: StudyRow, trials: Sequence[ImportedTrial]) -> None:
    """Write the trials, each in a transaction of its own; one whose mark the study has already is
    not written again."""
    for trial in trials:
        _write_trial(store, study, trial)


def _write_trial(store: Store, study: StudyRow, trial: ImportedTrial) -> None:
    from optuna.trial import TrialState, create_trial

    from tuner.storage.transaction_hooks import AlreadyCreated, TransactionHook

    def write(connection: sa.Connection, trial_id: int) -> None:
        if (written := _written_before(connection, study, trial.mark)) is not None:
            raise AlreadyCreated(written)
        _insert_mark(connection, trial_id, trial.mark)
        _insert_attempt(connection, study, trial_id, trial)

    template = create_trial(
        state=TrialState[trial.end.fate.optuna_state],
        value=trial.score,
        params=dict(trial.params),
        distributions=dict(trial.distributions),
        user_attrs={"end": str(trial.end), _ORIGIN: trial.origin},
        intermediate_values=_running_bests(study, trial),
    )
    for name, seconds in (
        ("datetime_start", trial.started_at),
        ("datetime_complete", trial.ended_at),
    ):
        if seconds is not None:
            setattr(template, name, datetime.fromtimestamp(seconds))
    store.optuna.create_trial(study.study_id, template, hook=TransactionHook(write))


def _running_bests(study: StudyRow, trial: ImportedTrial) -> dict[int, float]:
    """What pruners read, at the steps of this study's reports: the best value up to each epoch."""
    goal, spec = study.spec.goal(), study.spec
    best: float | None = None
    reported: dict[int, float] = {}
    for epoch, metrics in sorted(trial.curve.items()):
        value = metrics.get(goal.metric)
        if value is not None and goal.better(value, best):
            best = value
        if best is not None:
            reported[epoch * spec.first_epoch_reports] = best
    return reported


def _written_before(connection: sa.Connection, study: StudyRow, mark: str) -> int | None:
    marks, trials = optuna_trial_attributes, optuna_trials
    query = (
        sa.select(marks.c.trial_id)
        .join(trials, trials.c.trial_id == marks.c.trial_id)
        .where(trials.c.study_id == study.study_id, marks.c.key == IMPORTED)
        .where(marks.c.value_json == json.dumps(mark))
    )
    return connection.execute(query).scalar()


def _insert_mark(connection: sa.Connection, trial_id: int, mark: str) -> None:
    values = {"trial_id": trial_id, "key": IMPORTED, "value_json": json.dumps(mark)}
    connection.execute(sa.insert(optuna_trial_attributes).values(**values))


def _insert_attempt(
    connection: sa.Connection, study: StudyRow, trial_id: int, trial: ImportedTrial
) -> None:
    key = {"study_uuid": study.uuid, "trial_id": trial_id, "attempt": 1}
    ended_at = trial.ended_at
    if ended_at is None:
        ended_at = connection.execute(sa.select(now(connection.dialect.name))).scalar_one()
    connection.execute(
        sa.insert(attempts).values(
            **key,
            loop_id=str(trial.end),
            worker=0,
            started_at=ended_at if trial.started_at is None else trial.started_at,
            ended_at=ended_at,
            end=str(trial.end),
            detail=trial.origin,
            score=trial.score,
            best_epoch=trial.best_epoch,
            epochs=max(trial.curve, default=None),
        )
    )
    rows = [
        key
        | {
            "step": epoch * study.spec.first_epoch_reports,
            "epoch": epoch,
            "whole": True,
            "metrics": encode_metrics(metrics),
            "at": ended_at,
        }
        for epoch, metrics in sorted(trial.curve.items())
    ]
    if rows:
        connection.execute(sa.insert(reports), rows)
