"""What trials leave behind: every interval's metrics, every attempt's end."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.storage.places import Place
from tuner.storage.store import Store, now
from tuner.storage.tables import attempts, intervals
from tuner.training.events import Ended, Interval


@dataclass(frozen=True)
class AttemptRow:
    """One execution of a trial. Times are seconds since 1970; `end` is None while it runs."""

    trial_id: int
    attempt: int
    worker: int
    started_at: float
    ended_at: float | None
    end: str | None
    detail: str | None
    score: float | None
    best_epoch: int | None
    epochs: int | None
    parameter_count: int | None
    engine: str | None
    seconds: dict[str, float]
    model_path: str | None


@dataclass(frozen=True)
class IntervalRow:
    step: int
    epoch: int
    whole: bool
    metrics: dict[str, float]
    at: float


def record_interval(store: Store, place: Place, interval: Interval) -> None:
    """Keep an interval's raw metrics. Non-finite values are kept as text: JSON has none."""
    with store.writing() as connection:
        connection.execute(
            sa.insert(intervals).values(
                trial_id=place.trial_id,
                attempt=place.attempt,
                step=interval.step,
                epoch=interval.epoch,
                whole=interval.whole,
                metrics=_encoded(interval.metrics),
                at=now(connection.dialect.name),
            )
        )


def record_end(
    store: Store,
    place: Place,
    end: str,
    ended: Ended | None = None,
    detail: str | None = None,
    model_path: str | None = None,
) -> None:
    """Close the attempt with all that is known of it, before Optuna is told."""
    values: dict[str, Any] = {"end": end, "detail": detail, "model_path": model_path}
    if ended:
        values |= {
            "score": ended.score,
            "best_epoch": ended.best_epoch,
            "epochs": ended.epochs,
            "parameter_count": ended.parameter_count,
            "engine": ended.engine,
            "seconds": ended.seconds,
        }
    _close(store, place, values)


def record_pruned(
    store: Store, place: Place, score: float | None, epochs: int, seconds: dict[str, float]
) -> None:
    """Close the attempt of a trial that the pruner ended after so many whole epochs."""
    values = {"end": "pruned", "score": score, "epochs": epochs, "seconds": seconds}
    _close(store, place, values)


def _close(store: Store, place: Place, values: dict[str, Any]) -> None:
    with store.writing() as connection:
        connection.execute(
            sa.update(attempts)
            .where(attempts.c.trial_id == place.trial_id, attempts.c.attempt == place.attempt)
            .values(ended_at=now(connection.dialect.name), **values)
        )


def final_score(store: Store, place: Place) -> float | None:
    """The score of the place's attempt if it trained to its end, else None."""
    query = (
        sa.select(attempts.c.score)
        .where(attempts.c.trial_id == place.trial_id, attempts.c.attempt == place.attempt)
        .where(attempts.c.end.in_(("complete", "early_stopped", "target")))
    )
    with store.reading() as connection:
        return connection.execute(query).scalar()


def read_attempts(store: Store, study_id: int) -> dict[int, list[AttemptRow]]:
    """All attempts of a study, by trial id, in order."""
    names = [column for column in attempts.c if column.name not in ("study_id", "loop_id")]
    query = (
        sa.select(*names)
        .where(attempts.c.study_id == study_id)
        .order_by(attempts.c.trial_id, attempts.c.attempt)
    )
    found: dict[int, list[AttemptRow]] = {}
    with store.reading() as connection:
        for row in connection.execute(query):
            values = dict(row._mapping)
            values["seconds"] = values["seconds"] or {}
            found.setdefault(row.trial_id, []).append(AttemptRow(**values))
    return found


def read_intervals(
    store: Store, trial_id: int, attempt: int, after_step: int = 0
) -> list[IntervalRow]:
    """The intervals of one attempt beyond a step, in order."""
    query = (
        sa.select(intervals)
        .where(intervals.c.trial_id == trial_id, intervals.c.attempt == attempt)
        .where(intervals.c.step > after_step)
        .order_by(intervals.c.step)
    )
    with store.reading() as connection:
        return [
            IntervalRow(row.step, row.epoch, row.whole, _decoded(row.metrics), row.at)
            for row in connection.execute(query)
        ]


def _encoded(metrics: Mapping[str, float]) -> dict[str, float | str]:
    return {k: v if math.isfinite(v) else str(v) for k, v in metrics.items()}


def _decoded(metrics: Mapping[str, float | str]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}
