"""What was announced of a study, so that of several loops, on any machine, one announces it."""

import random

import sqlalchemy as sa

from tuner.storage import slots
from tuner.storage.schema import notices, studies
from tuner.storage.store import Store, insert_or, now
from tuner.storage.studies import StudyRow

# When a new best score of the study was last announced; `best/N` says that of trial N.
_ANY_BEST = "best"
FOR_EVER_S = 1e12


def claim(store: Store, study: StudyRow, subject: str, every_s: float) -> bool:
    """Whether the caller is to announce this: nobody has within the last `every_s` seconds. Raises
    StorageError."""
    return store.write(_claim, study.uuid, subject, every_s, _mark(store))


def claim_best(store: Store, study: StudyRow, every_s: float) -> tuple[int, float] | float | None:
    """The study's best trial, its number and score, where the caller is to announce it: nobody has,
    nor another of the study within the last `every_s` seconds. The seconds to wait where somebody
    has lately; None where there is nothing to announce. Raises StorageError."""
    best = slots.best_score(store, study, study.spec.direction)
    if best is None:
        return None
    score, number = best
    wait_s = store.write(_claim_best, study.uuid, number, every_s, _mark(store))
    return (number, score) if wait_s == 0.0 else wait_s


def note_best(store: Store, study: StudyRow, number: int) -> None:
    """Trial `number` is announced as the best in another announcement."""
    store.write(_claim, study.uuid, f"{_ANY_BEST}/{number}", FOR_EVER_S, _mark(store))


def _mark(store: Store) -> float:
    """The time by the database's clock, which no other claim has: a repeated attempt recognizes by
    it what the first one has written."""
    clock = store.read(
        lambda connection: connection.scalar(sa.select(now(connection.dialect.name)))
    )
    assert clock is not None  # each database has one
    return clock + random.random() / 100


def _claim(connection: sa.Connection, uuid: str, subject: str, every_s: float, mark: float) -> bool:
    own = (notices.c.study_uuid == uuid, notices.c.subject == subject)
    time_told = sa.select(notices.c.at).where(*own)
    if connection.scalar(time_told) == mark:
        return True
    # Of a study that was deleted meanwhile no row is to stay.
    exists = sa.select(studies.c.uuid).where(studies.c.uuid == uuid).with_for_update(read=True)
    if connection.execute(exists).first() is None:
        return False
    row = insert_or(connection.dialect.name, notices).values(
        study_uuid=uuid, subject=subject, at=mark
    )
    row = row.on_conflict_do_update(
        index_elements=[notices.c.study_uuid, notices.c.subject],
        set_={"at": mark},
        # A clock that was set back must not silence a study.
        where=(notices.c.at <= mark - every_s) | (notices.c.at > mark + every_s),
    )
    connection.execute(row)
    return bool(connection.scalar(time_told) == mark)


def _claim_best(
    connection: sa.Connection, uuid: str, number: int, every_s: float, mark: float
) -> float | None:
    """0 where it is claimed now; the seconds to wait; None where it was announced already."""
    times = sa.select(notices.c.at).where(notices.c.study_uuid == uuid)
    own_time = connection.scalar(times.where(notices.c.subject == f"{_ANY_BEST}/{number}"))
    if own_time is not None:
        return 0.0 if own_time == mark else None
    # Its row is locked by the claim: others wait for this transaction.
    if not _claim(connection, uuid, _ANY_BEST, every_s, mark):
        last = connection.scalar(times.where(notices.c.subject == _ANY_BEST))
        return None if last is None else max(0.1, last + every_s - mark)
    is_new = _claim(connection, uuid, f"{_ANY_BEST}/{number}", FOR_EVER_S, mark)
    return 0.0 if is_new else None
