"""A study's trials as Optuna's tables have them, read by a few plain queries.

Optuna's own reading builds an object for each row, which takes seconds for thousands of trials.
Optuna itself is not imported here: that takes 0.2 s.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tuner.storage.damage import (
    MISREAD,
    Damage,
    count,
    finite,
    json_object,
    real,
    shortened,
    text,
    whole,
)
from tuner.storage.schema import (
    optuna_trial_attributes,
    optuna_trial_values,
    optuna_trials,
    optuna_user_attributes,
    trial_params,
)

STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
_INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf}
_LARGEST_FLOAT = 1.7976931348623157e308


@dataclass
class OptunaTrial:
    """A trial as Optuna's tables have it. `params`: its flat params; `fixed`: those that a waiting
    trial was queued with. `number` is -1 if it cannot be read."""

    trial_id: int
    number: int
    state: str
    damage: Damage
    value: float | None = None
    params: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    retry_of: int | None = None


def state_of_trial() -> sa.ColumnElement[str]:
    """A trial's state as text; in PostgreSQL it is an enum of Optuna's."""
    return sa.cast(optuna_trials.c.state, sa.String(16))


def has_number(number: int) -> sa.ColumnElement[bool]:
    """Whether a trial has this number; no trial has one that no column can hold."""
    if not 0 <= number < 2**31:
        return sa.false()
    return optuna_trials.c.number == number


def finite_value() -> sa.ColumnElement[float]:
    """A trial's value if it is a finite number, else NULL. SQLite sorts any text after all numbers,
    PostgreSQL sorts NaN there."""
    values = optuna_trial_values.c
    return sa.case((is_finite(values.value, values.value_type), values.value), else_=sa.null())


def is_finite(
    value: sa.ColumnElement[float], value_type: sa.ColumnElement[Any]
) -> sa.ColumnElement[bool]:
    """Whether a value of Optuna's is a finite number. `value_type`: what its column of that name
    says."""
    is_number = sa.cast(value_type, sa.String(16)) == "FINITE"
    return sa.and_(is_number, value.between(-_LARGEST_FLOAT, _LARGEST_FLOAT))


def all_finite_values(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool]
) -> dict[int, tuple[float, ...]]:
    """The values of all objectives of the trials that meet the conditions, by trial id, the first
    objective first. What is no finite number is left out."""
    values = optuna_trial_values
    query = (
        sa.select(values.c.trial_id, finite_value().label("value"))
        .join(optuna_trials, optuna_trials.c.trial_id == values.c.trial_id)
        .where(*conditions)
        .order_by(values.c.trial_id, values.c.objective)
    )
    by_trial: dict[int, tuple[float, ...]] = {}
    for row in connection.execute(query):
        if isinstance(row.value, float | int):
            by_trial[row.trial_id] = (*by_trial.get(row.trial_id, ()), float(row.value))
    return by_trial


def infeasible_trials(connection: sa.Connection, study_id: int) -> set[int]:
    """The ids of the study's trials with a constraint above 0."""
    table = optuna_trial_attributes
    query = (
        sa.select(table.c.trial_id, table.c.value_json)
        .join(optuna_trials, optuna_trials.c.trial_id == table.c.trial_id)
        .where(optuna_trials.c.study_id == study_id, table.c.key.like("constraints:%"))
    )
    return {row.trial_id for row in connection.execute(query) if _is_positive(row.value_json)}


def _is_positive(text: object) -> bool:
    try:
        return float(str(text)) > 0
    except ValueError:
        return False


def params_asked_for(connection: sa.Connection, study_id: int) -> list[str]:
    """The names of the flat params of all trials, in the order in which they were first sampled."""
    query = (
        sa.select(trial_params.c.param_name)
        .join(optuna_trials, optuna_trials.c.trial_id == trial_params.c.trial_id)
        .where(optuna_trials.c.study_id == study_id)
        .group_by(trial_params.c.param_name)
        .order_by(sa.func.min(trial_params.c.param_id))
    )
    return [name for name in connection.execute(query).scalars() if isinstance(name, str)]


def with_values() -> sa.FromClause:
    """All trials, each joined with its value if it has one."""
    values = optuna_trial_values
    is_value = (values.c.trial_id == optuna_trials.c.trial_id) & (values.c.objective == 0)
    return optuna_trials.outerjoin(values, is_value)


def read_trials(
    connection: sa.Connection,
    study_id: int,
    *conditions: sa.ColumnElement[bool],
    limit: int | None = None,
) -> list[OptunaTrial]:
    """The study's trials that meet the conditions, at most `limit`, in the order in which they were
    created, which is that of their numbers."""
    chosen = (
        sa.select(optuna_trials.c.trial_id, optuna_trials.c.number, state_of_trial().label("state"))
        .where(optuna_trials.c.study_id == study_id, *conditions)
        .order_by(optuna_trials.c.trial_id)
        .limit(limit)
    )
    trials = {row.trial_id: _trial(row) for row in connection.execute(chosen)}
    for trial_id, (values, damage) in _read_params(connection, chosen).items():
        trials[trial_id].params = values
        trials[trial_id].damage.notes += damage.notes
    _add_values(connection, chosen, trials)
    _add_attributes(connection, chosen, trials)
    return list(trials.values())


def _trial(row: Any) -> OptunaTrial:
    damage = Damage()
    number = damage.read("number", count, row.number)
    state = damage.read("state", _known_state, row.state) or "UNKNOWN"
    return OptunaTrial(row.trial_id, -1 if number is None else number, state, damage)


