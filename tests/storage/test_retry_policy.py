"""What failing database work is repeated, and for how long. No test sleeps: time is a number."""

import sqlite3
from dataclasses import dataclass, field

import psycopg
import pytest
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError

from tuner.storage.connections import RetryPolicy, passes


@dataclass
class FakeTime:
    """A clock that only sleeping moves."""

    now: float = 1000.0
    pauses: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@dataclass
class Work:
    """Fails with `error` so many times (always, if None), each time after `takes_s` seconds."""

    time: FakeTime
    failures: int | None = None
    error: BaseException | None = None
    takes_s: float = 0.0
    repeated: list[bool] = field(default_factory=list)

    def __call__(self, repeated: bool) -> str:
        self.repeated.append(repeated)
        self.time.now += self.takes_s
        if self.failures is None or len(self.repeated) <= self.failures:
            raise self.error or sqlite_error(sqlite3.SQLITE_BUSY)
        return "done"


def sqlite_error(code: int) -> sa.exc.OperationalError:
    error = sqlite3.OperationalError("failed")
    error.sqlite_errorcode = code
    return sa.exc.OperationalError("SELECT 1", None, error)


def postgres_error(sqlstate: str | None, message: str = "failed") -> sa.exc.OperationalError:
    error = psycopg.OperationalError(message)
    error.sqlstate = sqlstate
    return sa.exc.OperationalError("SELECT 1", None, error)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


def policy_of(time: FakeTime, seconds: float = 20.0) -> RetryPolicy:
    return RetryPolicy(seconds, clock=time.clock, sleep=time.sleep)


def test_work_that_succeeds_is_done_once(time: FakeTime) -> None:
    work = Work(time, failures=0)
    assert policy_of(time).run(work) == "done"
    assert (work.repeated, time.pauses) == ([False], [])


def test_repeated_work_is_told_so(time: FakeTime) -> None:
    work = Work(time, failures=3)
    assert policy_of(time).run(work) == "done"
    assert work.repeated == [False, True, True, True]


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), KeyboardInterrupt(), SystemExit(), sqlite_error(sqlite3.SQLITE_CORRUPT)],
)
def test_an_error_that_does_not_pass_is_raised_at_once(
    time: FakeTime, error: BaseException
) -> None:
    work = Work(time, error=error)
    with pytest.raises(type(error)) as caught:
        policy_of(time).run(work)
    assert caught.value is error
    assert (work.repeated, time.pauses) == ([False], [])


@pytest.mark.parametrize("seconds", [0.0, 2.0, 20.0, 600.0])
def test_it_gives_up_once_the_time_is_over(time: FakeTime, seconds: float) -> None:
    error = sqlite_error(sqlite3.SQLITE_FULL)
    with pytest.raises(sa.exc.OperationalError) as caught:
        policy_of(time, seconds).run(Work(time, error=error))
    assert caught.value is error
    assert seconds <= time.now - 1000.0 <= seconds + 2.0


def test_the_time_counts_from_the_first_failure(time: FakeTime) -> None:
    work = Work(time, failures=1, takes_s=500.0)
    assert policy_of(time, seconds=0.5).run(work) == "done"
    work = Work(time, takes_s=500.0)
    with pytest.raises(sa.exc.OperationalError):
        policy_of(time, seconds=1.0).run(work)
    assert len(work.repeated) == 2


def test_pauses_double_up_to_two_seconds(time: FakeTime) -> None:
    with pytest.raises(sa.exc.OperationalError):
        policy_of(time, seconds=60.0).run(Work(time))
    longest = [min(0.05 * 2**count, 2.0) for count in range(len(time.pauses))]
    assert longest[-1] == 2.0
    for pause, limit in zip(time.pauses, longest, strict=True):
        assert limit / 2 <= pause <= limit
    assert len(set(time.pauses)) > len(time.pauses) // 2  # by chance: loops do not keep in step


def test_commands_repeat_for_twenty_seconds() -> None:
    assert RetryPolicy().seconds == 20.0


def test_after_a_signal_all_work_together_has_two_seconds(time: FakeTime) -> None:
    policy = policy_of(time)
    policy.set(600.0, is_hurried=lambda: time.now >= 1300.0)
    with pytest.raises(sa.exc.OperationalError):
        policy.run(Work(time))
    # Seen at the first failure after the signal, which a pause may delay.
    assert 1302.0 <= time.now <= 1306.0
    before = time.now
    late = Work(time)
    with pytest.raises(sa.exc.OperationalError):
        policy.run(late)
    assert (late.repeated, time.now) == ([False], before)
    assert policy.run(Work(time, failures=0)) == "done"


def test_a_new_search_has_all_its_time_again(time: FakeTime) -> None:
    policy = policy_of(time)
    policy.set(600.0, is_hurried=lambda: True)
    with pytest.raises(sa.exc.OperationalError):
        policy.run(Work(time))
    assert time.now <= 1004.0
    policy.set(600.0, is_hurried=lambda: False)
    with pytest.raises(sa.exc.OperationalError):
        policy.run(Work(time))
    assert time.now >= 1600.0


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_BUSY_SNAPSHOT,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_IOERR_WRITE,
    ],
)
def test_errors_of_sqlite_that_pass(code: int) -> None:
    assert passes(sqlite_error(code))


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_ERROR,
    ],
)
def test_errors_of_sqlite_that_do_not_pass(code: int) -> None:
    assert not passes(sqlite_error(code))


@pytest.mark.parametrize(
    "sqlstate", ["08006", "40001", "40P01", "53100", "55P03", "57P01", "57P03"]
)
def test_errors_of_postgresql_that_pass(sqlstate: str) -> None:
    assert passes(postgres_error(sqlstate))


@pytest.mark.parametrize("sqlstate", ["28P01", "3D000", "42P01", "22P02", "55000", "25006"])
def test_errors_of_postgresql_that_do_not_pass(sqlstate: str) -> None:
    assert not passes(postgres_error(sqlstate))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("connection to server failed: Connection refused", True),
        ("FATAL:  the database system is starting up", True),
        ("FATAL:  the database system is shutting down", True),
        ("FATAL:  sorry, too many clients already", True),
        ('FATAL:  password authentication failed for user "ann"', False),
        ('FATAL:  database "missing" does not exist', False),
    ],
)
def test_a_refused_connection_passes_unless_it_is_refused_for_good(
    message: str, expected: bool
) -> None:
    assert passes(postgres_error(None, message)) is expected


def test_a_row_that_cannot_be_stored_does_not_pass() -> None:
    error = sqlite3.IntegrityError("UNIQUE constraint failed")
    error.sqlite_errorcode = sqlite3.SQLITE_CONSTRAINT
    assert not passes(sa.exc.IntegrityError("INSERT", None, error))


def test_the_cause_of_optunas_own_error_decides() -> None:
    error = StorageInternalError("an exception is raised during the commit")
    assert not passes(error)
    error.__cause__ = sqlite_error(sqlite3.SQLITE_BUSY)
    assert passes(error)
    error.__cause__ = sqlite_error(sqlite3.SQLITE_CORRUPT)
    assert not passes(error)
    error.__cause__ = sa.exc.PendingRollbackError("the connection was lost before")
    assert passes(error)
