"""What the tracker reads of a study, and its memory of what MLflow has already.

Whose turn it is to write a study's runs.
"""

import fcntl
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.errors import LeaseLost, StorageError
from tuner.storage.attempt_rows import ATTEMPT_COLUMNS, AttemptRow, attempt_rows
from tuner.storage.leases import is_there
from tuner.storage.optuna_rows import flat_params
from tuner.storage.read_only import real_path
from tuner.storage.schema import (
    StudyKey,
    attempts,
    deliveries,
    optuna_trials,
    optuna_user_attributes,
)
from tuner.storage.store import Store, reads, writes

# States of a trial that never change again.
ENDED = ("COMPLETE", "PRUNED", "FAIL")
# Stands for the study's own run among the deliveries of its trials.
PARENT = 0
_IDS_A_QUERY = 1000


@dataclass(frozen=True)
class Delivery:
    """What MLflow has of a trial: its run, the attempt drawn there up to `step`, the state told."""

    run_id: str
    attempt: int
    step: int
    state: str


@dataclass(frozen=True)
class TrackedTrial:
    """A trial that MLflow does not have whole. `params`: Optuna's flat ones. `attempt`: the last.
    `started_at`: its first attempt's start, in seconds since 1970; `retry_of`: the trial it was
    made from."""

    trial_id: int
    number: int
    state: str
    params: dict[str, Any]
    attempt: AttemptRow
    started_at: float
    delivery: Delivery | None
    retry_of: int | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class Completed:
    """A trial that has a score, as far as the study's own run tells of it."""

    trial_id: int
    number: int
    score: float
    ended_at: float


@reads
def undelivered(connection: sa.Connection, study: StudyKey) -> list[TrackedTrial]:
    """The trials that ever ran and whose end MLflow has not been told, in order."""
    told = deliveries.c.state
    return _tracked(connection, study, sa.or_(told.is_(None), told.not_in(ENDED)))


@reads
def numbered(
    connection: sa.Connection, study: StudyKey, numbers: Collection[int]
) -> list[TrackedTrial]:
    """The trials of these numbers, at most some thousands, that ever ran."""
    return _tracked(connection, study, optuna_trials.c.number.in_(numbers))


@dataclass(frozen=True)
class Outline:
    """Of a trial that ever ran, what is known of all of them at once. `run_id`: of the run in
    MLflow that shows it, if any."""

    trial_id: int
    number: int
    state: str
    run_id: str | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@reads
def outlines(connection: sa.Connection, study: StudyKey) -> list[Outline]:
    """All trials that ever ran, in order."""
    chosen = _trials(study).where(_ran(study)).order_by(optuna_trials.c.number)
    rows = connection.execute(chosen)
    return [Outline(row.trial_id, row.number, str(row.state), row.run_id) for row in rows]


def _ran(study: StudyKey) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        attempts.c.study_uuid == study.uuid, attempts.c.trial_id == optuna_trials.c.trial_id
    )


def _tracked(
    connection: sa.Connection, study: StudyKey, condition: sa.ColumnElement[bool]
) -> list[TrackedTrial]:
    chosen = _trials(study).where(condition)
    rows = connection.execute(chosen.order_by(optuna_trials.c.number)).all()
    if not rows:
        return []
    ran = _attempts(connection, study, chosen)
    params = flat_params(connection, chosen)
    retried = _retries(connection, chosen)
    return [
        TrackedTrial(
            trial_id=row.trial_id,
            number=row.number,
            state=str(row.state),
            params=params.get(row.trial_id, {}),
            attempt=ran[row.trial_id][-1],
            started_at=ran[row.trial_id][0].started_at,
            delivery=_delivery(row),
            retry_of=retried.get(row.trial_id),
        )
        for row in rows
        if row.trial_id in ran
    ]


