"""A study's trials page by page: sorted and filtered in SQL, for tables of many thousands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.errors import UsageError
from tuner.storage.schema import optuna_trials
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.storage.trial_columns import TrialColumn, trial_columns
from tuner.storage.trial_filters import Term, parse_filter, parse_name
from tuner.storage.trials import TrialRow, read_by_ids
from tuner.values import clipped, join_names, suggest_names, word

PAGE_TRIALS = 50
NEWEST_FIRST, OLDEST_FIRST = "-trial", "trial"
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True)
class TrialPage:
    """One page of a study's trials. `columns`: the names of the table's columns, those of the
    varying `params` last, and `column`: the one that it is sorted by. `number`: of the page, from
    1. `matching`: how many trials meet the filter, of `trials` in all."""

    rows: list[TrialRow]
    columns: list[str]
    params: list[str]
    column: str
    is_descending: bool
    terms: list[Term]
    number: int
    matching: int
    trials: int

    @property
    def pages(self) -> int:
        return _pages(self.matching)


def read_trial_page(
    store: Store, study: StudyRow, sort: str = "", filter_text: str = "", page: int = 1
) -> TrialPage:
    """A page of the trials, as one snapshot. `sort`: a column, with "-" before it from the largest
    value down; "" for the newest trials first. Trials without a value come last. `filter_text`: see
    `trial_filters`. A page after the last one is the last one. Raises UsageError for a mistake in
    either text."""
    terms = parse_filter(filter_text)
    return store.read(_read_page, study, sort or NEWEST_FIRST, terms, page)


def find_trial_ids(
    store: Store, study: StudyRow, sort: str = "", filter_text: str = ""
) -> list[int]:
    """The ids of all trials that meet the filter, in that order; by number where none is given. The
    texts are those of `read_trial_page`."""
    terms = parse_filter(filter_text)

    def read(connection: sa.Connection) -> list[int]:
        query, *_ = _select(connection, study, sort or OLDEST_FIRST, terms)
        return list(connection.execute(query).scalars())

    return store.read(read)


def _read_page(
    connection: sa.Connection, study: StudyRow, sort: str, terms: list[Term], page: int
) -> TrialPage:
    query, columns, column = _select(connection, study, sort, terms)
    trials = _count(connection, optuna_trials.c.study_id == study.study_id)
    if terms:
        number, matching, trial_ids = _matching(connection, query, page)
    else:
        number, matching = min(max(1, page), _pages(trials)), trials
        trial_ids = connection.execute(_part(query, number)).scalars().all()
    return TrialPage(
        rows=read_by_ids(connection, study, trial_ids),
        columns=[column.name for column in columns],
        params=[column.param for column in columns if column.param],
        column=column.name,
        is_descending=sort.startswith("-"),
        terms=terms,
        number=number,
        matching=matching,
        trials=trials,
    )


def _select(
    connection: sa.Connection, study: StudyRow, sort: str, terms: list[Term]
) -> tuple[sa.Select[Any], list[TrialColumn], TrialColumn]:
    """The ids of the trials that meet the terms, sorted; the columns of the table; and the one that
    it is sorted by. Trials without a value come last."""
    columns = trial_columns(connection, study)
    is_descending = sort.startswith("-")
    column = _find(columns, parse_name(sort.removeprefix("-") or "-"), study)
    order = column.order.desc() if is_descending else column.order.asc()
    age = optuna_trials.c.trial_id
    query = (
        sa.select(optuna_trials.c.trial_id)
        .where(optuna_trials.c.study_id == study.study_id)
        .where(*(_find(columns, term.name, study).condition(term) for term in terms))
        .order_by(order.nulls_last(), age.desc() if is_descending else age.asc())
    )
    return query, [each for each in columns.values() if each.is_shown], column


def _matching(
    connection: sa.Connection, query: sa.Select[Any], page: int
) -> tuple[int, int, Sequence[int]]:
    """The page's number, how many trials the query selects, and the ids of the page's. One query
    for both: a filter may have to look at every trial."""
    counted = query.add_columns(sa.func.count().over().label("matching"))
    rows = connection.execute(_part(counted, max(1, page))).all()
    if not rows and page > 1:
        matching = connection.execute(_part(counted, 1)).all()
        page = _pages(matching[0].matching if matching else 0)
        rows = connection.execute(_part(counted, page)).all()
    return max(1, page), rows[0].matching if rows else 0, [row.trial_id for row in rows]


def _part(query: sa.Select[Any], page: int) -> sa.Select[Any]:
    return query.limit(PAGE_TRIALS).offset((page - 1) * PAGE_TRIALS)


def _pages(trials: int) -> int:
    return max(1, -(-trials // PAGE_TRIALS))


def _count(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> int:
    query = sa.select(sa.func.count()).select_from(optuna_trials).where(*conditions)
    return connection.execute(query).scalar_one()


def _find(columns: Mapping[str, TrialColumn], name: str, study: StudyRow) -> TrialColumn:
    """The column of that name. Raises UsageError."""
    if (column := columns.get(name)) is not None:
        return column
    node = study.spec.space.nodes.get(name)
    if node is not None and node.value is not None:
        raise UsageError(f"{name} does not vary in this study: it is {word(node.value)}")
    raise UsageError(
        f"the trials have no column {clipped(name, _SHOWN_CHARACTERS)!r}"
        f"{suggest_names(name, list(columns))}; there are: {_join(columns)}"
    )


def _join(columns: Mapping[str, TrialColumn]) -> str:
    return join_names([column.name for column in columns.values() if column.is_shown])
