"""Leases: a loop's time-limited right to write its trials, by the database's clock.

`LeaseKeeper` renews a loop's lease while the loop itself is busy: in a thread, with a connection of
its own.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import sqlalchemy as sa

from tuner.errors import LeaseLost, TunerError
from tuner.storage.identity import is_process_dead, process_identity
from tuner.storage.schema import (
    STUDY_UUID,
    StudyKey,
    loops,
    optuna_studies,
    optuna_study_attributes,
    slot_rows,
    studies,
)
from tuner.storage.store import Store, now
from tuner.storage.upgrade_guard import check_not_upgraded
from tuner.study.ends import StopReason
from tuner.study.study_state import StudyState

logger = logging.getLogger(__name__)
LEASE_S = 60.0
# Of a lease that begins no trial: it must not shift the numbers, which seed the samplers.
NO_NUMBER = -1
_LOCK_KEY = 7310542


@dataclass(frozen=True)
class Lease:
    """A loop's time-limited right to write its trials. `number` counts from 0 the loops of a study
    that begin trials; others have NO_NUMBER. `daemon_id`: of the daemon that the loop belongs to,
    None for a search in the foreground."""

    loop_id: str
    study_id: int
    uuid: str
    number: int
    lasts_s: float = LEASE_S
    daemon_id: str | None = None


def open_lease(
    store: Store,
    study: StudyKey,
    lasts_s: float = LEASE_S,
    begins_trials: bool = True,
    daemon_id: str | None = None,
) -> Lease:
    """A study that was stopped goes on when a loop in the foreground begins trials of it. Raises
    LeaseLost for a study that was deleted, or is about to be."""
    loop_id = str(uuid.uuid4())
    number = store.write(_open_lease, study, loop_id, lasts_s, begins_trials, daemon_id)
    return Lease(loop_id, study.study_id, study.uuid, number, lasts_s, daemon_id)


def _open_lease(
    connection: sa.Connection,
    study: StudyKey,
    loop_id: str,
    lasts_s: float,
    begins_trials: bool,
    daemon_id: str | None,
) -> int:
    # Two loops with the same number would sample the same points.
    lock_study(connection, study.study_id)
    keep_study(connection, study)
    own_row = sa.select(loops.c.number).where(loops.c.loop_id == loop_id)
    if (opened_before := connection.execute(own_row).scalar()) is not None:
        return opened_before
    if is_closed(connection, study):
        raise LeaseLost("the study is about to be deleted by another command")
    clock = now(connection.dialect.name)
    number = _next_number(connection, study) if begins_trials else NO_NUMBER
    if begins_trials and daemon_id is None:
        is_stopped = (studies.c.uuid == study.uuid) & (studies.c.state == StudyState.STOPPED)
        connection.execute(sa.update(studies).where(is_stopped).values(state=None))
    connection.execute(
        sa.insert(loops).values(
            loop_id=loop_id,
            study_uuid=study.uuid,
            number=number,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=clock,
            expires_at=clock + lasts_s,
            process=process_identity(),
            worker_id=daemon_id,
        )
    )
    return number


def _next_number(connection: sa.Connection, study: StudyKey) -> int:
    numbered = (loops.c.study_uuid == study.uuid, loops.c.number != NO_NUMBER)
    query = sa.select(sa.func.count()).select_from(loops).where(*numbered)
    return connection.execute(query).scalar_one()


def study_exists(connection: sa.Connection, study: StudyKey) -> bool:
    """Whether the study is still in the database, and Optuna's study of that id is the same one."""
    query = sa.select(studies.c.uuid).where(
        studies.c.uuid == study.uuid, studies.c.study_id == study.study_id, has_optuna_study()
    )
    return connection.execute(query).first() is not None


def keep_study(connection: sa.Connection, study: StudyKey) -> None:
    """Make sure that the study is there, until the transaction ends: what is written of one that
    Optuna's own tools have deleted may stay for ever. Raises LeaseLost."""
    query = sa.select(optuna_studies.c.study_id).where(optuna_studies.c.study_id == study.study_id)
    connection.execute(query.with_for_update(read=True, key_share=True)).first()
    if not study_exists(connection, study):
        raise LeaseLost


def has_optuna_study() -> sa.ColumnElement[bool]:
    """For a row of `studies`: whether Optuna's study of its id carries its uuid."""
    marks = optuna_study_attributes
    return sa.exists().where(
        marks.c.study_id == studies.c.study_id,
        marks.c.key == STUDY_UUID,
        marks.c.value_json == '"' + studies.c.uuid + '"',
    )


