"""What trials leave behind: the metrics of every report, the end of every attempt."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.errors import StorageError
from tuner.storage.damage import Damage, count, flag, json_numbers, moment, real, text, whole
from tuner.storage.leases import Lease
from tuner.storage.schema import StudyKey, attempts, loops, reports
from tuner.storage.slots import TrialSlot, hold, place_columns
from tuner.storage.store import Store, insert_or, now
from tuner.study.artifacts import Artifact
from tuner.study.engines import engine_name, recorded_engine
from tuner.study.messages import Ended, Goal, Report, WorkerPlace


def _undecoded(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """A column for `damage` to decode: one damaged JSON text must not fail the whole query."""
    is_json = isinstance(column.type, sa.JSON)
    return sa.cast(column, sa.Text).label(column.name) if is_json else column


_REPORT_COLUMNS = (
    reports.c.step,
    reports.c.epoch,
    sa.type_coerce(reports.c.whole, sa.types.NullType()).label("whole"),
    _undecoded(reports.c.metrics),
    reports.c.at,
)
ATTEMPT_COLUMNS = [_undecoded(c) for c in attempts.c if c.name not in ("study_uuid", "loop_id")]


@dataclass(frozen=True)
class AttemptRow:
    """One execution of a trial. Times are seconds since 1970; `ended_at` and `end` are None while
    it runs. `model_path`: its saved network, relative to the project's folder of networks, with the
    size in bytes and the SHA-256 that the file must have (None in rows of earlier versions).
    `host`, `node`: the machine and the cluster's node that trained it; None on its loop's machine.

    `damage`: what cannot be read of its row. Such a value is None, or 0 or empty where the type
    does not allow None."""

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
    host: str | None = None
    node: str | None = None
    damage: tuple[str, ...] = ()

    @property
    def place_text(self) -> str | None:
        """Where it was trained, as tables show it; None for its loop's machine."""
        return None if self.host is None else str(WorkerPlace(self.host, self.node or ""))

    @property
    def model(self) -> Artifact | None:
        """The attempt's saved network."""
        if self.model_path is None:
            return None
        return Artifact(self.model_path, self.model_bytes, self.model_sha256)

    @property
    def has_released(self) -> bool:
        """Whether the attempt saved a network that is no longer kept: see `kept_networks`."""
        return self.model_path is None and self.model_sha256 is not None


@dataclass(frozen=True)
class ReportRow:
    """What a worker reported. `damage`: what cannot be read of its row."""

    step: int
    epoch: int
    whole: bool
    metrics: dict[str, float]
    at: float
    damage: tuple[str, ...] = ()


def record_report(store: Store, lease: Lease, slot: TrialSlot, report: Report) -> None:
    """Store a report's raw metrics. Non-finite values are stored as text, since JSON has none.
    Raises SlotLost."""

    def write(connection: sa.Connection) -> None:
        hold(connection, lease, slot.trial_id)
        insert_reports(connection, [report_row(slot, report)])

    store.write(write)


def report_row(slot: TrialSlot, report: Report) -> dict[str, Any]:
    """The row of a report."""
    return {
        "study_uuid": slot.uuid,
        "trial_id": slot.trial_id,
        "attempt": slot.attempt,
        "step": report.step,
        "epoch": report.epoch,
        "whole": report.whole,
        "metrics": encode_metrics(report.metrics),
    }


