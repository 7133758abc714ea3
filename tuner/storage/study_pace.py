"""How fast a study's trials end at present."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from tuner.storage.daemon_rows import LoopRow
from tuner.storage.schema import StudyKey, attempts
from tuner.storage.store import now
from tuner.study.ends import TrialEnd

# The latest trials that the pace is taken from.
_RECENT = 200
# A paused trial counts as ended, since most of them never go on.
_TAKES_SLOT = frozenset(end.value for end in TrialEnd if end.fate.takes_slot) | {TrialEnd.AT_RUNG}


def read_pace(connection: sa.Connection, study: StudyKey, loops: Sequence[LoopRow]) -> float | None:
    """Seconds from one trial's end to the next, of the latest ones that ended since those who work
    now, `loops`, have begun. None before the first, and where nobody works."""
    if not loops:
        return None
    return seconds_a_trial(connection, study, min(loop.started_at for loop in loops))


def seconds_a_trial(connection: sa.Connection, study: StudyKey, since: float) -> float | None:
    """The same of the trials that ended after `since`, in seconds since 1970."""
    columns = (attempts.c.trial_id, attempts.c.ended_at, attempts.c.end)
    query = (
        sa.select(*columns, now(connection.dialect.name).label("now"))
        .where(attempts.c.study_uuid == study.uuid)
        .order_by(attempts.c.trial_id.desc(), attempts.c.attempt.desc())
        .limit(_RECENT)
    )
    rows = connection.execute(query).all()
    # Each trial once: it has an end at each of its rungs.
    first_ends = {row.trial_id: row.ended_at for row in rows if _took_slot(row)}
    ends = sorted(ended_at for ended_at in first_ends.values() if ended_at >= since)
    if not ends:
        return None
    # With all of them in sight, the time before the first end counts too.
    is_full = len(rows) == _RECENT and len(ends) > 1
    begun, number = (ends[0], len(ends) - 1) if is_full else (since, len(ends))
    return float(max(0.0, rows[0].now - begun) / number)


def _took_slot(row: Any) -> bool:
    is_time = isinstance(row.ended_at, int | float)
    return is_time and row.end in _TAKES_SLOT