def is_of_study(uuid: sa.BindParameter[str]) -> tuple[sa.ColumnElement[bool], ...]:
    """For a row of `loops`: whether it is one of this study, which is still there."""
    is_there = sa.exists().where(studies.c.uuid == uuid, has_optuna_study())
    return loops.c.study_uuid == uuid, is_there


# Built once: each write of a loop begins with it.
_OWN_LOOP = (
    sa.select(loops.c.loop_id)
    .where(loops.c.loop_id == sa.bindparam("a_loop"))
    .where(*is_of_study(sa.bindparam("a_uuid", type_=sa.String)))
    .with_for_update(read=True)
)


def check(connection: sa.Connection, lease: Lease) -> None:
    """Make sure, until the transaction ends, that the lease's row and its study exist. An expired
    lease passes: writes to what was taken over are refused by its slot. Raises LeaseLost."""
    keys = {"a_loop": lease.loop_id, "a_uuid": lease.uuid}
    if connection.execute(_OWN_LOOP, keys).first() is None:
        raise LeaseLost


def check_study(connection: sa.Connection, lease: Lease, study_id: int) -> None:
    """The same for a write to Optuna's study of that id, if it is the lease's: SQLite gives the id
    of a deleted study to a new one. Raises LeaseLost."""
    if study_id == lease.study_id:
        check(connection, lease)


def renew_lease(store: Store, lease: Lease, lasts_s: float | None = None) -> StopReason | None:
    """Extend the lease from now; 0 ends it. What was taken over meanwhile stays so. Returns why the
    loop is asked to stop, if it is. Raises LeaseLost, and StorageUnavailable once the tables are
    those of a newer tuner."""

    def write(connection: sa.Connection) -> StopReason | None:
        if lasts_s is None:
            check_not_upgraded(connection, store.shown)
        return _renew(connection, lease, lasts_s)

    return store.write(write)


def renew_unless(store: Store, lease: Lease, has_ended: Callable[[], bool]) -> None:
    """Extend the lease from now, without retries, unless the loop has ended or is asked to stop.
    Raises LeaseLost."""
    with store.writing() as connection:
        # Lock the row before `has_ended` is called: a loop ends its lease before or after this.
        own_row = sa.select(loops.c.loop_id).where(loops.c.loop_id == lease.loop_id)
        connection.execute(own_row.with_for_update()).first()
        if not has_ended() and _why_stop(connection, lease) is None:
            _renew(connection, lease)


def _renew(
    connection: sa.Connection, lease: Lease, lasts_s: float | None = None
) -> StopReason | None:
    check(connection, lease)
    clock = now(connection.dialect.name)
    connection.execute(
        sa.update(loops)
        .where(loops.c.loop_id == lease.loop_id)
        .values(expires_at=clock + (lease.lasts_s if lasts_s is None else lasts_s))
    )
    return _why_stop(connection, lease)


# `stop_until` of a study is a moment. Loops that began before it are to stop. While it lies in the
# future, the study is about to be deleted, and no loop may begin.


def is_closed(connection: sa.Connection, study: StudyKey) -> bool:
    """Whether the study is about to be deleted."""
    query = sa.select(studies.c.uuid).where(
        studies.c.uuid == study.uuid, studies.c.stop_until > now(connection.dialect.name)
    )
    return connection.execute(query).first() is not None


def _why_stop(connection: sa.Connection, lease: Lease) -> StopReason | None:
    if is_closed(connection, lease):
        return StopReason.DELETED
    own_row = sa.select(loops.c.started_at).where(loops.c.loop_id == lease.loop_id)
    query = sa.select(studies.c.uuid).where(
        studies.c.uuid == lease.uuid, studies.c.stop_until >= own_row.scalar_subquery()
    )
    return StopReason.STOPPED if connection.execute(query).first() is not None else None


def close_to_loops(store: Store, study: StudyKey, for_s: float) -> None:
    """Have the study's loops, on all machines, stop, and let none begin for so long, which ends by
    itself in case the command that made it is killed."""

    def write(connection: sa.Connection) -> None:
        _set_stop(connection, study, now(connection.dialect.name) + for_s)

    store.write(write)


def open_to_loops(store: Store, study: StudyKey) -> None:
    """Withdraw what `close_to_loops` did."""
    store.write(_set_stop, study, None)


def _set_stop(
    connection: sa.Connection, study: StudyKey, until: "sa.ColumnElement[float] | None"
) -> None:
    connection.execute(
        sa.update(studies).where(studies.c.uuid == study.uuid).values(stop_until=until)
    )


def ask_to_stop(connection: sa.Connection, study: StudyKey) -> None:
    """Have the loops that run now, on all machines, stop. Loops that begin later are left alone."""
    _set_stop(connection, study, now(connection.dialect.name))


