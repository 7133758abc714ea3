"""Leases: a loop's time-limited right to write its trials, by the database's clock.

Renewing a loop's lease while the loop itself is busy: from a thread, with its own connection.
"""

import contextlib
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
from tuner.storage.process_identity import identity, is_dead
from tuner.storage.schema import (
    STUDY_UUID,
    StudyKey,
    loops,
    optuna_study_attributes,
    slot_rows,
    studies,
)
from tuner.storage.store import Store, now, reads, writes

LEASE_S = 60.0
# Of a lease that begins no trial: it must not shift the numbers, which seed the samplers.
NO_NUMBER = -1
_LOCK_KEY = 7310542


@dataclass(frozen=True)
class Lease:
    """A loop's time-limited right to write its trials; `number` counts a study's loops from 0, of
    those that begin trials (the others have NO_NUMBER)."""

    loop_id: str
    study_id: int
    uuid: str
    number: int
    lasts_s: float = LEASE_S


def open_lease(
    store: Store, study: StudyKey, lasts_s: float = LEASE_S, begins_trials: bool = True
) -> Lease:
    """Raises LeaseLost for a study that was deleted, or is to be deleted now."""
    loop_id = str(uuid.uuid4())
    number = _open_lease(store, study, loop_id, lasts_s, begins_trials)
    return Lease(loop_id, study.study_id, study.uuid, number, lasts_s)


@writes
def _open_lease(
    connection: sa.Connection, study: StudyKey, loop_id: str, lasts_s: float, begins_trials: bool
) -> int:
    # Two loops with one number would draw the same points.
    one_at_a_time(connection, study.study_id)
    mine = sa.select(loops.c.number).where(loops.c.loop_id == loop_id)
    if (opened := connection.execute(mine).scalar()) is not None:
        return opened
    if not is_there(connection, study):
        raise LeaseLost
    if _is_to_stop(connection, study):
        raise LeaseLost("the study is about to be deleted: another command is at it")
    clock = now(connection.dialect.name)
    number = _next_number(connection, study) if begins_trials else NO_NUMBER
    connection.execute(
        sa.insert(loops).values(
            loop_id=loop_id,
            study_uuid=study.uuid,
            number=number,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=clock,
            expires_at=clock + lasts_s,
            process=identity(),
        )
    )
    return number


def _next_number(connection: sa.Connection, study: StudyKey) -> int:
    numbered = (loops.c.study_uuid == study.uuid, loops.c.number != NO_NUMBER)
    query = sa.select(sa.func.count()).select_from(loops).where(*numbered)
    return connection.execute(query).scalar_one()


def is_there(connection: sa.Connection, study: StudyKey) -> bool:
    """Whether the study is in the database still, and Optuna's study of that id is the same one."""
    ours = sa.select(studies.c.uuid).where(
        studies.c.uuid == study.uuid, studies.c.study_id == study.study_id, is_optunas()
    )
    return connection.execute(ours).first() is not None


def is_optunas() -> sa.ColumnElement[bool]:
    """Of a row of `studies`: whether Optuna's study of its id carries its uuid."""
    marks = optuna_study_attributes
    return sa.exists().where(
        marks.c.study_id == studies.c.study_id,
        marks.c.key == STUDY_UUID,
        marks.c.value_json == '"' + studies.c.uuid + '"',
    )


def check(connection: sa.Connection, lease: Lease) -> None:
    """Make sure, until the transaction ends, that the lease's row and its study are there. An
    expired lease passes: what was taken over is refused by its place. Raises LeaseLost."""
    mine = (
        sa.select(loops.c.loop_id)
        .where(loops.c.loop_id == lease.loop_id, loops.c.study_uuid == lease.uuid)
        .where(sa.exists().where(studies.c.uuid == lease.uuid, is_optunas()))
        .with_for_update(read=True)
    )
    if connection.execute(mine).first() is None:
        raise LeaseLost


def check_study(connection: sa.Connection, lease: Lease, study_id: int) -> None:
    """The same of a write to Optuna's study of that id, where it is the lease's: SQLite gives the
    id of a deleted study to a new one. Raises LeaseLost."""
    if study_id == lease.study_id:
        check(connection, lease)


@writes
def renew_lease(connection: sa.Connection, lease: Lease, lasts_s: float | None = None) -> bool:
    """Extend the lease from now; 0 ends it. What was taken over meanwhile stays so. Whether the
    loop is asked to stop. Raises LeaseLost."""
    return _renew(connection, lease, lasts_s)


def renew_unless(store: Store, lease: Lease, ended: Callable[[], bool]) -> None:
    """Extend the lease from now, trying once, unless the loop has ended or is asked to stop. Raises
    LeaseLost."""
    with store.writing() as connection:
        # Locked before `ended` is asked: a loop that ends its lease does so before or after this.
        mine = sa.select(loops.c.loop_id).where(loops.c.loop_id == lease.loop_id)
        connection.execute(mine.with_for_update()).first()
        if not ended() and not _is_to_stop(connection, lease):
            _renew(connection, lease)


