"""Optuna's rows of a study's trials in a few plain queries: its own reading builds an object a row,
which takes seconds for thousands of trials."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tuner.storage.tables import (
    optuna_trial_attributes,
    optuna_trial_values,
    optuna_trials,
    optuna_user_attributes,
    trial_params,
)

_INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf}


@dataclass
class OptunaTrial:
    """A trial as Optuna's tables have it. `params`: flat ones; `fixed`: those that a waiting trial
    was queued with."""

    trial_id: int
    number: int
    state: str
    value: float | None = None
    params: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    retry_of: int | None = None


def read_trials(
    connection: sa.Connection, study_id: int, number: int | None = None
) -> list[OptunaTrial]:
    """A study's trials by number, or the one of that number."""
    state = sa.cast(optuna_trials.c.state, sa.String(16))
    chosen = sa.select(optuna_trials.c.trial_id, optuna_trials.c.number, state.label("state"))
    chosen = chosen.where(optuna_trials.c.study_id == study_id)
    if number is not None:
        chosen = chosen.where(optuna_trials.c.number == number)
    rows = connection.execute(chosen.order_by(optuna_trials.c.number))
    trials = {row.trial_id: OptunaTrial(row.trial_id, row.number, row.state) for row in rows}
    params = flat_params(connection, chosen)
    for trial_id, values in params.items():
        trials[trial_id].params = values
    _add_values(connection, chosen, trials)
    _add_attributes(connection, chosen, trials)
    return list(trials.values())


def _add_values(
    connection: sa.Connection, chosen: sa.Select[Any], trials: dict[int, OptunaTrial]
) -> None:
    values = optuna_trial_values
    kind = sa.cast(values.c.value_type, sa.String(16)).label("kind")
    picked = chosen.subquery()
    query = sa.select(values.c.trial_id, values.c.value, kind).join(
        picked, picked.c.trial_id == values.c.trial_id
    )
    for row in connection.execute(query):
        trials[row.trial_id].value = _INFINITE.get(row.kind, row.value)


def _add_attributes(
    connection: sa.Connection, chosen: sa.Select[Any], trials: dict[int, OptunaTrial]
) -> None:
    for table, key, name in (
        (optuna_trial_attributes, "fixed_params", "fixed"),
        (optuna_user_attributes, "retry_of", "retry_of"),
    ):
        picked = chosen.subquery()
        query = (
            sa.select(table.c.trial_id, table.c.value_json)
            .join(picked, picked.c.trial_id == table.c.trial_id)
            .where(table.c.key == key)
        )
        for row in connection.execute(query):
            setattr(trials[row.trial_id], name, json.loads(row.value_json))


def flat_params(connection: sa.Connection, chosen: sa.Select[Any]) -> dict[int, dict[str, Any]]:
    """The flat params of the trials whose `trial_id` a query chooses, in the order in which they
    were drawn."""
    picked = chosen.subquery()
    query = (
        sa.select(trial_params)
        .join(picked, picked.c.trial_id == trial_params.c.trial_id)
        .order_by(trial_params.c.param_id)
    )
    return _decoded(connection.execute(query))


def _decoded(rows: Iterable[Any]) -> dict[int, dict[str, Any]]:
    from optuna.distributions import json_to_distribution

    known: dict[str, Any] = {}
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        text = row.distribution_json
        if text not in known:
            known[text] = json_to_distribution(text)
        value = known[text].to_external_repr(row.param_value)
        found.setdefault(row.trial_id, {})[row.param_name] = value
    return found
