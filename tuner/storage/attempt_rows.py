"""What trials leave behind: every interval's metrics, every attempt's end."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.errors import StorageError
from tuner.storage.damage import Damage, count, flag, json_numbers, moment, real, text, whole
from tuner.storage.leases import Lease
from tuner.storage.schema import StudyKey, attempts, intervals
from tuner.storage.slots import TrialSlot, hold
from tuner.storage.store import now, reads, writes
from tuner.study.artifacts import Artifact
from tuner.study.engines import engine_name, recorded_engine
from tuner.study.messages import Ended, Report


def _raw(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """A column for `damage` to read: one spoiled JSON text must not fail the whole query."""
    is_json = isinstance(column.type, sa.JSON)
    return sa.cast(column, sa.Text).label(column.name) if is_json else column


ATTEMPT_COLUMNS = [_raw(c) for c in attempts.c if c.name not in ("study_uuid", "loop_id")]


@dataclass(frozen=True)
class AttemptRow:
    """One execution of a trial. Times are seconds since 1970; `end` is None while it runs.
    `model_path`: of its saved network, relative to the project's folder of networks, with the size
    in bytes and the SHA-256 that the file must have (None in rows of before).

    `damage`: what of its row cannot be read; that is None, or 0 or empty where None cannot be."""

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
    model_bytes: int | None
    model_sha256: str | None
    resumed_epoch: int | None
    damage: tuple[str, ...] = ()

    @property
    def model(self) -> Artifact | None:
        """The attempt's saved network."""
        if self.model_path is None:
            return None
        return Artifact(self.model_path, self.model_bytes, self.model_sha256)


@dataclass(frozen=True)
class ReportRow:
    """What a worker reported. `damage`: what of its row cannot be read."""

    step: int
    epoch: int
    whole: bool
    metrics: dict[str, float]
    at: float
    damage: tuple[str, ...] = ()


@writes
def record_report(
    connection: sa.Connection, lease: Lease, slot: TrialSlot, interval: Report
) -> None:
    """Keep an interval's raw metrics. Non-finite values are kept as text: JSON has none. Raises
    SlotLost."""
    hold(connection, lease, slot.trial_id)
    row = {"study_uuid": slot.uuid, "trial_id": slot.trial_id, "attempt": slot.attempt}
    row["step"] = interval.step
    kept = sa.select(intervals.c.step).filter_by(**row)
    if connection.execute(kept).first() is None:
        values = {"epoch": interval.epoch, "whole": interval.whole}
        metrics = _encoded(interval.metrics)
        clock = now(connection.dialect.name)
        connection.execute(sa.insert(intervals).values(**row, **values, metrics=metrics, at=clock))


@writes
def resume(connection: sa.Connection, lease: Lease, slot: TrialSlot, epoch: int) -> None:
    """The attempt goes on behind so many epochs: it is given the intervals that the attempts
    before it have recorded of them, so that each attempt's curve is whole. Raises SlotLost."""
    hold(connection, lease, slot.trial_id)
    _update_attempt(connection, slot, {"resumed_epoch": epoch})
    mine = sa.delete(intervals).where(
        intervals.c.study_uuid == slot.uuid,
        intervals.c.trial_id == slot.trial_id,
        intervals.c.attempt == slot.attempt,
    )
    connection.execute(mine)
    columns = [column for column in intervals.c if column.name != "attempt"]
    earlier = (
        sa.select(*columns, sa.literal(slot.attempt))
        .where(intervals.c.study_uuid == slot.uuid)
        .where(intervals.c.trial_id == slot.trial_id, intervals.c.epoch <= epoch)
        .where(intervals.c.attempt == _latest_of_step(slot))
    )
    names = [*(column.name for column in columns), "attempt"]
    connection.execute(sa.insert(intervals).from_select(names, earlier))


@writes
def move(connection: sa.Connection, lease: Lease, slot: TrialSlot, worker: int) -> None:
    """Another worker trains the attempt than it was begun for. Raises SlotLost."""
    hold(connection, lease, slot.trial_id)
    _update_attempt(connection, slot, {"worker": worker})