def _known_state(state: Any) -> str:
    return STATES[STATES.index(state)]


def _add_values(
    connection: sa.Connection, chosen: sa.Select[Any], trials: dict[int, OptunaTrial]
) -> None:
    values = optuna_trial_values
    kind = sa.cast(values.c.value_type, sa.String(16)).label("kind")
    picked = chosen.subquery()
    query = (
        sa.select(values.c.trial_id, values.c.value, kind)
        .join(picked, picked.c.trial_id == values.c.trial_id)
        .where(values.c.objective == 0)
    )
    for row in connection.execute(query):
        trial = trials[row.trial_id]
        value = _INFINITE.get(row.kind, row.value)
        trial.value = trial.damage.read("value", real, value)


def _add_attributes(
    connection: sa.Connection, chosen: sa.Select[Any], trials: dict[int, OptunaTrial]
) -> None:
    for row in _attributes(connection, chosen, optuna_trial_attributes, "fixed_params"):
        trial = trials[row.trial_id]
        trial.fixed = trial.damage.read("fixed_params", _scalars, row.value_json) or {}
    for row in _attributes(connection, chosen, optuna_user_attributes, "retry_of"):
        trial = trials[row.trial_id]
        trial.retry_of = trial.damage.read("retry_of", _json_count, row.value_json)


def _attributes(
    connection: sa.Connection, chosen: sa.Select[Any], table: sa.TableClause, key: str
) -> Sequence[sa.Row[Any, Any]]:
    picked = chosen.subquery()
    query = (
        sa.select(table.c.trial_id, table.c.value_json)
        .join(picked, picked.c.trial_id == table.c.trial_id)
        .where(table.c.key == key)
    )
    return connection.execute(query).all()


def _json_count(value: Any) -> int:
    return count(json.loads(text(value)))


def _scalars(value: Any) -> dict[str, Any]:
    return {name: _scalar(inner) for name, inner in json_object(value).items()}


def _scalar(value: Any) -> Any:
    if isinstance(value, list | dict):
        raise ValueError(value)
    return value


def flat_params(connection: sa.Connection, chosen: sa.Select[Any]) -> dict[int, dict[str, Any]]:
    """The flat params of the trials whose `trial_id` a query selects, in the order in which they
    were sampled. Params that cannot be read are left out."""
    return {trial: values for trial, (values, _) in _read_params(connection, chosen).items()}


def _read_params(
    connection: sa.Connection, chosen: sa.Select[Any]
) -> dict[int, tuple[dict[str, Any], Damage]]:
    picked = chosen.subquery()
    query = (
        sa.select(trial_params)
        .join(picked, picked.c.trial_id == trial_params.c.trial_id)
        .order_by(trial_params.c.param_id)
    )
    return _decoded(connection.execute(query))


def _decoded(rows: Iterable[Any]) -> dict[int, tuple[dict[str, Any], Damage]]:
    decoders: dict[Any, Callable[[Any], Any]] = {}
    by_trial: dict[int, tuple[dict[str, Any], Damage]] = {}
    for row in rows:
        if row.trial_id not in by_trial:
            by_trial[row.trial_id] = {}, Damage()
        values, damage = by_trial[row.trial_id]
        name, distribution = row.param_name, row.distribution_json
        if distribution not in decoders:
            decoders[distribution] = _decoder(distribution)
        decode = decoders[distribution]
        try:
            values[text(name)] = decode(row.param_value)
        except MISREAD:
            damaged_value, what = row.param_value, "param"
            if decode is _refuse:
                damaged_value, what = distribution, "distribution of param"
            damage.note(f"{what} {shortened(name)}", damaged_value)
    return by_trial


def _refuse(value: Any) -> Any:
    raise ValueError(value)


def _decoder(distribution: Any) -> Callable[[Any], Any]:
    """What turns a column's number into a param's value. Optuna's JSON of a distribution names its
    class or, in an older form, its type."""
    try:
        if (choices := _choices(distribution)) is not None:
            return _choice_of(choices)
        kind = _kind_of(json_object(distribution))
        if kind.startswith("int"):
            return lambda value: whole(int(finite(value)))
        if kind.endswith("distribution") or kind == "float":
            return finite
    except MISREAD:
        pass
    return _refuse


def _choices(distribution: Any) -> list[Any] | None:
    """The choices of a categorical distribution. Raises one of MISREAD."""
    content = json_object(distribution)
    if not _kind_of(content).startswith("categorical"):
        return None
    attributes = content["attributes"] if "name" in content else content
    return [_scalar(choice) for choice in attributes["choices"]]


def _kind_of(distribution: dict[str, Any]) -> str:
    return str(distribution.get("name") or distribution["type"]).lower()


def choices_asked_for(connection: sa.Connection, study_id: int, name: str) -> list[Any] | None:
    """The choices of a flat param, as the study's first trial with it has them; None if it is a
    number, or cannot be read."""
    query = (
        sa.select(trial_params.c.distribution_json)
        .join(optuna_trials, optuna_trials.c.trial_id == trial_params.c.trial_id)
        .where(optuna_trials.c.study_id == study_id, trial_params.c.param_name == name)
        .limit(1)
    )
    try:
        return _choices(connection.execute(query).scalar())
    except MISREAD:
        return None


def _choice_of(choices: Sequence[Any]) -> Callable[[Any], Any]:
    return lambda value: choices[count(int(finite(value)))]
