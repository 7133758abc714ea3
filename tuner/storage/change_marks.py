"""Whether anything has changed that a page shows: two short texts, read by a few cheap queries.

Each finds its rows by an index and reads few of them, so that all take 1 ms with 50 000 trials too.
"""

import functools
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
    keys = {} if study is None else {"a_study": study.study_id, "a_uuid": study.uuid}
    state_queries, claimed_query = _queries(connection.dialect.name, of_one=study is not None)
    state = [connection.execute(query, keys).all() for query in state_queries]
    claimed = connection.execute(claimed_query, keys).all()
    trials = _hashed([*map(repr, state), *(repr(row[:4]) for row in claimed)])
    return ChangeMark(trials, _hashed([trials, *map(repr, claimed)]), bool(claimed))


def _hashed(parts: list[str]) -> str:
    text = "\n".join(parts).encode()
    return hashlib.blake2b(text, digest_size=_HASH_BYTES).hexdigest()


@functools.cache
def _queries(dialect: str, of_one: bool) -> tuple[list[sa.Select[Any]], sa.Select[Any]]:
    """Built once: that takes longer than to run them. `of_one`: of the study of `a_study` and
    `a_uuid`, else of all."""
    study_id = sa.bindparam("a_study", type_=sa.Integer)
    uuid = sa.bindparam("a_uuid", type_=sa.String)
    clock = now(dialect)
    present = sa.select(studies.c.uuid, studies.c.name, studies.c.state, studies.c.priority)
    last_trial = sa.select(optuna_trials.c.trial_id).order_by(optuna_trials.c.trial_id.desc())
    searches = sa.select(loops.c.loop_id).where(loops.c.expires_at > clock)
    daemons = (
        sa.select(workers.c.worker_id, workers.c.state, workers.c.skipped)
        .where(workers.c.expires_at > clock)
        .order_by(workers.c.worker_id)
    )
    claimed = _claimed()
    others = [daemons]
    if of_one:
        present = present.where(studies.c.uuid == uuid)
        last_trial = last_trial.where(optuna_trials.c.study_id == study_id)
        searches = searches.where(loops.c.study_uuid == uuid)
        claimed = claimed.where(studies.c.uuid == uuid)
        others.append(_slots(study_id))
    state = [
        present.order_by(studies.c.uuid),
        last_trial.limit(1),
        searches.order_by(loops.c.loop_id),
        *others,
    ]
    return state, claimed


def _slots(study_id: sa.BindParameter[int]) -> sa.Select[Any]:
    """How many slots there are, and how many are open or paused, as far as they are few: with many,
    trials begin and end all the time, which the claimed ones show."""
    own = slot_rows.c.study_id == study_id
    last = sa.select(sa.func.max(slot_rows.c.number)).where(own)
    is_open = slot_rows.c.state.in_(("open", "paused"))
    some_open = sa.select(slot_rows.c.study_id).where(own, is_open).limit(_MOST_OPEN).subquery()
    number = sa.select(sa.func.count()).select_from(some_open)
    return sa.select(last.scalar_subquery(), number.scalar_subquery())


def _claimed() -> sa.Select[Any]:
    """The slots that loops hold, each with the last step that its attempt has reported."""
    step = (
        sa.select(sa.func.max(reports.c.step))
        .where(reports.c.study_uuid == studies.c.uuid)
        .where(reports.c.trial_id == slot_rows.c.trial_id)
        .where(reports.c.attempt == slot_rows.c.attempt)
        .scalar_subquery()
    )
    key = (slot_rows.c.study_id, slot_rows.c.number)
    return (
        sa.select(*key, slot_rows.c.trial_id, slot_rows.c.attempt, step.label("step"))
        .join(studies, studies.c.study_id == slot_rows.c.study_id)
        .where(slot_rows.c.state == "claimed")
        .order_by(*key)
    )