def insert_reports(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store rows of `report_row`, within a transaction that holds their slots."""
    if rows:
        connection.execute(_insert_report(connection.dialect.name), list(rows))


@functools.cache
def _insert_report(dialect: str) -> Any:
    """A step that is stored already stays as it is."""
    return insert_or(dialect, reports).values(at=now(dialect)).on_conflict_do_nothing()


def encode_metrics(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Metrics as the table of reports stores them."""
    return {k: v if math.isfinite(v) else str(v) for k, v in metrics.items()}


def resume(store: Store, lease: Lease, slot: TrialSlot, epoch: int) -> None:
    """The attempt continues after so many epochs. It gets a copy of the reports that earlier
    attempts have recorded of them, so that each attempt's curve is whole. Raises SlotLost."""
    store.write(_resume, lease, slot, epoch)


def _resume(connection: sa.Connection, lease: Lease, slot: TrialSlot, epoch: int) -> None:
    hold(connection, lease, slot.trial_id)
    _update_attempt(connection, slot, {"resumed_epoch": epoch})
    own_reports = sa.delete(reports).where(
        reports.c.study_uuid == slot.uuid,
        reports.c.trial_id == slot.trial_id,
        reports.c.attempt == slot.attempt,
    )
    connection.execute(own_reports)
    columns = [column for column in reports.c if column.name != "attempt"]
    earlier = (
        sa.select(*columns, sa.literal(slot.attempt))
        .where(reports.c.study_uuid == slot.uuid)
        .where(reports.c.trial_id == slot.trial_id, reports.c.epoch <= epoch)
        .where(reports.c.attempt == _latest_attempt_with_step(slot))
    )
    names = [*(column.name for column in columns), "attempt"]
    connection.execute(sa.insert(reports).from_select(names, earlier))


def _latest_attempt_with_step(slot: TrialSlot) -> sa.ScalarSelect[int]:
    """The last attempt before this one that recorded a step; all that did have equal metrics."""
    other = reports.alias()
    return (
        sa.select(sa.func.max(other.c.attempt))
        .where(other.c.study_uuid == reports.c.study_uuid)
        .where(other.c.trial_id == reports.c.trial_id, other.c.step == reports.c.step)
        .where(other.c.attempt < slot.attempt)
        .scalar_subquery()
    )


def move(
    store: Store,
    lease: Lease,
    slot: TrialSlot,
    worker: int,
    place: WorkerPlace | None = None,
) -> None:
    """Record that another worker, at this place, trains the attempt than began it. Raises
    SlotLost."""

    def write(connection: sa.Connection) -> None:
        hold(connection, lease, slot.trial_id)
        _update_attempt(connection, slot, {"worker": worker, **place_columns(place)})

    store.write(write)


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
        """Of a trial that was ended from outside, after the report `last`."""
        epochs = last.epoch - (not last.whole) if last else 0
        values = {"end": str(end), "score": score, "epochs": epochs, "detail": detail}
        seconds = last.seconds if last else {}
        engine = recorded_engine(last.engine) if last and last.engine else None
        return cls(values | {"seconds": seconds, "engine": engine})


def close_attempt(connection: sa.Connection, slot: TrialSlot, end: AttemptEnd) -> None:
    """Record the attempt's end, within a transaction that holds its slot."""
    _update_attempt(connection, slot, end.values, is_end=True)


def change_attempt(connection: sa.Connection, slot: TrialSlot, values: Mapping[str, Any]) -> None:
    """Change what is recorded of an attempt that has ended, within a transaction that holds its
    slot."""
    _update_attempt(connection, slot, values)


def _update_attempt(
    connection: sa.Connection, slot: TrialSlot, values: Mapping[str, Any], is_end: bool = False
) -> None:
    keys = {"a_uuid": slot.uuid, "a_trial": slot.trial_id, "an_attempt": slot.attempt}
    new = {f"new_{name}": value for name, value in values.items()}
    dialect = connection.dialect.name if is_end else None
    connection.execute(_update_of(tuple(values), dialect), keys | new)


@functools.cache
def _update_of(columns: tuple[str, ...], ended_by: str | None) -> sa.Update:
    """Changes these columns of one attempt. `ended_by`: the dialect whose clock says when it
    ended, None where it goes on."""
    new: dict[str, Any] = {
        name: sa.bindparam(f"new_{name}", type_=attempts.c[name].type) for name in columns
    }
    if ended_by is not None:
        new["ended_at"] = now(ended_by)
    return (
        sa.update(attempts)
        .where(attempts.c.study_uuid == sa.bindparam("a_uuid", type_=sa.String))
        .where(attempts.c.trial_id == sa.bindparam("a_trial"))
        .where(attempts.c.attempt == sa.bindparam("an_attempt"))
        .values(new)
    )


def has_ended(store: Store, lease: Lease, slot: TrialSlot, end: AttemptEnd) -> bool:
    """Whether this loop ran the attempt, and closed it with that end."""
    query = sa.select(attempts.c.trial_id).where(
        attempts.c.study_uuid == slot.uuid,
        attempts.c.trial_id == slot.trial_id,
        attempts.c.attempt == slot.attempt,
        attempts.c.loop_id == lease.loop_id,
        attempts.c.end == end.values["end"],
    )
    return store.read(lambda connection: connection.execute(query).first()) is not None


def known_epochs(store: Store, study: StudyKey, trial_id: int) -> int:
    """The last whole epoch that any attempt of the trial has recorded; 0 if there is none."""
    query = sa.select(sa.func.max(reports.c.epoch)).where(
        reports.c.study_uuid == study.uuid, reports.c.trial_id == trial_id, reports.c.whole
    )
    return store.read(lambda connection: connection.execute(query).scalar()) or 0


def read_attempts(
    store: Store, study: StudyKey, trial_id: int | None = None
) -> dict[int, list[AttemptRow]]:
    """All attempts of a study, or of one trial, by trial id, in order."""
    query = select_attempts(study)
    if trial_id is not None:
        query = query.where(attempts.c.trial_id == trial_id)
    return store.read(attempts_by_trial, query)


@dataclass(frozen=True)
class AttemptPlace:
    """Where an attempt ran. `has_daemon`: its loop was one of `tuner worker`."""

    host: str
    pid: int
    has_daemon: bool


def attempt_places(store: Store, study: StudyKey, trial_id: int) -> dict[int, AttemptPlace]:
    """Where the attempts of a trial ran, by attempt. None is known of imported ones, nor in a
    database that was moved since."""
    query = (
        sa.select(attempts.c.attempt, loops.c.host, loops.c.pid, loops.c.worker_id)
        .join(loops, loops.c.loop_id == attempts.c.loop_id)
        .where(attempts.c.study_uuid == study.uuid, attempts.c.trial_id == trial_id)
    )
    rows = store.read(lambda connection: connection.execute(query).all())
    return {
        row.attempt: AttemptPlace(str(row.host), row.pid, row.worker_id is not None) for row in rows
    }


def select_attempts(study: StudyKey) -> sa.Select[Any]:
    """The attempts of a study, by trial id, in order: a query for `attempts_by_trial`."""
    return (
        sa.select(*ATTEMPT_COLUMNS)
        .where(attempts.c.study_uuid == study.uuid)
        .order_by(attempts.c.trial_id, attempts.c.attempt)
    )


def attempts_by_trial(
    connection: sa.Connection, query: sa.Select[Any]
) -> dict[int, list[AttemptRow]]:
    """The attempts that a query for ATTEMPT_COLUMNS selects, by trial id, in its order."""
    by_trial: dict[int, list[AttemptRow]] = {}
    for row in connection.execute(query):
        by_trial.setdefault(row.trial_id, []).append(_attempt(row))
    return by_trial


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
    "host": text,
    "node": text,
}


