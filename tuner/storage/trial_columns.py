"""The columns of a study's table of trials, as SQL that trials can be sorted and filtered by.

Each column is an expression for one row of Optuna's `trials`: a number, or the position of a value
among `choices`; NULL for a trial without a value. It gives what `table_row` shows of the trial.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from tuner.errors import UsageError
from tuner.search_space.nodes import Node, Requirement
from tuner.search_space.parameter_types import equal_values
from tuner.search_space.ranges import Choices
from tuner.storage.optuna_rows import (
    STATES,
    choices_asked_for,
    finite_value,
    params_asked_for,
    state_of_trial,
)
from tuner.storage.schema import (
    attempts,
    optuna_trial_values,
    optuna_trials,
    reports,
    trial_params,
)
from tuner.storage.studies import StudyRow
from tuner.storage.trial_filters import Operator, Term
from tuner.storage.trials import param_column
from tuner.study.ends import TrialEnd
from tuner.values import Scalar, as_switch, join_names, suggest_names, word

_UNFINISHED = ("WAITING", "RUNNING")
_PAUSED = "paused"  # it waits at a rung


@dataclass(frozen=True)
class TrialColumn:
    """`values`: of a trial, in order; several where a parameter has a value for each layer.
    `order`: what it is sorted by. `choices`: None for a column of numbers. `param`: the parameter
    that it shows; "" for any other column."""

    name: str
    values: tuple[sa.ColumnElement[Any], ...]
    order: sa.ColumnElement[Any]
    choices: tuple[Scalar, ...] | None = None
    is_shown: bool = True
    param: str = ""

    def condition(self, term: Term) -> sa.ColumnElement[bool]:
        """Which trials meet a term on this column: of several values one must. Raises
        UsageError."""
        is_negated = term.operator is Operator.NOT_EQUAL
        if term.value is None and not self._has_choice(term.text):
            is_missing = sa.and_(*(value.is_(None) for value in self.values))
            return sa.not_(is_missing) if is_negated else is_missing
        met_by = Operator.EQUAL if is_negated else term.operator
        meets = self._meets(Term(term.name, met_by, term.value, term.text))
        return sa.not_(meets) if is_negated else meets

    def _has_choice(self, text: str) -> bool:
        return self.choices is not None and text in self.choices

    def _meets(self, term: Term) -> sa.ColumnElement[bool]:
        if self.choices is None:
            number = self._number(term)
            compared = [term.operator.function(value, number) for value in self.values]
        else:
            positions = self._positions(term)
            compared = [value.in_(positions) for value in self.values]
        # NULL would be neither met nor, negated, not met.
        return sa.or_(*(sa.func.coalesce(each, sa.false()) for each in compared))

    def _number(self, term: Term) -> float:
        if isinstance(term.value, bool) or not isinstance(term.value, int | float):
            raise UsageError(f"{term}: {self.name} is a number, so {term.text} must be one too")
        return float(term.value)

    def _positions(self, term: Term) -> list[int]:
        """Where the choices are that meet the term. Raises UsageError for a value that is none of
        them, and for an order among words."""
        choices = self.choices or ()
        wanted = term.text if term.value is None else term.value
        if term.operator.is_order:
            if not isinstance(wanted, int | float) or not all(map(_is_number, choices)):
                raise UsageError(f"{term}: {self.name} has words, so only = and != can compare it")
            compare = term.operator.function
            return [place for place, choice in enumerate(choices) if compare(choice, wanted)]
        for meant in (wanted, as_switch(wanted), term.text):
            places = [p for p, choice in enumerate(choices) if equal_values(meant, choice)]
            if places:
                return places
        names = [word(choice) for choice in choices]
        hint = suggest_names(term.text, names)
        raise UsageError(f"{term}: {self.name} is one of {join_names(names)}{hint}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def trial_columns(connection: sa.Connection, study: StudyRow) -> dict[str, TrialColumn]:
    """All columns of the study's trials by name, in the order of the table; those that are not
    shown, but can be filtered by, come last."""
    beside, params = study.spec.beside_score, _Params(connection, study)
    last, metric = partial(_of_last_attempt, study), _Metrics(study, connection.dialect.name)
    shown = [
        _numbers("trial", optuna_trials.c.number, order=optuna_trials.c.trial_id),
        _words(
            "state", _state(study), [*(each.lower() for each in STATES), _PAUSED], _outcome(study)
        ),
        _numbers("score", _score()),
        *(_numbers(name, metric.of_score(name)) for name in beside),
        _numbers("epochs", last(attempts.c.epochs)),
        _numbers("seconds", last(attempts.c.ended_at - attempts.c.started_at)),
        *(
            replace(params.column(name, param_column(name, beside)), param=name)
            for name in params.names
        ),
    ]
    hidden = [_words("end", last(attempts.c.end), list(map(str, TrialEnd))), *params.of_layers()]
    columns = {column.name: replace(column, is_shown=False) for column in hidden}
    return columns | {column.name: column for column in shown}


def _numbers(
    name: str, value: sa.ColumnElement[Any], order: sa.ColumnElement[Any] | None = None
) -> TrialColumn:
    return TrialColumn(name, (value,), value if order is None else order)


def _words(
    name: str,
    value: sa.ColumnElement[str],
    words: Sequence[str],
    order: sa.ColumnElement[Any] | None = None,
) -> TrialColumn:
    places = {each: place for place, each in enumerate(words)}
    position = sa.case(places, value=value)
    return TrialColumn(name, (position,), value if order is None else order, tuple(words))


def _lower_state() -> sa.ColumnElement[str]:
    return sa.func.lower(state_of_trial())


def _state(study: StudyRow) -> sa.ColumnElement[str]:
    is_waiting = state_of_trial() == "WAITING"
    at_rung = _of_last_attempt(study, attempts.c.end) == TrialEnd.AT_RUNG.value
    return sa.case((is_waiting & at_rung, _PAUSED), else_=_lower_state())


def _outcome(study: StudyRow) -> sa.ColumnElement[str]:
    """As `ends.outcome`: how the trial ended, or its state before that."""
    end = _of_last_attempt(study, attempts.c.end)
    ended = sa.func.coalesce(end, _lower_state())
    return sa.case((state_of_trial().in_(_UNFINISHED), _state(study)), else_=ended)


def _score() -> sa.ColumnElement[float]:
    values = optuna_trial_values
    return (
        sa.select(finite_value())
        .where(values.c.trial_id == optuna_trials.c.trial_id, values.c.objective == 0)
        .scalar_subquery()
    )


def _of_last_attempt(study: StudyRow, value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return (
        sa.select(value)
        .where(attempts.c.study_uuid == study.uuid)
        .where(attempts.c.trial_id == optuna_trials.c.trial_id)
        .order_by(attempts.c.attempt.desc())
        .limit(1)
        .scalar_subquery()
    )


@dataclass(frozen=True)
class _Metrics:
    """The metrics of reports. `dialect`: JSON is read by other functions in each."""

    study: StudyRow
    dialect: str

    def of_score(self, name: str) -> sa.ColumnElement[Any]:
        """A metric of the report that gave the score, chosen as `report_of_score` does."""
        last, value = self._last_attempt(), self._reported(name)
        best = self._reports(last, value).where(
            reports.c.epoch == last.c.best_epoch, reports.c.whole == sa.true()
        )
        objective = self._reported(self.study.spec.metric)
        is_maximized = self.study.spec.direction == "maximize"
        any_report = (
            self._reports(last, value)
            .where(sa.func.coalesce(last.c.best_epoch, reports.c.epoch) == reports.c.epoch)
            .where(objective.is_not(None))
            .order_by(
                reports.c.whole.desc(),
                objective.desc() if is_maximized else objective.asc(),
                reports.c.step,
            )
        )
        # The first says the same where it says anything, in a third of the time.
        return sa.func.coalesce(*(each.limit(1).scalar_subquery() for each in (best, any_report)))

    def _last_attempt(self) -> sa.FromClause:
        return (
            sa.select(attempts.c.attempt, attempts.c.best_epoch)
            .where(attempts.c.study_uuid == self.study.uuid)
            .where(attempts.c.trial_id == optuna_trials.c.trial_id)
            .order_by(attempts.c.attempt.desc())
            .limit(1)
            .correlate(optuna_trials)
            .subquery()
        )

    def _reports(self, last: sa.FromClause, value: sa.ColumnElement[Any]) -> sa.Select[Any]:
        return (
            sa.select(value)
            .select_from(last.join(reports, reports.c.attempt == last.c.attempt))
            .where(reports.c.study_uuid == self.study.uuid)
            .where(reports.c.trial_id == optuna_trials.c.trial_id)
            .correlate(optuna_trials)
        )

    def _reported(self, name: str) -> sa.ColumnElement[Any]:
        """A finite number of a report; NULL where it is none, and where the JSON is damaged."""
        metrics = reports.c.metrics
        if self.dialect == "postgresql":
            is_number = sa.func.json_typeof(metrics[name]) == "number"
            return sa.case((is_number, sa.cast(metrics[name].as_string(), sa.Double)))
        path = f"$.{json.dumps(name, ensure_ascii=False)}"
        content = sa.case((sa.func.json_valid(metrics), metrics))
        is_number = sa.func.json_type(content, path).in_(("real", "integer"))
        return sa.case((is_number, sa.func.json_extract(content, path)))


class _Params:
    """The varying params of a study. `names`: in the order of the table."""

    def __init__(self, connection: sa.Connection, study: StudyRow) -> None:
        self._connection, self._study, self._space = connection, study, study.spec.space
        defines = self._space.function_kind.defines_space
        asked = params_asked_for(connection, study.study_id) if defines else []
        self.names = asked or self._space.varying()

    def column(self, name: str, shown_as: str) -> TrialColumn:
        node = self._space.nodes.get(name)
        if node is None or node.range is None:
            value = _param(name)
            asked = choices_asked_for(self._connection, self._study.study_id, name)
            choices = None if asked is None else tuple(asked)
        else:
            value, choices = self._searched(node)
        names = node.flat_names() if node is not None and node.repeat else []
        values = tuple(map(_param, names)) or (value,)
        return _choices(shown_as, values, choices)

    def of_layers(self) -> Iterator[TrialColumn]:
        """A column for each layer of a parameter that has a value for each."""
        for name in self.names:
            node = self._space.nodes.get(name)
            if node is not None and node.repeat:
                choices = node.range.choices if isinstance(node.range, Choices) else None
                for flat in node.flat_names():
                    yield _choices(flat, (_param(flat),), choices)

    def _searched(self, node: Node) -> tuple[sa.ColumnElement[Any], tuple[Scalar, ...] | None]:
        """The param's number, or its position among choices. Where a condition keeps it from being
        searched, it is the default, unless the network has no such parameter there."""
        choices = node.range.choices if isinstance(node.range, Choices) else None
        sampled = _param(node.name)
        if node.value is None or not node.when or node.repeat:
            return sampled, choices
        default: float = float(node.value) if _is_number(node.value) else 0.0
        if choices is not None:
            if node.value not in choices:
                choices = (*choices, node.value)
            default = choices.index(node.value)
        has_default = sa.and_(_has_params(), *self._holding(node.needs))
        fixed = sa.case((has_default, sa.literal(default)))
        return sa.func.coalesce(sampled, fixed), choices

    def _holding(self, needs: Requirement) -> Iterator[sa.ColumnElement[bool]]:
        """That parents have these values."""
        for name, wanted in needs.items():
            node = self._space.nodes[name]
            if node.range is None:
                yield sa.true() if any(map(node.is_value, wanted)) else sa.false()
                continue
            value, choices = self._searched(node)
            pairs = enumerate(choices) if choices is not None else ((each, each) for each in wanted)
            places = [place for place, each in pairs if any(equal_values(each, w) for w in wanted)]
            yield sa.func.coalesce(value.in_(places), sa.false())


def _param(flat_name: str) -> sa.ColumnElement[Any]:
    return (
        sa.select(trial_params.c.param_value)
        .where(trial_params.c.trial_id == optuna_trials.c.trial_id)
        .where(trial_params.c.param_name == flat_name)
        .scalar_subquery()
    )


def _has_params() -> sa.ColumnElement[bool]:
    """Whether the trial has begun: one that was queued has the params that were asked for."""
    return sa.exists().where(trial_params.c.trial_id == optuna_trials.c.trial_id)


def _choices(
    name: str, values: tuple[sa.ColumnElement[Any], ...], choices: tuple[Scalar, ...] | None
) -> TrialColumn:
    """Choices are sorted by what they are, numbers first, not by where the space has them."""
    if choices is None:
        return TrialColumn(name, values, values[0])
    ordered = sorted(range(len(choices)), key=lambda place: _sort_key(choices[place]))
    ranks = {place: rank for rank, place in enumerate(ordered)}
    return TrialColumn(name, values, sa.case(ranks, value=values[0]), choices)


def _sort_key(choice: Scalar | None) -> tuple[bool, float, str]:
    number = float(choice) if isinstance(choice, bool | int | float) else None
    return number is None, number or 0.0, str(choice)
