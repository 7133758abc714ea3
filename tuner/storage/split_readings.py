"""Readings of test splits: a figure is unseen only the first time.

They are counted over all studies on the same data (the fingerprint) in this database, also over
studies that were deleted since.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from tuner.storage.damage import Damage, moment, shortened
from tuner.storage.identity import user_name
from tuner.storage.schema import test_readings
from tuner.storage.store import Store, now
from tuner.storage.studies import StudyRow
from tuner.system.names import printable

Purpose = Literal["compare", "promote"]
_MOST_NAMED = 3


@dataclass(frozen=True)
class SplitReading:
    """One reading. `trial`: the one that was promoted; None for a comparison, which is one reading
    with all its trials. `user`, `at`: who and when, None where a row does not say."""

    study: str
    purpose: str
    trial: int | None
    user: str | None
    at: datetime | None

    def __str__(self) -> str:
        what = self.purpose if self.trial is None else f"{self.purpose} of trial {self.trial}"
        when = [] if self.at is None else [self.at.astimezone().strftime("%Y-%m-%d %H:%M")]
        who = [] if self.user is None else [printable(self.user)]
        return ", ".join([f"study {printable(self.study)}: {what}", *when, *who])


def record_reading(
    store: Store, study: StudyRow, purpose: Purpose, trial: int | None = None
) -> list[SplitReading]:
    """Record that the test split of the study's data is about to be read, and return the earlier
    readings, oldest first. A comparison that goes on is not counted again."""
    return store.write(_record, study, purpose, trial, uuid.uuid4().hex)


def _record(
    connection: sa.Connection, study: StudyRow, purpose: str, trial: int | None, reading_id: str
) -> list[SplitReading]:
    is_same = test_readings.c.reading_id == reading_id  # its COMMIT reply was lost
    if purpose == "compare":
        is_same |= (test_readings.c.study_uuid == study.uuid) & (test_readings.c.purpose == purpose)
    same = sa.select(test_readings.c.reading_id).where(is_same)
    if connection.execute(same).first() is None:
        values = {"fingerprint": study.spec.fingerprint, "study_uuid": study.uuid}
        values |= {"study": study.name, "purpose": purpose, "user": user_name()}
        at = now(connection.dialect.name)
        connection.execute(
            sa.insert(test_readings).values(reading_id=reading_id, trial=trial, at=at, **values)
        )
    query = _select_readings(study.spec.fingerprint).where(sa.not_(is_same))
    return [_reading(row) for row in connection.execute(query)]


def earlier_readings(store: Store, fingerprint: str) -> list[SplitReading]:
    """All readings of the test split of these data, oldest first."""
    query = _select_readings(fingerprint)
    return store.read(lambda connection: [_reading(row) for row in connection.execute(query)])


def describe_readings(readings: Sequence[SplitReading]) -> str | None:
    """What a user is told of earlier readings, the latest first; None if there are none."""
    if not readings:
        return None
    times = "once" if len(readings) == 1 else f"{len(readings)} times"
    latest = "; ".join(map(str, readings[: -_MOST_NAMED - 1 : -1]))
    more = "; …" if len(readings) > _MOST_NAMED else ""
    return (
        f"the test split of these data was read {times} before ({latest}{more}): "
        "this figure is no longer unseen"
    )


def _select_readings(fingerprint: str) -> sa.Select[Any]:
    return (
        sa.select(test_readings)
        .where(test_readings.c.fingerprint == fingerprint)
        .order_by(test_readings.c.at, test_readings.c.reading_id)
    )


def _reading(row: Any) -> SplitReading:
    """Damaged values are left out: the reading counts all the same."""
    at = Damage().read("at", moment, row.at)
    return SplitReading(
        study=row.study if isinstance(row.study, str) else shortened(row.study),
        purpose=shortened(row.purpose),
        trial=row.trial if isinstance(row.trial, int) else None,
        user=row.user if isinstance(row.user, str) else None,
        at=None if at is None else datetime.fromtimestamp(at, UTC),
    )
