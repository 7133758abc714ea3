"""What was announced of a study, so that of several loops, on any machine, one announces it."""

import sqlalchemy as sa

from tuner.storage import slots
from tuner.storage.schema import notices, studies
from tuner.storage.store import Store, insert_or, now
from tuner.storage.studies import StudyRow

# When a new best score of the study was last announced; `best/N` says that of trial N.
_ANY_BEST = "best"
_FOR_EVER_S = 1e12


def claim(store: Store, study: StudyRow, subject: str, every_s: float) -> bool:
    """Whether the caller is to announce this: nobody has within the last `every_s` seconds. Where
    the reply to a COMMIT was lost nobody does."""
    return store.write(_claim, study.uuid, subject, every_s)


def claim_best(store: Store, study: StudyRow, every_s: float) -> tuple[int, float] | float | None:
    """The study's best trial, its number and score, where the caller is to announce it: nobody has,
    nor another of the study within the last `every_s` seconds. The seconds to wait where somebody
    has lately; None where there is nothing to announce."""
    best = slots.best_score(store, study, study.spec.direction)
    if best is None:
        return None
    score, number = best
    wait_s = store.write(_claim_best, study.uuid, number, every_s)
    return (number, score) if wait_s == 0.0 else wait_s


def note_best(store: Store, study: StudyRow, number: int) -> None:
    """Trial `number` has been announced as the best, in another announcement."""
    store.write(_claim, study.uuid, f"{_ANY_BEST}/{number}", 0.0)


def _claim(connection: sa.Connection, uuid: str, subject: str, every_s: float) -> bool:
    dialect = connection.dialect.name
    clock = now(dialect)
    # Of a study that was deleted meanwhile no row is to stay.
    exists = sa.select(studies.c.uuid).where(studies.c.uuid == uuid).with_for_update(read=True)
    if connection.execute(exists).first() is None:
        return False
    statement = insert_or(dialect, notices).values(study_uuid=uuid, subject=subject, at=clock)
    # A clock that was set back must not silence a study.
    is_old = (notices.c.at <= clock - every_s) | (notices.c.at > clock + 1.0)
    statement = statement.on_conflict_do_update(
        index_elements=[notices.c.study_uuid, notices.c.subject],
        set_={"at": clock},
        where=is_old,
    )
    return bool(connection.execute(statement).rowcount)


def _claim_best(connection: sa.Connection, uuid: str, number: int, every_s: float) -> float | None:
    """0 where it is claimed now; the seconds to wait; None where it was announced already."""
    rows = sa.select(notices.c.at, now(connection.dialect.name).label("clock"))
    own = notices.c.study_uuid == uuid
    known = sa.select(notices.c.at).where(own, notices.c.subject == f"{_ANY_BEST}/{number}")
    if connection.execute(known).first() is not None:
        return None
    # The row of all bests is locked by its claim: others wait for this transaction.
    if not _claim(connection, uuid, _ANY_BEST, every_s):
        last = connection.execute(rows.where(own, notices.c.subject == _ANY_BEST)).first()
        return None if last is None else max(0.1, last.at + every_s - last.clock)
    if not _claim(connection, uuid, f"{_ANY_BEST}/{number}", _FOR_EVER_S):
        return None
    return 0.0
