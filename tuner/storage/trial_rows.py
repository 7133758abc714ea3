"""Optuna's rows of one trial, written by statements that are built once; and deleting a study's.

Optuna's own writing builds objects and statements anew for each value: 3 ms a transaction, where a
loop has several for each trial. These write the same rows in 0.2 ms. All are parts of a
transaction.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

from tuner.storage.optuna_tables import (
    PARAMS,
    REPORTS,
    STUDIES,
    SYSTEM_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    VALUES,
)
from tuner.storage.store import insert_or

# What tells the rows of one trial apart, and whether a later value replaces an earlier one.
_KEYS = {
    PARAMS: "param_name",
    VALUES: "objective",
    REPORTS: "step",
    USER_ATTRIBUTES: "key",
    SYSTEM_ATTRIBUTES: "key",
}

_trial_id = sa.bindparam("a_trial", type_=sa.Integer)
_study_id = sa.bindparam("a_study", type_=sa.Integer)
_LOCK_STUDY = sa.select(STUDIES.c.study_id).where(STUDIES.c.study_id == _study_id).with_for_update()
_LOCK_TRIALS = (
    sa.select(TRIALS.c.trial_id)
    .where(TRIALS.c.study_id == _study_id)
    .order_by(TRIALS.c.trial_id)
    .with_for_update()
)
_LOCK_TRIAL = sa.select(TRIALS.c.state).where(TRIALS.c.trial_id == _trial_id).with_for_update()
_INSERT_TRIAL = sa.insert(TRIALS).returning(TRIALS.c.trial_id)
_EARLIER_TRIALS = (
    sa.select(sa.func.count())
    .select_from(TRIALS)
    .where(TRIALS.c.study_id == _study_id, TRIALS.c.trial_id < _trial_id)
)
_update = sa.update(TRIALS).where(TRIALS.c.trial_id == _trial_id)
_SET_NUMBER = _update.values(number=sa.bindparam("a_number"))
_SET_STATE = _update.values(state=sa.bindparam("a_state"))
_SET_STARTED = _update.values(state=sa.bindparam("a_state"), datetime_start=sa.bindparam("at"))
_SET_ENDED = _update.values(state=sa.bindparam("a_state"), datetime_complete=sa.bindparam("at"))
_FIRST_DISTRIBUTION = (
    sa.select(PARAMS.c.distribution_json)
    .join(TRIALS, TRIALS.c.trial_id == PARAMS.c.trial_id)
    .where(
        PARAMS.c.param_name == sa.bindparam("a_name"),
        TRIALS.c.study_id
        == sa.select(TRIALS.c.study_id).where(TRIALS.c.trial_id == _trial_id).scalar_subquery(),
    )
    .limit(1)
)


def local_now() -> datetime:
    """Now, as Optuna shows the moments of trials."""
    return datetime.now()


def insert_trial(connection: sa.Connection, study_id: int, trial: FrozenTrial) -> tuple[int, int]:
    """Insert a trial like `trial`, whose id and number do not matter; its own ones. Raises KeyError
    for a study that is not there."""
    # Numbers count the trials before: two new ones must wait for each other.
    if connection.execute(_LOCK_STUDY, {"a_study": study_id}).first() is None:
        raise KeyError(models.NOT_FOUND_MSG)
    row = {
        "study_id": study_id,
        "state": trial.state,
        "datetime_start": _utc(trial.datetime_start),
        "datetime_complete": _utc(trial.datetime_complete),
    }
    trial_id = int(connection.execute(_INSERT_TRIAL, row).scalar_one())
    counted = {"a_study": study_id, "a_trial": trial_id}
    number = int(connection.execute(_EARLIER_TRIALS, counted).scalar_one())
    connection.execute(_SET_NUMBER, {"a_trial": trial_id, "a_number": number})
    _insert_content(connection, trial_id, trial)
    return trial_id, number


def delete_study(connection: sa.Connection, study_id: int) -> bool:
    """Delete all of Optuna's rows of a study; whether the study was there."""
    # A row that somebody adds meanwhile, such as a report, would keep its trial from being deleted.
    # Whoever adds one has a lock on its trial, or for a new trial on the study.
    studies = connection.execute(_LOCK_STUDY, {"a_study": study_id}).all()
    connection.execute(_LOCK_TRIALS, {"a_study": study_id}).all()
    trial_ids = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)
    for table in reversed(models.BaseModel.metadata.sorted_tables):
        if "study_id" in table.c:
            connection.execute(sa.delete(table).where(table.c.study_id == study_id))
        elif "trial_id" in table.c:
            connection.execute(sa.delete(table).where(table.c.trial_id.in_(trial_ids)))
    return bool(studies)


