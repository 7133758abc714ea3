"""Optuna's rows of one trial, written by statements that are built once; and deleting a study's.

Optuna's own writing builds objects and statements anew for each value: 3 ms a transaction, where a
loop has several for each trial. These write the same rows in 0.2 ms. All are parts of a
transaction.
"""

import functools
import json
from collections.abc import Collection, Mapping, Sequence
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

Row = dict[str, Any]

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
    sa.select(TRIALS.c.trial_id, TRIALS.c.state)
    .where(TRIALS.c.trial_id.in_(sa.bindparam("trials", expanding=True)))
    .order_by(TRIALS.c.trial_id)
    .with_for_update()
)
_LOCK_TRIALS_OF_STUDY = (
    sa.select(TRIALS.c.trial_id)
    .where(TRIALS.c.study_id == _study_id)
    .order_by(TRIALS.c.trial_id)
    .with_for_update()
)
_new = [
    sa.bindparam(f"new_{name}", type_=TRIALS.c[name].type)
    for name in ("state", "datetime_start", "datetime_complete")
]
# Its number: how many trials the study had before.
_INSERT_TRIAL = (
    sa.insert(TRIALS)
    .from_select(
        ["study_id", "number", "state", "datetime_start", "datetime_complete"],
        sa.select(_study_id, sa.func.count(), *_new).where(TRIALS.c.study_id == _study_id),
    )
    .returning(TRIALS.c.trial_id, TRIALS.c.number)
)
_update = sa.update(TRIALS).where(TRIALS.c.trial_id == _trial_id)
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
    lock_study(connection, study_id)
    row = {
        "a_study": study_id,
        "new_state": trial.state,
        "new_datetime_start": _utc(trial.datetime_start),
        "new_datetime_complete": _utc(trial.datetime_complete),
    }
    inserted = connection.execute(_INSERT_TRIAL, row).one()
    _insert_content(connection, inserted.trial_id, trial)
    return inserted.trial_id, inserted.number


def lock_study(connection: sa.Connection, study_id: int) -> None:
    """Nobody else creates a trial of the study until the transaction ends. Raises KeyError for a
    study that is not there."""
    if connection.execute(_LOCK_STUDY, {"a_study": study_id}).first() is None:
        raise KeyError(models.NOT_FOUND_MSG)


def delete_study(connection: sa.Connection, study_id: int) -> bool:
    """Delete all of Optuna's rows of a study; whether the study was there."""
    # A row that somebody adds meanwhile, such as a report, would keep its trial from being deleted.
    # Whoever adds one has a lock on its trial, or for a new trial on the study.
    studies = connection.execute(_LOCK_STUDY, {"a_study": study_id}).all()
    connection.execute(_LOCK_TRIALS_OF_STUDY, {"a_study": study_id}).all()
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
    put(connection, USER_ATTRIBUTES, attribute_rows(trial_id, trial.user_attrs))
    put(connection, SYSTEM_ATTRIBUTES, attribute_rows(trial_id, trial.system_attrs))
    put(connection, REPORTS, report_rows(trial_id, trial.intermediate_values))


def lock_trial(connection: sa.Connection, trial_id: int) -> TrialState:
    """The trial's state, which nobody else changes until the transaction ends. Raises KeyError for
    a trial that is not there."""
    return _lock_trials(connection, [trial_id])[trial_id]


def _lock_trials(connection: sa.Connection, trial_ids: Collection[int]) -> dict[int, TrialState]:
    """The same of several trials, by their ids."""
    rows = connection.execute(_LOCK_TRIALS, {"trials": list(trial_ids)}).all()
    if len(rows) < len(trial_ids):
        raise KeyError(models.NOT_FOUND_MSG)
    return {row.trial_id: TrialState(row.state) for row in rows}


def check_unfinished(connection: sa.Connection, *trial_ids: int) -> TrialState:
    """The same for different trials that are about to be written; the state of the first. Raises
    UpdateFinishedTrialError."""
    states = _lock_trials(connection, trial_ids)
    for trial_id, state in states.items():
        if state.is_finished():
            raise UpdateFinishedTrialError(f"trial {trial_id} has ended and cannot be changed")
    return states[trial_ids[0]]


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
        row = {"trial_id": trial_id, "objective": objective}
        rows.append(row | {"value": number, "value_type": kind})
    put(connection, VALUES, rows)


def set_param(
    connection: sa.Connection,
    trial_id: int,
    name: str,
    internal_value: float,
    distribution: BaseDistribution,
    previous: BaseDistribution | None = None,
) -> None:
    """The value of a parameter, which stays once it is written. The rest as for `check_param`."""
    check_param(connection, trial_id, name, distribution, previous)
    put(connection, PARAMS, [param_row(trial_id, name, internal_value, distribution)])


def check_param(
    connection: sa.Connection,
    trial_id: int,
    name: str,
    distribution: BaseDistribution,
    previous: BaseDistribution | None = None,
) -> None:
    """Raises ValueError where a parameter's distribution does not go together with `previous`, one
    that the study has used for the name, which is looked up where it is None."""
    if previous is None:
        keys = {"a_trial": trial_id, "a_name": name}
        earlier = connection.execute(_FIRST_DISTRIBUTION, keys).scalar()
        previous = None if earlier is None else json_to_distribution(earlier)
    if previous is not None:
        check_distribution_compatibility(previous, distribution)


def param_row(
    trial_id: int, name: str, internal_value: float, distribution: BaseDistribution
) -> Row:
    return {
        "trial_id": trial_id,
        "param_name": name,
        "param_value": internal_value,
        "distribution_json": distribution_to_json(distribution),
    }


def report_rows(trial_id: int, reports: Mapping[int, float]) -> list[Row]:
    """The values that the pruner was told, by step."""
    stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    rows = []
    for step, value in reports.items():
        number, kind = stored(value)
        row = {"trial_id": trial_id, "step": step}
        rows.append(row | {"intermediate_value": number, "intermediate_value_type": kind})
    return rows


def attribute_rows(trial_id: int, attributes: Mapping[str, Any]) -> list[Row]:
    """Attributes of the trial, for the table of the user's or of the system's."""
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attributes.items()
    ]


def put(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Write rows of PARAMS, VALUES, REPORTS, or of attributes, all by one statement."""
    if rows:
        connection.execute(_upsert(connection.dialect.name, table), list(rows))


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