def _trials(study: StudyKey) -> sa.Select[Any]:
    mine = (deliveries.c.trial_id == optuna_trials.c.trial_id) & (
        deliveries.c.study_uuid == study.uuid
    )
    return (
        sa.select(
            optuna_trials.c.trial_id,
            optuna_trials.c.number,
            sa.cast(optuna_trials.c.state, sa.String(16)).label("state"),
            deliveries.c.run_id,
            deliveries.c.attempt,
            deliveries.c.step,
            deliveries.c.state.label("told"),
        )
        .select_from(optuna_trials.outerjoin(deliveries, mine))
        .where(optuna_trials.c.study_id == study.study_id)
    )


def _delivery(row: Any) -> Delivery | None:
    return Delivery(row.run_id, row.attempt, row.step, row.told) if row.run_id else None


def _attempts(
    connection: sa.Connection, study: StudyKey, chosen: sa.Select[Any]
) -> dict[int, list[AttemptRow]]:
    trials = chosen.subquery()
    query = (
        sa.select(*ATTEMPT_COLUMNS)
        .join(trials, trials.c.trial_id == attempts.c.trial_id)
        .where(attempts.c.study_uuid == study.uuid)
        .order_by(attempts.c.trial_id, attempts.c.attempt)
    )
    return attempt_rows(connection, query)


def _retries(connection: sa.Connection, chosen: sa.Select[Any]) -> dict[int, int]:
    trials, attributes = chosen.subquery(), optuna_user_attributes
    query = (
        sa.select(attributes.c.trial_id, attributes.c.value_json)
        .join(trials, trials.c.trial_id == attributes.c.trial_id)
        .where(attributes.c.key == "retry_of")
    )
    return {row.trial_id: int(row.value_json) for row in connection.execute(query)}


@reads
def completed(connection: sa.Connection, study: StudyKey) -> list[Completed]:
    """The study's COMPLETE trials, in the order in which they ended."""
    query = (
        sa.select(
            attempts.c.trial_id, optuna_trials.c.number, attempts.c.score, attempts.c.ended_at
        )
        .join(optuna_trials, optuna_trials.c.trial_id == attempts.c.trial_id)
        .where(attempts.c.study_uuid == study.uuid, attempts.c.score.is_not(None))
        .where(optuna_trials.c.study_id == study.study_id)
        .where(sa.cast(optuna_trials.c.state, sa.String(16)) == "COMPLETE")
        .order_by(attempts.c.attempt)
    )
    # Attempts come in order: the last one counts.
    last = {row.trial_id: Completed(*row) for row in connection.execute(query)}
    return sorted(last.values(), key=lambda trial: (trial.ended_at, trial.trial_id))


@reads
def count_completed(connection: sa.Connection, study: StudyKey) -> int:
    """How many trials `completed` has, at most."""
    query = (
        sa.select(sa.func.count())
        .select_from(optuna_trials)
        .where(optuna_trials.c.study_id == study.study_id)
        .where(sa.cast(optuna_trials.c.state, sa.String(16)) == "COMPLETE")
    )
    return connection.execute(query).scalar_one()


@reads
def known_runs(
    connection: sa.Connection, study: StudyKey, trial_id: int | None = None
) -> dict[int, str]:
    """The runs that SQL remembers, by trial; PARENT's too. `trial_id`: only that one's."""
    query = sa.select(deliveries.c.trial_id, deliveries.c.run_id).where(
        deliveries.c.study_uuid == study.uuid
    )
    if trial_id is not None:
        query = query.where(deliveries.c.trial_id == trial_id)
    return {row.trial_id: row.run_id for row in connection.execute(query)}


def improvements(trials: Iterable[Completed], direction: str) -> list[Completed]:
    """Of trials in the order of their ends, those that were the best when they ended."""
    sign = 1.0 if direction == "maximize" else -1.0
    best: list[Completed] = []
    for trial in trials:
        if not best or sign * trial.score > sign * best[-1].score:
            best.append(trial)
    return best


def read_delivery(store: Store, study: StudyKey, trial_id: int = PARENT) -> Delivery | None:
    query = sa.select(deliveries).where(
        deliveries.c.study_uuid == study.uuid, deliveries.c.trial_id == trial_id
    )
    row = store.read(lambda connection: connection.execute(query).first())
    return Delivery(row.run_id, row.attempt, row.step, row.state) if row else None


