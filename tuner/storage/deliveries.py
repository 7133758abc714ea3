"""What the tracker reads of a study, and what was delivered to MLflow.

`Turn` lets one process at a time deliver a study.
"""

import fcntl
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from tuner.errors import StorageError
from tuner.storage.attempt_rows import AttemptRow, attempts_by_trial, select_attempts
from tuner.storage.leases import has_optuna_study, keep_study
from tuner.storage.optuna_rows import flat_params, state_of_trial
from tuner.storage.read_only import real_path
from tuner.storage.schema import (
    StudyKey,
    attempts,
    deliveries,
    loops,
    optuna_trials,
    optuna_user_attributes,
    studies,
)
from tuner.storage.store import Store
from tuner.study.messages import OWN_ATTRIBUTES, Direction, rank

# States of a trial that never change again.
ENDED = ("COMPLETE", "PRUNED", "FAIL")
# The state of a delivery whose trial has ended since, and whose network is no longer kept: MLflow's
# copy of it is still to be removed.
RELEASED = "RELEASED"
# Stands for the study's own run among the deliveries of its trials.
PARENT = 0
_IDS_A_QUERY = 1000


@dataclass(frozen=True)
class Delivery:
    """What MLflow has of a trial: its run, the reports of which attempt up to which step, and the
    trial's state, or RELEASED."""

    run_id: str
    attempt: int
    step: int
    state: str


@dataclass(frozen=True)
class TrackedTrial:
    """A trial that was not delivered completely. `params`: Optuna's flat ones. `attempt`: the last
    one. `started_at`: when its first attempt began, in seconds since 1970. `retry_of`: the number
    of the trial that it repeats. `notes`: what its own code has noted."""

    trial_id: int
    number: int
    state: str
    params: dict[str, Any]
    attempt: AttemptRow
    started_at: float
    delivery: Delivery | None
    retry_of: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class Completed:
    """A trial with a score, as far as the study's own run shows it."""

    trial_id: int
    number: int
    score: float
    ended_at: float


@dataclass(frozen=True)
class Outline:
    """A trial that has run, in short: what is read of all trials at once. `run_id`: of the MLflow
    run that shows it, if any."""

    trial_id: int
    number: int
    state: str
    run_id: str | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def undelivered(store: Store, study: StudyKey) -> list[TrackedTrial]:
    """The trials that have run and whose end was not delivered, by number."""
    delivered_state = deliveries.c.state
    is_undelivered = sa.or_(delivered_state.is_(None), delivered_state.not_in(ENDED))
    return store.read(_tracked, study, is_undelivered)


def numbered(store: Store, study: StudyKey, numbers: Collection[int]) -> list[TrackedTrial]:
    """The trials with these numbers, at most some thousands, that have run."""
    return store.read(_tracked, study, optuna_trials.c.number.in_(numbers))


def outlines(store: Store, study: StudyKey) -> list[Outline]:
    """All trials that have run, by number."""
    query = _select_trials(study).where(_has_run(study)).order_by(optuna_trials.c.number)
    rows = store.read(lambda connection: connection.execute(query).all())
    return [Outline(row.trial_id, row.number, str(row.state), row.run_id) for row in rows]


def _has_run(study: StudyKey) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        attempts.c.study_uuid == study.uuid, attempts.c.trial_id == optuna_trials.c.trial_id
    )


def _tracked(
    connection: sa.Connection, study: StudyKey, condition: sa.ColumnElement[bool]
) -> list[TrackedTrial]:
    chosen = _select_trials(study).where(condition)
    rows = connection.execute(chosen.order_by(optuna_trials.c.number)).all()
    if not rows:
        return []
    trials = chosen.subquery()
    is_chosen = trials.c.trial_id == attempts.c.trial_id
    attempts_of = attempts_by_trial(connection, select_attempts(study).join(trials, is_chosen))
    params = flat_params(connection, chosen)
    noted = _user_attributes(connection, chosen)
    return [
        TrackedTrial(
            trial_id=row.trial_id,
            number=row.number,
            state=str(row.state),
            params=params.get(row.trial_id, {}),
            attempt=attempts_of[row.trial_id][-1],
            started_at=attempts_of[row.trial_id][0].started_at,
            delivery=_delivery(row),
            retry_of=noted.get(row.trial_id, {}).get("retry_of"),
            notes=own_notes(noted.get(row.trial_id, {})),
        )
        for row in rows
        if row.trial_id in attempts_of
    ]


