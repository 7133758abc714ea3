"""A listing is one moment: what others commit between its SELECTs does not show in it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from tuner.storage import Store, deliveries
from tuner.storage.studies import StudyRow, list_studies
from tuner.storage.trials import find_best, list_trials, stream_trials, summarize

LISTINGS: dict[str, Callable[[Store, StudyRow], Any]] = {
    "all trials": lambda store, study: [row.number for row in list_trials(store, study)],
    "a page": lambda store, study: [row.number for row in stream_trials(store, study)],
    "best first": lambda store, study: [row.number for row in stream_trials(store, study, True)],
    "summary": lambda store, study: summarize(store, study),
    "best": lambda store, study: find_best(store, study),
    "studies": lambda store, study: [row.finished for row in list_studies(store)],
    "what the tracker reads": lambda store, study: deliveries.undelivered(store, study),
}


def add(store: Store, value: float) -> None:
    """Another search tells a trial."""
    study = optuna.load_study(study_name="toy", storage=store.optuna)
    distributions: dict[str, Any] = {"x": FloatDistribution(0, 1)}
    study.add_trial(create_trial(params={"x": 0.5}, distributions=distributions, value=value))


@contextlib.contextmanager
def adding_after_each_select(store: Store) -> Iterator[list[str]]:
    """A trial, better than all before it, is committed after each SELECT of the reading engine;
    those SELECTs."""
    selects: list[str] = []

    def after(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            selects.append(statement)
            add(store, 1.0 + len(selects))

    sa.event.listen(store.reader, "after_cursor_execute", after)
    try:
        yield selects
    finally:
        sa.event.remove(store.reader, "after_cursor_execute", after)


@pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS)
def test_what_is_committed_during_a_listing_does_not_show_in_it(
    store: Store, study: StudyRow, listing: Callable[[Store, StudyRow], Any]
) -> None:
    for value in (0.1, 0.3, 0.2):
        add(store, value)
    before = listing(store, study)
    with adding_after_each_select(store) as selects:
        during = listing(store, study)
    assert selects
    assert during == before
    assert len(list_trials(store, study)) == 3 + len(selects)