def _attempt(row: Any) -> AttemptRow:
    damage, values = Damage(), row._mapping
    optional_values = {
        name: damage.optional(name, reader, values[name])
        for name, reader in _ATTEMPT_READERS.items()
    }
    return AttemptRow(
        trial_id=row.trial_id,
        attempt=damage.read("attempt", count, row.attempt) or 0,
        worker=damage.read("worker", whole, row.worker) or 0,
        started_at=damage.read("started_at", moment, row.started_at) or 0.0,
        seconds=damage.read("seconds", _seconds, row.seconds) or {},
        damage=tuple(damage.notes),
        **optional_values,
    )


def _seconds(value: Any) -> dict[str, float]:
    return {} if value in (None, "null") else json_numbers(value)


def read_reports(
    store: Store, study: StudyKey, trial_id: int, attempt: int, after_step: int = 0
) -> list[ReportRow]:
    """The reports of one attempt after a step, in order. Raises StorageError for a row that cannot
    be read."""
    is_later = reports.c.step > after_step
    rows = store.read(report_rows, study, trial_id, attempt, is_later)
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
    """The reports of one attempt that meet the conditions, in order, as far as they can be
    read."""
    query = (
        sa.select(*_REPORT_COLUMNS)
        .where(reports.c.study_uuid == study.uuid, reports.c.trial_id == trial_id)
        .where(reports.c.attempt == attempt, *conditions)
        .order_by(reports.c.step)
    )
    return [_report(row) for row in connection.execute(query)]