@writes
def mark(connection: sa.Connection, study: StudyKey, trial_id: int, delivery: Delivery) -> None:
    """Remember what MLflow has just taken. Raises LeaseLost for a study that was deleted."""
    if not is_there(connection, study):
        raise LeaseLost
    values: Mapping[str, Any] = {
        "run_id": delivery.run_id,
        "attempt": delivery.attempt,
        "step": delivery.step,
        "state": delivery.state,
    }
    mine = (deliveries.c.study_uuid == study.uuid) & (deliveries.c.trial_id == trial_id)
    changed = connection.execute(sa.update(deliveries).where(mine).values(**values))
    if changed.rowcount == 0:
        keys = {"study_uuid": study.uuid, "trial_id": trial_id}
        connection.execute(sa.insert(deliveries).values(**keys, **values))


@writes
def forget(
    connection: sa.Connection, study: StudyKey, trial_ids: Sequence[int] | None = None
) -> None:
    """Forget all deliveries of a study, or those of some trials: what MLflow had is gone or
    wrong."""
    gone = sa.delete(deliveries).where(deliveries.c.study_uuid == study.uuid)
    if trial_ids is None:
        connection.execute(gone)
        return
    for first in range(0, len(trial_ids), _IDS_A_QUERY):
        some = trial_ids[first : first + _IDS_A_QUERY]
        connection.execute(gone.where(deliveries.c.trial_id.in_(some)))


@reads
def count_delivered(connection: sa.Connection, study: StudyKey) -> tuple[int, int]:
    """How many ended trials MLflow has, and how many it lacks."""
    ended = (
        sa.select(sa.func.count())
        .select_from(optuna_trials)
        .where(optuna_trials.c.study_id == study.study_id, _ran(study))
        .where(sa.cast(optuna_trials.c.state, sa.String(16)).in_(ENDED))
    )
    told = (
        sa.select(sa.func.count())
        .select_from(deliveries)
        .where(deliveries.c.study_uuid == study.uuid, deliveries.c.trial_id != PARENT)
        .where(deliveries.c.state.in_(ENDED))
    )
    sent = connection.execute(told).scalar_one()
    return sent, connection.execute(ended).scalar_one() - sent


_LOCK_KEY = 7310543


class Turn:
    """The right to write a study's runs. One process at a time has it, or two loops' trackers
    would make two runs of one trial; it ends with the process, however that dies."""

    def __init__(self, store: Store, study_id: int) -> None:
        self._store, self._study_id = store, study_id
        self._connection: sa.Connection | None = None
        self._file: int | None = None

    def mine(self) -> bool:
        """Take the turn if nobody has it; whether it is ours. Raises StorageError."""
        if self._store.url.get_backend_name() == "sqlite":
            return self._lock_file()
        return self._lock_in_database()

    def _lock_file(self) -> bool:
        if self._file is not None:
            return True
        path = f"{real_path(self._store.url)}-tracker"  # the same one by whichever link
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error
        try:
            # One byte for each study.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._study_id)
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True

    def _lock_in_database(self) -> bool:
        try:
            if self._connection is not None:
                self._connection.execute(sa.select(1))  # a lost connection has lost its locks
                return True
        except sa.exc.SQLAlchemyError:
            self.give_back()
        engine = self._store.reader.execution_options(isolation_level="AUTOCOMMIT")
        query = sa.select(sa.func.pg_try_advisory_lock(_LOCK_KEY, self._study_id))
        try:
            connection = engine.connect()
            if connection.execute(query).scalar_one():
                self._connection = connection
                return True
            connection.close()
        except sa.exc.SQLAlchemyError as error:
            raise StorageError(f"{self._store.shown}: the database cannot be reached") from error
        return False

    def give_back(self) -> None:
        if self._connection is not None:
            # Closed for good: returned to the pool, it would keep the lock.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        if self._file is not None:
            os.close(self._file)
            self._file = None