def _latest_of_step(slot: TrialSlot) -> sa.ScalarSelect[int]:
    """For a step, the last attempt before this one that recorded it: all of them are equal."""
    other = intervals.alias()
    return (
        sa.select(sa.func.max(other.c.attempt))
        .where(other.c.study_uuid == intervals.c.study_uuid)
        .where(other.c.trial_id == intervals.c.trial_id, other.c.step == intervals.c.step)
        .where(other.c.attempt < slot.attempt)
        .scalar_subquery()
    )


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended: `values` are columns of its row, `end` among them."""

    values: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        end: str,
        ended: Ended | None = None,
        detail: str | None = None,
        model: Artifact | None = None,
    ) -> "AttemptEnd":
        values: dict[str, Any] = {"end": str(end), "detail": detail}
        if model:
            values |= {"model_path": model.path, "model_bytes": model.size}
            values["model_sha256"] = model.sha256
        if ended:
            names = ("score", "best_epoch", "epochs", "parameter_count", "seconds")
            values |= {name: getattr(ended, name) for name in names}
            values["engine"] = recorded_engine(ended.engine)
        return cls(values)

    @classmethod
    def unfinished(
        cls, end: str, score: float | None, last: Report | None, detail: str | None = None
    ) -> "AttemptEnd":
        """Of a trial that was ended from outside, after the interval `last`."""
        epochs = last.epoch - (not last.whole) if last else 0
        values = {"end": str(end), "score": score, "epochs": epochs, "detail": detail}
        seconds = last.seconds if last else {}
        engine = recorded_engine(last.engine) if last and last.engine else None
        return cls(values | {"seconds": seconds, "engine": engine})


def close_attempt(connection: sa.Connection, slot: TrialSlot, end: AttemptEnd) -> None:
    """Close the attempt with all that is known of it."""
    _update_attempt(connection, slot, {"ended_at": now(connection.dialect.name)} | dict(end.values))


def _update_attempt(connection: sa.Connection, slot: TrialSlot, values: Mapping[str, Any]) -> None:
    connection.execute(
        sa.update(attempts)
        .where(attempts.c.study_uuid == slot.uuid, attempts.c.trial_id == slot.trial_id)
        .where(attempts.c.attempt == slot.attempt)
        .values(**values)
    )


@reads
def has_ended(connection: sa.Connection, lease: Lease, slot: TrialSlot, end: AttemptEnd) -> bool:
    """Whether the attempt is one of this loop, and was closed like that."""
    query = sa.select(attempts.c.trial_id).where(
        attempts.c.study_uuid == slot.uuid,
        attempts.c.trial_id == slot.trial_id,
        attempts.c.attempt == slot.attempt,
        attempts.c.loop_id == lease.loop_id,
        attempts.c.end == end.values["end"],
    )
    return connection.execute(query).first() is not None


@reads
def known_epochs(connection: sa.Connection, study: StudyKey, trial_id: int) -> int:
    """The last whole epoch that any attempt of the trial has recorded; 0 where there is none."""
    query = sa.select(sa.func.max(intervals.c.epoch)).where(
        intervals.c.study_uuid == study.uuid, intervals.c.trial_id == trial_id, intervals.c.whole
    )
    return connection.execute(query).scalar() or 0


@reads
def read_attempts(
    connection: sa.Connection, study: StudyKey, trial_id: int | None = None
) -> dict[int, list[AttemptRow]]:
    """All attempts of a study, or of one trial, by trial id, in order."""
    query = (
        sa.select(*ATTEMPT_COLUMNS)
        .where(attempts.c.study_uuid == study.uuid)
        .order_by(attempts.c.trial_id, attempts.c.attempt)
    )
    if trial_id is not None:
        query = query.where(attempts.c.trial_id == trial_id)
    return attempt_rows(connection, query)


def attempt_rows(connection: sa.Connection, query: sa.Select[Any]) -> dict[int, list[AttemptRow]]:
    """What a query for ATTEMPT_COLUMNS finds, by trial id, in its order."""
    found: dict[int, list[AttemptRow]] = {}
    for row in connection.execute(query):
        found.setdefault(row.trial_id, []).append(_attempt(row))
    return found


_ATTEMPT_READERS: dict[str, Callable[[Any], Any]] = {
    "ended_at": moment,
    "end": text,
    "detail": text,
    "score": real,
    "best_epoch": whole,
    "epochs": whole,
    "parameter_count": whole,
    "engine": lambda value: engine_name(text(value)),
    "model_path": text,
    "model_bytes": whole,
    "model_sha256": text,
    "resumed_epoch": whole,
}


def _attempt(row: Any) -> AttemptRow:
    damage, values = Damage(), row._mapping
    read = {
        name: damage.optional(name, reader, values[name])
        for name, reader in _ATTEMPT_READERS.items()
    }
    return AttemptRow(
        trial_id=row.trial_id,
        attempt=damage.read("attempt", count, row.attempt) or 0,
        worker=damage.read("worker", whole, row.worker) or 0,
        started_at=damage.read("started_at", moment, row.started_at) or 0.0,
        seconds=damage.read("seconds", _seconds, row.seconds) or {},
        damage=tuple(damage.found),
        **read,
    )


def _seconds(value: Any) -> dict[str, float]:
    return {} if value in (None, "null") else json_numbers(value)


@reads
def read_reports(
    connection: sa.Connection, study: StudyKey, trial_id: int, attempt: int, after_step: int = 0
) -> list[ReportRow]:
    """The intervals of one attempt beyond a step, in order. Raises StorageError for a row that
    cannot be read."""
    rows = report_rows(connection, study, trial_id, attempt, intervals.c.step > after_step)
    for row in rows:
        if row.damage:
            raise StorageError(
                f"a report of the trial with id {trial_id} is damaged: {'; '.join(row.damage)}"
            )
    return rows


def report_rows(
    connection: sa.Connection,
    study: StudyKey,
    trial_id: int,
    attempt: int,
    *conditions: sa.ColumnElement[bool],
) -> list[ReportRow]:
    """The intervals of one attempt that meet the conditions, in order, as far as they can be
    read."""
    query = (
        sa.select(
            intervals.c.step,
            intervals.c.epoch,
            sa.type_coerce(intervals.c.whole, sa.types.NullType()).label("whole"),
            _raw(intervals.c.metrics),
            intervals.c.at,
        )
        .where(intervals.c.study_uuid == study.uuid, intervals.c.trial_id == trial_id)
        .where(intervals.c.attempt == attempt, *conditions)
        .order_by(intervals.c.step)
    )
    return [_interval(row) for row in connection.execute(query)]


def _interval(row: Any) -> ReportRow:
    damage = Damage()
    return ReportRow(
        step=damage.read("step", whole, row.step) or 0,
        epoch=damage.read("epoch", whole, row.epoch) or 0,
        whole=damage.read("whole", flag, row.whole) or False,
        metrics=damage.read("metrics", json_numbers, row.metrics) or {},
        at=damage.read("at", moment, row.at) or 0.0,
        damage=tuple(damage.found),
    )


@reads
def saved_networks(connection: sa.Connection, study: StudyKey) -> list[Artifact]:
    """All networks that the study's trials have saved."""
    columns = (attempts.c.model_path, attempts.c.model_bytes, attempts.c.model_sha256)
    query = sa.select(*columns).where(
        attempts.c.study_uuid == study.uuid, attempts.c.model_path.is_not(None)
    )
    rows = connection.execute(query)
    return [Artifact(*row) for row in rows if isinstance(row.model_path, str)]


def _encoded(metrics: Mapping[str, float]) -> dict[str, float | str]:
    return {k: v if math.isfinite(v) else str(v) for k, v in metrics.items()}