def _select_trials(study: StudyKey) -> sa.Select[Any]:
    """All trials of a study, each with its delivery if there is one."""
    is_delivery = (deliveries.c.trial_id == optuna_trials.c.trial_id) & (
        deliveries.c.study_uuid == study.uuid
    )
    return (
        sa.select(
            optuna_trials.c.trial_id,
            optuna_trials.c.number,
            state_of_trial().label("state"),
            deliveries.c.run_id,
            deliveries.c.attempt,
            deliveries.c.step,
            deliveries.c.state.label("delivered_state"),
        )
        .select_from(optuna_trials.outerjoin(deliveries, is_delivery))
        .where(optuna_trials.c.study_id == study.study_id)
    )


def _delivery(row: Any) -> Delivery | None:
    if not row.run_id:
        return None
    return Delivery(row.run_id, row.attempt, row.step, row.delivered_state)


def _user_attributes(
    connection: sa.Connection, chosen: sa.Select[Any]
) -> dict[int, dict[str, Any]]:
    """Of each trial that has any, by its id."""
    trials, attributes = chosen.subquery(), optuna_user_attributes
    query = sa.select(attributes.c.trial_id, attributes.c.key, attributes.c.value_json).join(
        trials, trials.c.trial_id == attributes.c.trial_id
    )
    noted: dict[int, dict[str, Any]] = {}
    for row in connection.execute(query):
        noted.setdefault(row.trial_id, {})[row.key] = _read_json(row.value_json)
    return noted


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # damaged: shown as it is
        return text


def own_notes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a trial's user attributes that its own code has noted."""
    return {key: value for key, value in attributes.items() if key not in OWN_ATTRIBUTES}


def read_notes(store: Store, study: StudyKey, trial_id: int) -> dict[str, Any]:
    """What the trial's own code has noted of it (`trial.log`, `set_user_attr`)."""
    chosen = _select_trials(study).where(optuna_trials.c.trial_id == trial_id)
    noted = store.read(_user_attributes, chosen)
    return own_notes(noted.get(trial_id, {}))


def completed(store: Store, study: StudyKey) -> list[Completed]:
    """The study's COMPLETE trials, in the order in which they ended."""
    query = (
        sa.select(
            attempts.c.trial_id, optuna_trials.c.number, attempts.c.score, attempts.c.ended_at
        )
        .join(optuna_trials, optuna_trials.c.trial_id == attempts.c.trial_id)
        .where(attempts.c.study_uuid == study.uuid, attempts.c.score.is_not(None))
        .where(optuna_trials.c.study_id == study.study_id)
        .where(state_of_trial() == "COMPLETE")
        .order_by(attempts.c.attempt)
    )
    rows = store.read(lambda connection: connection.execute(query).all())
    # Attempts come in order: the last one counts.
    last = {row.trial_id: Completed(*row) for row in rows}
    return sorted(last.values(), key=lambda trial: (trial.ended_at, trial.trial_id))


def count_completed(store: Store, study: StudyKey) -> int:
    """How many trials `completed` returns, at most."""
    query = (
        sa.select(sa.func.count())
        .select_from(optuna_trials)
        .where(optuna_trials.c.study_id == study.study_id, state_of_trial() == "COMPLETE")
    )
    return store.read(lambda connection: connection.execute(query).scalar_one())


def improvements(trials: Iterable[Completed], direction: Direction) -> list[Completed]:
    """Of trials in the order of their ends, those that were the best when they ended."""
    best: list[Completed] = []
    for trial in trials:
        if not best or rank(trial.score, direction) < rank(best[-1].score, direction):
            best.append(trial)
    return best


def known_runs(store: Store, study: StudyKey, trial_id: int | None = None) -> dict[int, str]:
    """The MLflow runs that SQL remembers, by trial id; also that of PARENT. `trial_id`: only of
    that trial."""
    query = sa.select(deliveries.c.trial_id, deliveries.c.run_id).where(
        deliveries.c.study_uuid == study.uuid
    )
    if trial_id is not None:
        query = query.where(deliveries.c.trial_id == trial_id)
    rows = store.read(lambda connection: connection.execute(query).all())
    return {row.trial_id: row.run_id for row in rows}


def read_delivery(store: Store, study: StudyKey, trial_id: int = PARENT) -> Delivery | None:
    query = sa.select(deliveries).where(
        deliveries.c.study_uuid == study.uuid, deliveries.c.trial_id == trial_id
    )
    row = store.read(lambda connection: connection.execute(query).first())
    return Delivery(row.run_id, row.attempt, row.step, row.state) if row else None


