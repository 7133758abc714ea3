"""tuner's search behind a portfolio: `portfolio:SAMPLER+PRUNER`, such as
`portfolio:tpe+hyperband`. The first trials are a greedy portfolio of the tables of the same kind on
other data, so no table helps to choose its own."""

from functools import lru_cache

from benchmarks.search.contract import Setting
from benchmarks.search.methods.tuner_search import TunerSearch, parse_form
from benchmarks.search.portfolio import SIZE, greedy_portfolio, project
from benchmarks.search.spaces import Params
from benchmarks.search.tables import CurveTable
from tuner.errors import TunerError


def build(form: str, setting: Setting) -> TunerSearch:
    sampler, pruner, patience = parse_form(form)
    try:
        search = TunerSearch(setting, sampler, pruner, patience)
    except TunerError as error:
        raise ValueError(f"portfolio:{form}: {error}") from error
    for params in _portfolio(_Others(setting.others)):
        search.study.enqueue_trial(project(params, setting.space, setting.priors.get("default")))
    return search


class _Others(tuple[CurveTable, ...]):
    """Tables that are equal if their names and curves are: the key of a cache."""

    def __hash__(self) -> int:
        return hash(self._names())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Others) and self._names() == other._names()

    def _names(self) -> tuple[tuple[str, str], ...]:
        return tuple((table.name, table.fingerprint) for table in self)


@lru_cache
def _portfolio(others: _Others) -> tuple[Params, ...]:
    return tuple(greedy_portfolio(others, SIZE)) if others else ()
