"""What is tried again when the database fails, and for how long.

A lost connection, a server that restarts, a deadlock, a full disk pass; a missing database or a
wrong password do not. A commit whose answer was lost may have happened: whoever repeats a write is
told that it is a repetition, and looks first.
"""

import random
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0
_HURRIED_S = 2.0
# PostgreSQL's classes of errors that pass: connection, rollback (deadlock), resources (disk full),
# lock not available, operator intervention (shutdown, restart).
_PASSING_STATES = ("08", "40", "53", "55P03", "57P")
_PASSING_CODES = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
)
# A server that refuses a connection for good says FATAL; these of its reasons pass.
_PASSING_REFUSALS = ("shutting down", "starting up", "recovery", "too many", "slots are reserved")


@dataclass
class Patience:
    """How long failing work is repeated: `seconds`, but no more than two once `hurried` says so,
    for all work together."""

    seconds: float = 20.0
    hurried: Callable[[], bool] = lambda: False
    _hurried_at: float | None = None

    def set(self, seconds: float, hurried: Callable[[], bool]) -> None:
        self.seconds, self.hurried, self._hurried_at = seconds, hurried, None

    def insist(self, work: Callable[[bool], T]) -> T:
        """What `work` returns, repeated while it fails in a way that passes. Its argument says
        whether it was tried before."""
        pause, failed_at, again = _FIRST_PAUSE_S, 0.0, False
        while True:
            try:
                return work(again)
            except Exception as error:
                if not passes(error):
                    raise
                failed_at = failed_at or time.monotonic()
                if time.monotonic() >= self._until(failed_at):
                    raise
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause, again = min(2 * pause, _LONGEST_PAUSE_S), True

    def _until(self, failed_at: float) -> float:
        until = failed_at + self.seconds
        if not self.hurried():
            return until
        self._hurried_at = self._hurried_at or time.monotonic()
        return min(until, self._hurried_at + _HURRIED_S)


def passes(error: BaseException) -> bool:
    """Whether the same work may succeed a little later."""
    # Optuna raises an error of its own from SQLAlchemy's.
    found = error if isinstance(error, sa.exc.SQLAlchemyError) else error.__cause__
    if isinstance(found, sa.exc.PendingRollbackError):
        return True  # the connection was lost before, where Optuna takes that for something else
    if not isinstance(found, sa.exc.DBAPIError) or isinstance(found, sa.exc.IntegrityError):
        return False
    if isinstance(found.orig, sqlite3.Error):
        return (getattr(found.orig, "sqlite_errorcode", 0) & 0xFF) in _PASSING_CODES
    state = getattr(found.orig, "sqlstate", None)
    if state is not None:
        return state.startswith(_PASSING_STATES)
    if found.connection_invalidated:
        return True
    return isinstance(found, sa.exc.OperationalError) and _may_connect_later(str(found.orig))


def _may_connect_later(complaint: str) -> bool:
    return "FATAL" not in complaint or any(words in complaint for words in _PASSING_REFUSALS)