def mark(
    store: Store, study: StudyKey, trial_id: int, delivery: Delivery, network: str | None = None
) -> None:
    """Remember what MLflow has just accepted. `network`: the name of the trial's network, if it was
    sent too: one that was released meanwhile is still to be removed. Raises LeaseLost for a study
    that was deleted."""

    def write(connection: sa.Connection) -> None:
        keep_study(connection, study)
        values = asdict(delivery)
        if network is not None and not _keeps_network(connection, study, trial_id, network):
            values["state"] = RELEASED
        is_row = (deliveries.c.study_uuid == study.uuid) & (deliveries.c.trial_id == trial_id)
        if connection.execute(sa.update(deliveries).where(is_row).values(**values)).rowcount == 0:
            keys = {"study_uuid": study.uuid, "trial_id": trial_id}
            connection.execute(sa.insert(deliveries).values(**keys, **values))

    store.write(write)


def keeps_network(store: Store, study: StudyKey, trial_id: int, network: str) -> bool:
    """Whether the study still keeps the trial's network of that name."""
    return store.read(_keeps_network, study, trial_id, network)


def _keeps_network(connection: sa.Connection, study: StudyKey, trial_id: int, network: str) -> bool:
    query = sa.select(attempts.c.trial_id).where(
        attempts.c.study_uuid == study.uuid,
        attempts.c.trial_id == trial_id,
        attempts.c.model_path == network,
    )
    return connection.execute(query).first() is not None


def forget(store: Store, study: StudyKey, trial_ids: Sequence[int] | None = None) -> None:
    """Forget all deliveries of a study, or those of some trials: MLflow no longer has them, or
    has something else."""
    delete = sa.delete(deliveries).where(deliveries.c.study_uuid == study.uuid)

    def write(connection: sa.Connection) -> None:
        if trial_ids is None:
            connection.execute(delete)
            return
        for first in range(0, len(trial_ids), _IDS_A_QUERY):
            some = trial_ids[first : first + _IDS_A_QUERY]
            connection.execute(delete.where(deliveries.c.trial_id.in_(some)))

    store.write(write)


def count_delivered(store: Store, study: StudyKey) -> tuple[int, int]:
    """How many ended trials were delivered, and how many were not."""
    ended = (
        sa.select(sa.func.count())
        .select_from(optuna_trials)
        .where(optuna_trials.c.study_id == study.study_id, _has_run(study))
        .where(state_of_trial().in_(ENDED))
        .scalar_subquery()
    )
    delivered = (
        sa.select(sa.func.count())
        .select_from(deliveries)
        .where(deliveries.c.study_uuid == study.uuid, deliveries.c.trial_id != PARENT)
        .where(deliveries.c.state.in_(ENDED))
        .scalar_subquery()
    )
    query = sa.select(delivered.label("delivered"), ended.label("ended"))
    row = store.read(lambda connection: connection.execute(query).one())
    return row.delivered, row.ended - row.delivered


@dataclass(frozen=True)
class SearchedStudy:
    """A study that a daemon has searched. `searched_at`: when the latest search of it began."""

    uuid: str
    name: str
    searched_at: float


def searched_by_daemons(store: Store) -> list[SearchedStudy]:
    """The studies that a daemon has searched, oldest first."""
    query = (
        sa.select(studies.c.uuid, studies.c.name, sa.func.max(loops.c.started_at))
        .join(loops, loops.c.study_uuid == studies.c.uuid)
        .where(has_optuna_study())
        .group_by(studies.c.uuid, studies.c.name, studies.c.created_at)
        .having(sa.func.count(loops.c.worker_id) > 0)
        .order_by(studies.c.created_at)
    )
    rows = store.read(lambda connection: connection.execute(query).all())
    return [SearchedStudy(*row) for row in rows]


_LOCK_KEY = 7310543


class Turn:
    """The right to deliver a study. One process at a time has it, or the trackers of two loops
    would create two runs for one trial. It ends with the process, however that dies."""

    def __init__(self, store: Store, study_id: int) -> None:
        self._store, self._study_id = store, study_id
        self._connection: sa.Connection | None = None
        self._file: int | None = None

    def mine(self) -> bool:
        """Whether this process has the turn; it takes it if nobody has it. Raises StorageError."""
        if self._store.url.get_backend_name() == "sqlite":
            return self._lock_file()
        return self._lock_in_database()

    def _lock_file(self) -> bool:
        if self._file is not None:
            return True
        path = f"{real_path(self._store.url)}-tracker"  # the same file for every link to it
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}") from error
        try:
            # Each study has a byte of the file.
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