def _renew(connection: sa.Connection, lease: Lease, lasts_s: float | None = None) -> bool:
    check(connection, lease)
    clock = now(connection.dialect.name)
    connection.execute(
        sa.update(loops)
        .where(loops.c.loop_id == lease.loop_id)
        .values(expires_at=clock + (lease.lasts_s if lasts_s is None else lasts_s))
    )
    return _is_to_stop(connection, lease)


def _is_to_stop(connection: sa.Connection, study: StudyKey) -> bool:
    marked = sa.select(studies.c.uuid).where(
        studies.c.uuid == study.uuid, studies.c.stop_until > now(connection.dialect.name)
    )
    return connection.execute(marked).first() is not None


@writes
def ask_to_stop(connection: sa.Connection, study: StudyKey, for_s: float) -> None:
    """Have the study's loops, on whichever machine, stop when they renew their lease next; 0 takes
    that back. The mark loses its force by itself, should the command that set it be killed."""
    until = now(connection.dialect.name) + for_s
    connection.execute(
        sa.update(studies).where(studies.c.uuid == study.uuid).values(stop_until=until)
    )


@dataclass(frozen=True)
class Holder:
    """A loop whose lease holds. `left_s`: seconds until that expires."""

    host: str
    pid: int
    left_s: float

    def __str__(self) -> str:
        return f"{self.host} (pid {self.pid})"


@reads
def holders(connection: sa.Connection, study: StudyKey) -> list[Holder]:
    """The study's loops that may write: their lease holds, and they are not known to be dead."""
    return live_holders(connection, study)


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
        if row.left_s > 0 and not is_dead(row.process)
    ]


@reads
def held_slots(connection: sa.Connection, lease: Lease) -> set[int]:
    """The numbers of the places that are the loop's."""
    query = sa.select(slot_rows.c.number).where(
        slot_rows.c.study_id == lease.study_id,
        slot_rows.c.loop_id == lease.loop_id,
        slot_rows.c.state == "claimed",
    )
    return set(connection.execute(query).scalars())


def lapsed(connection: sa.Connection, lease: Lease) -> list[str]:
    """The loops that hold places of the study and may no longer write them: their lease has
    expired, they are known to be dead, or the database does not know them (it is a copy)."""
    alive = loops.c.expires_at >= now(connection.dialect.name)
    query = (
        sa.select(slot_rows.c.loop_id, loops.c.process, alive.label("alive"))
        .select_from(slot_rows.outerjoin(loops, loops.c.loop_id == slot_rows.c.loop_id))
        .where(slot_rows.c.study_id == lease.study_id, slot_rows.c.loop_id != lease.loop_id)
        .distinct()
    )
    rows = connection.execute(query).all()
    return [row.loop_id for row in rows if not row.alive or is_dead(row.process)]


def hold_all(connection: sa.Connection, study: StudyKey) -> None:
    """Let no loop of the study write until the transaction ends: each makes sure of its row first
    (`check`). To be called before `one_at_a_time`, as loops take the two in that order."""
    query = sa.select(loops.c.loop_id).where(loops.c.study_uuid == study.uuid)
    connection.execute(query.with_for_update()).all()


def cut_off(connection: sa.Connection, study: StudyKey) -> None:
    """Have the study's loops, whose leases have all expired, write nothing any more, should one of
    them go on: it was only held up. Their rows stay, which number the loops, under other ids."""
    query = sa.select(loops.c.loop_id).where(loops.c.study_uuid == study.uuid)
    for loop_id in connection.execute(query).scalars().all():
        renamed = sa.update(loops).where(loops.c.loop_id == loop_id)
        connection.execute(renamed.values(loop_id=str(uuid.uuid4())))


def one_at_a_time(connection: sa.Connection, study_id: int) -> None:
    """Wait until no other transaction of this kind runs on the study, where there is no row yet
    that could be locked. SQLite has one writer at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY, study_id)))


_LONGEST_SILENCE_S = 1800.0
_JOIN_S = 5.0


class LeaseKeeper:
    """Renews a lease four times while it lasts, as long as it is entered: a sampler may take longer
    for one trial than a lease lasts. A loop that has given no sign of life for half an hour hangs,
    and loses its lease. A renewal that fails is not repeated: the loop's own say what is wrong."""

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
        """The loop lives."""
        self._heard_at = time.monotonic()

    def stop(self) -> None:
        """Nothing is renewed any more once this returns."""
        self._stopped.set()

    def _renew(self) -> None:
        while not self._stopped.wait(self._lease.lasts_s / 4):
            if time.monotonic() - self._heard_at <= self._silence_s:
                with contextlib.suppress(TunerError):
                    renew_unless(self._store, self._lease, self._stopped.is_set)