@dataclass(frozen=True)
class Holder:
    """A loop whose lease has not expired. `left_s`: seconds until it does."""

    host: str
    pid: int
    left_s: float

    def __str__(self) -> str:
        return f"{self.host} (pid {self.pid})"


def holders(store: Store, study: StudyKey) -> list[Holder]:
    """The study's loops that may write: their lease holds, and they are not known to be dead."""
    return store.read(live_holders, study)


def live_holders(connection: sa.Connection, study: StudyKey) -> list[Holder]:
    """The same within a transaction."""
    left = (loops.c.expires_at - now(connection.dialect.name)).label("left_s")
    query = (
        sa.select(loops.c.host, loops.c.pid, loops.c.process, left)
        .where(loops.c.study_uuid == study.uuid)
        .order_by(loops.c.number)
    )
    return [
        Holder(row.host, row.pid, row.left_s)
        for row in connection.execute(query)
        if row.left_s > 0 and not is_process_dead(row.process)
    ]


def held_slots(store: Store, lease: Lease) -> set[int]:
    """The numbers of the slots that the loop holds."""
    query = sa.select(slot_rows.c.number).where(
        slot_rows.c.study_id == lease.study_id,
        slot_rows.c.loop_id == lease.loop_id,
        slot_rows.c.state == "claimed",
    )
    return store.read(lambda connection: set(connection.execute(query).scalars()))


def lapsed_loops(connection: sa.Connection, lease: Lease) -> list[str]:
    """The ids of loops that hold slots of the study and may no longer write them: their lease has
    expired, they are known to be dead, or the database does not know them (it is a copy)."""
    alive = loops.c.expires_at >= now(connection.dialect.name)
    query = (
        sa.select(slot_rows.c.loop_id, loops.c.process, alive.label("alive"))
        .select_from(slot_rows.outerjoin(loops, loops.c.loop_id == slot_rows.c.loop_id))
        .where(slot_rows.c.study_id == lease.study_id, slot_rows.c.loop_id != lease.loop_id)
        .distinct()
    )
    rows = connection.execute(query).all()
    return [row.loop_id for row in rows if not row.alive or is_process_dead(row.process)]


def lock_loops(connection: sa.Connection, study: StudyKey) -> None:
    """Let no loop of the study write until the transaction ends: each checks its row first
    (`check`). Call it before `lock_study`, since loops take the two locks in that order."""
    query = sa.select(loops.c.loop_id).where(loops.c.study_uuid == study.uuid)
    connection.execute(query.with_for_update()).all()


def refuse_loops(connection: sa.Connection, study: StudyKey) -> None:
    """Refuse further writes of the study's loops, whose leases have all expired, in case one of
    them was only suspended. Their rows stay, since they number the loops, under other ids."""
    query = sa.select(loops.c.loop_id).where(loops.c.study_uuid == study.uuid)
    for loop_id in connection.execute(query).scalars().all():
        renamed = sa.update(loops).where(loops.c.loop_id == loop_id)
        connection.execute(renamed.values(loop_id=str(uuid.uuid4())))


def lock_study(connection: sa.Connection, study_id: int) -> None:
    """Wait until no other transaction that locks the study runs: for cases where there is no row
    yet that could be locked. SQLite has only one writer at a time."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY, study_id)))


_LONGEST_SILENCE_S = 1800.0
_JOIN_S = 5.0


_failed_renewals = 0
_counting = threading.Lock()


def failed_renewals() -> int:
    """How many renewals by LeaseKeepers of this process have failed."""
    return _failed_renewals


class LeaseKeeper:
    """Renews a lease, while it is entered, four times in the lease's duration: a sampler may take
    longer for one trial than a lease lasts. A loop that has not called `hear` for half an hour
    hangs, and loses its lease. A failed renewal is not repeated: the loop's own writes report what
    is wrong."""

    def __init__(self, store: Store, lease: Lease, silence_s: float = _LONGEST_SILENCE_S) -> None:
        self._store, self._lease, self._silence_s = store, lease, silence_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._heard_at = time.monotonic()

    def __enter__(self) -> "LeaseKeeper":
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._thread.join(_JOIN_S)  # it may be about to return its connection

    def hear(self) -> None:
        """The loop is alive."""
        self._heard_at = time.monotonic()

    def stop(self) -> None:
        """Nothing is renewed any more once this returns."""
        self._stopped.set()

    def _renew(self) -> None:
        while not self._stopped.wait(self._lease.lasts_s / 4):
            if time.monotonic() - self._heard_at <= self._silence_s:
                self._renew_once()

    def _renew_once(self) -> None:
        global _failed_renewals
        try:
            renew_unless(self._store, self._lease, self._stopped.is_set)
        except TunerError as error:
            logger.info("a lease was not renewed: %s", error)
            with _counting:
                _failed_renewals += 1