def _report(row: Any) -> ReportRow:
    damage = Damage()
    return ReportRow(
        step=damage.read("step", whole, row.step) or 0,
        epoch=damage.read("epoch", whole, row.epoch) or 0,
        whole=damage.read("whole", flag, row.whole) or False,
        metrics=damage.read("metrics", json_numbers, row.metrics) or {},
        at=damage.read("at", moment, row.at) or 0.0,
        damage=tuple(damage.notes),
    )


Values = dict[str, float | None]


def recorded_values(
    connection: sa.Connection,
    study: StudyKey,
    last_attempts: Mapping[int, AttemptRow],
    goal: Goal,
    names: Sequence[str],
    *conditions: sa.ColumnElement[bool],
) -> dict[int, Values]:
    """The metrics of these names of each trial, by trial id: those of the report that gave its
    score. None for a value that it does not have. The rest as for `reports_of_scores`."""
    best = reports_of_scores(connection, study, last_attempts, goal, *conditions)
    return {
        trial_id: {name: best[trial_id].metrics.get(name) for name in names}
        if trial_id in best
        else dict.fromkeys(names)
        for trial_id in last_attempts
    }


def reports_of_scores(
    connection: sa.Connection,
    study: StudyKey,
    last_attempts: Mapping[int, AttemptRow],
    goal: Goal,
    *conditions: sa.ColumnElement[bool],
) -> dict[int, ReportRow]:
    """The report that gave each trial's score, by trial id. This is the best epoch's; of an attempt
    without one, the report with the best objective so far. `last_attempts`: by trial id.
    `conditions`: on `attempts`, where not all trials are wanted."""
    best: dict[int, ReportRow] = {}
    for row in connection.execute(_reports_to_choose_from(study, *conditions)):
        attempt = last_attempts.get(row.trial_id)
        if attempt is None or attempt.attempt != row.attempt:
            continue
        report = _report(row)
        if _scores_better(report, best.get(row.trial_id), goal):
            best[row.trial_id] = report
    return best


def _reports_to_choose_from(study: StudyKey, *conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """The reports of best epochs, and all of attempts that have none."""
    is_same_attempt = (
        (attempts.c.study_uuid == reports.c.study_uuid)
        & (attempts.c.trial_id == reports.c.trial_id)
        & (attempts.c.attempt == reports.c.attempt)
    )
    has_score = sa.or_(attempts.c.best_epoch.is_(None), attempts.c.best_epoch == reports.c.epoch)
    return (
        sa.select(reports.c.trial_id, reports.c.attempt, *_REPORT_COLUMNS)
        .join(attempts, is_same_attempt)
        .where(attempts.c.study_uuid == study.uuid, has_score, *conditions)
        .order_by(reports.c.trial_id, reports.c.step)
    )


def report_of_score(rows: Iterable[ReportRow], attempt: AttemptRow, goal: Goal) -> ReportRow | None:
    """The report of an attempt that gave its score, chosen as `recorded_values` does."""
    best: ReportRow | None = None
    for row in rows:
        has_score = attempt.best_epoch in (None, row.epoch)
        if has_score and _scores_better(row, best, goal):
            best = row
    return best


def _scores_better(report: ReportRow, than: ReportRow | None, goal: Goal) -> bool:
    """Whether this report gives the score, rather than an earlier one: whole epochs come first."""
    value = report.metrics.get(goal.metric)
    if value is None or not math.isfinite(value):
        return False
    if than is None or report.whole != than.whole:
        return than is None or report.whole
    return goal.better(value, than.metrics[goal.metric])


def saved_networks(store: Store, study: StudyKey) -> list[Artifact]:
    """All networks that the study's trials have saved."""
    columns = (attempts.c.model_path, attempts.c.model_bytes, attempts.c.model_sha256)
    query = sa.select(*columns).where(
        attempts.c.study_uuid == study.uuid, attempts.c.model_path.is_not(None)
    )
    rows = store.read(lambda connection: connection.execute(query).all())
    return [Artifact(*row) for row in rows if isinstance(row.model_path, str)]