def _insert_content(connection: sa.Connection, trial_id: int, trial: FrozenTrial) -> None:
    set_values(connection, trial_id, trial.values or ())
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        internal = distribution.to_internal_repr(value)
        set_param(connection, trial_id, name, internal, distribution)
    set_attributes(connection, trial_id, USER_ATTRIBUTES, trial.user_attrs)
    set_attributes(connection, trial_id, SYSTEM_ATTRIBUTES, trial.system_attrs)
    set_reports(connection, trial_id, trial.intermediate_values)


def lock_trial(connection: sa.Connection, trial_id: int) -> TrialState:
    """The trial's state, which nobody else changes until the transaction ends. Raises KeyError for
    a trial that is not there."""
    state = connection.execute(_LOCK_TRIAL, {"a_trial": trial_id}).scalar()
    if state is None:
        raise KeyError(models.NOT_FOUND_MSG)
    return TrialState(state)


def check_unfinished(connection: sa.Connection, trial_id: int) -> TrialState:
    """The same for a trial that is about to be written. Raises UpdateFinishedTrialError."""
    state = lock_trial(connection, trial_id)
    if state.is_finished():
        raise UpdateFinishedTrialError(f"trial {trial_id} has ended and cannot be changed")
    return state


def set_state(connection: sa.Connection, trial_id: int, state: TrialState) -> None:
    """Give a trial another state, with the moment of it."""
    values: dict[str, Any] = {"a_trial": trial_id, "a_state": state}
    if state == TrialState.RUNNING or state.is_finished():
        statement = _SET_STARTED if state == TrialState.RUNNING else _SET_ENDED
        connection.execute(statement, values | {"at": _utc(local_now())})
    else:
        connection.execute(_SET_STATE, values)


def set_values(connection: sa.Connection, trial_id: int, values: Sequence[float]) -> None:
    """The trial's value of each objective."""
    stored = models.TrialValueModel.value_to_stored_repr
    rows = []
    for objective, value in enumerate(values):
        number, kind = stored(value)
        rows.append({"objective": objective, "value": number, "value_type": kind})
    _put(connection, VALUES, trial_id, rows)


def set_param(
    connection: sa.Connection,
    trial_id: int,
    name: str,
    internal_value: float,
    distribution: BaseDistribution,
    previous: BaseDistribution | None = None,
) -> None:
    """The value of a parameter, which stays once it is written. `previous`: a distribution that the
    study has used for the name, looked up where it is None. Raises ValueError where the two do not
    go together."""
    if previous is None:
        keys = {"a_trial": trial_id, "a_name": name}
        earlier = connection.execute(_FIRST_DISTRIBUTION, keys).scalar()
        previous = None if earlier is None else json_to_distribution(earlier)
    if previous is not None:
        check_distribution_compatibility(previous, distribution)
    row = {
        "param_name": name,
        "param_value": internal_value,
        "distribution_json": distribution_to_json(distribution),
    }
    _put(connection, PARAMS, trial_id, [row])


def set_reports(connection: sa.Connection, trial_id: int, reports: Mapping[int, float]) -> None:
    """The values that the pruner was told, by step."""
    stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    rows = []
    for step, value in reports.items():
        number, kind = stored(value)
        rows.append({"step": step, "intermediate_value": number, "intermediate_value_type": kind})
    _put(connection, REPORTS, trial_id, rows)


def set_attributes(
    connection: sa.Connection, trial_id: int, table: Any, attributes: Mapping[str, Any]
) -> None:
    """Attributes of the trial, in the table of the user's or of the system's."""
    rows = [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]
    _put(connection, table, trial_id, rows)


def _put(
    connection: sa.Connection, table: Any, trial_id: int, rows: Sequence[dict[str, Any]]
) -> None:
    if rows:
        statement = _upsert(connection.dialect.name, table)
        connection.execute(statement, [{"trial_id": trial_id, **row} for row in rows])


@functools.cache
def _upsert(dialect: str, table: Any) -> Any:
    """Insert rows, or replace those that have their key. A param stays as it was first written."""
    insert = insert_or(dialect, table)
    key = ["trial_id", _KEYS[table]]
    changed = [c.name for c in table.c if not c.primary_key and c.name not in key]
    if table is PARAMS:
        return insert.on_conflict_do_nothing(index_elements=key)
    return insert.on_conflict_do_update(
        index_elements=key, set_={name: insert.excluded[name] for name in changed}
    )


def _utc(local: datetime | None) -> datetime | None:
    """As Optuna's tables hold a moment: in UTC, without its zone."""
    return None if local is None else local.astimezone(UTC).replace(tzinfo=None)
