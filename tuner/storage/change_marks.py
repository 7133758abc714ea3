"""Whether anything has changed that a page shows: two short texts, read by a few cheap queries.

Each finds its rows by an index and reads few of them, so that all take 1 ms with 50 000 trials too.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.storage.schema import (
    StudyKey,
    loops,
    optuna_trials,
    reports,
    slot_rows,
    studies,
    workers,
)
from tuner.storage.store import Store, now

_HASH_BYTES = 8
_MOST_OPEN = 500


@dataclass(frozen=True)
class ChangeMark:
    """`trials` differs once a trial has begun or ended, was queued, or once the study or who works
    on it has changed; `reports` also after each report. `at_work`: whether a loop holds a trial."""

    trials: str
    reports: str
    at_work: bool = False


def read_mark(store: Store, study: StudyKey | None = None) -> ChangeMark:
    """The mark of a study, or of all studies together."""
    return store.read(_read_mark, study)


def _read_mark(connection: sa.Connection, study: StudyKey | None) -> ChangeMark:
    queries = [_studies(study), _last_trial(study), _loops(connection, study)]
    queries.append(_daemons(connection) if study is None else _slots(study))
    state = [connection.execute(query).all() for query in queries]
    claimed = connection.execute(_claimed(study)).all()
    trials = _hashed([*map(repr, state), *(repr(row[:4]) for row in claimed)])
    return ChangeMark(trials, _hashed([trials, *map(repr, claimed)]), bool(claimed))


def _hashed(parts: list[str]) -> str:
    text = "\n".join(parts).encode()
    return hashlib.blake2b(text, digest_size=_HASH_BYTES).hexdigest()


def _studies(study: StudyKey | None) -> sa.Select[Any]:
    query = sa.select(studies.c.uuid, studies.c.name, studies.c.state, studies.c.priority)
    return query.order_by(studies.c.uuid) if study is None else query.where(_is_study(study))


def _is_study(study: StudyKey) -> sa.ColumnElement[bool]:
    return studies.c.uuid == study.uuid


def _slots(study: StudyKey) -> sa.Select[Any]:
    """How many slots there are, and how many are open, as far as they are few: with many, trials
    begin and end all the time, which the claimed ones show."""
    last = sa.select(sa.func.max(slot_rows.c.number)).where(slot_rows.c.study_id == study.study_id)
    some_open = (
        sa.select(slot_rows.c.study_id)
        .where(slot_rows.c.study_id == study.study_id, slot_rows.c.state == "open")
        .limit(_MOST_OPEN)
        .subquery()
    )
    number = sa.select(sa.func.count()).select_from(some_open)
    return sa.select(last.scalar_subquery(), number.scalar_subquery())


def _last_trial(study: StudyKey | None) -> sa.Select[Any]:
    query = sa.select(optuna_trials.c.trial_id).order_by(optuna_trials.c.trial_id.desc()).limit(1)
    return query if study is None else query.where(optuna_trials.c.study_id == study.study_id)


def _loops(connection: sa.Connection, study: StudyKey | None) -> sa.Select[Any]:
    query = (
        sa.select(loops.c.loop_id)
        .where(loops.c.expires_at > now(connection.dialect.name))
        .order_by(loops.c.loop_id)
    )
    return query if study is None else query.where(loops.c.study_uuid == study.uuid)


def _daemons(connection: sa.Connection) -> sa.Select[Any]:
    return (
        sa.select(workers.c.worker_id, workers.c.state, workers.c.skipped)
        .where(workers.c.expires_at > now(connection.dialect.name))
        .order_by(workers.c.worker_id)
    )


def _claimed(study: StudyKey | None) -> sa.Select[Any]:
    """The slots that loops hold, each with the last step that its attempt has reported."""
    step = (
        sa.select(sa.func.max(reports.c.step))
        .where(reports.c.study_uuid == studies.c.uuid)
        .where(reports.c.trial_id == slot_rows.c.trial_id)
        .where(reports.c.attempt == slot_rows.c.attempt)
        .scalar_subquery()
    )
    query = (
        sa.select(
            slot_rows.c.study_id,
            slot_rows.c.number,
            slot_rows.c.trial_id,
            slot_rows.c.attempt,
            step.label("step"),
        )
        .join(studies, studies.c.study_id == slot_rows.c.study_id)
        .where(slot_rows.c.state == "claimed")
        .order_by(slot_rows.c.study_id, slot_rows.c.number)
    )
    return query if study is None else query.where(_is_study(study))
