"""Portfolios: a few configurations, of which at least one is good on each of many data sets, to be
tried first on others. Chosen greedily (Wistuba et al., 2015; Feurer et al., 2022)."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.lookup import Forest, Lookup, NearestNeighbour
from benchmarks.search.spaces import Params, Scalar, TableParameter, TableSpace, applies
from benchmarks.search.tables import CurveTable, data_of, others_of

SIZE = 6
MOST_CANDIDATES = 2000
SHIPPED = Path(__file__).parents[2] / "tuner" / "algorithms" / "portfolios.json"
_ABOUT = "_about"


def greedy_portfolio(tables: Sequence[CurveTable], size: int = SIZE) -> list[Params]:
    """At most `size` configurations of the tables, each the one that most lowers the mean over data
    sets of the regret of the best so far. Fewer, once no other lowers it."""
    candidates = _candidates(tables)
    regrets = np.array([_regrets(candidates, table) for table in tables])
    return [candidates[index] for index in _chosen(regrets, _weights(tables), size)]


def _chosen(regrets: NDArray[np.float64], weights: NDArray[np.float64], size: int) -> list[int]:
    """The columns that are chosen in turn. `regrets`: shape (tables, candidates). `weights`: of the
    tables."""
    chosen: list[int] = []
    best = np.ones(len(regrets))
    while len(regrets) and len(chosen) < size:
        means = weights @ np.minimum(regrets, best[:, None])
        index = int(means.argmin())
        if means[index] >= weights @ best - 1e-9:
            break
        chosen.append(index)
        best = np.minimum(best, regrets[:, index])
    return chosen


def portfolio_regret(portfolio: Sequence[Params], table: CurveTable) -> float:
    """The regret of the best of the portfolio's configurations on a table; 1 without any."""
    return float(_regrets(portfolio, table).min(initial=1.0))


def project(params: Params, space: TableSpace, default: Params | None = None) -> Params:
    """A configuration in another space: numbers are clipped to its ranges, and what the
    configuration lacks, or has in no choice, is the default's, or the middle of the range."""
    projected: Params = {}
    for parameter in space.parameters:
        if applies(parameter, projected):
            known = [p[parameter.name] for p in (params, default or {}) if parameter.name in p]
            projected[parameter.name] = _first_fit(parameter, known)
    return projected


def write_portfolios(tables: Sequence[CurveTable], path: Path, size: int = SIZE) -> list[str]:
    """Write the portfolio of each kind of tables, {kind: [configuration, …]}, and a note on where
    they come from. Returns a line for each kind. What the file has of other kinds stays, and of
    kinds with tables of a single data set, whose best configurations say little of others."""
    by_kind = defaultdict(list)
    for table in tables:
        by_kind[table.kind].append(table)
    content = json.loads(path.read_text()) if path.exists() else {}
    made, lines = {}, []
    for kind, members in by_kind.items():
        data = sorted({data_of(table) for table in members})
        if len(data) < 2:
            lines.append(f"{kind}: unchanged, as {data[0]} is its only data set")
            continue
        made[kind] = [_rounded(params) for params in greedy_portfolio(members, size)]
        lines.append(f"{kind}: {len(made[kind])} configurations from {', '.join(data)}")
    about = "Greedy portfolios over benchmarks/search/tables, made by `python -m benchmarks.search "
    about += f"portfolio`. {'; '.join(lines)}. Other kinds: baselines of the shipped spaces."
    kept = {kind: each for kind, each in content.items() if kind not in (_ABOUT, *made)}
    path.write_text(json.dumps({_ABOUT: about, **kept, **made}, indent=1) + "\n")
    return lines


def left_out_table(tables: Sequence[CurveTable], sizes: Sequence[int] = (1, 2, 4, 6, 8)) -> str:
    """Markdown: the regret on each table of portfolios that were made of the same kind's tables of
    other data, beside that of its space's default and the median of random ones."""
    head = ["table", *(f"best of {size}" for size in sizes)]
    head += ["default", f"best of {max(sizes)} random"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for table in tables:
        others = others_of(table, tables)
        if others:
            portfolio = greedy_portfolio(others, max(sizes))
            cells = [portfolio_regret(portfolio[:size], table) for size in sizes]
            cells.append(portfolio_regret([table.default] if table.default else [], table))
            cells.append(_random_regret(table, max(sizes)))
            lines.append([f"`{table.name}`", *(f"{cell:.3f}" for cell in cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _candidates(tables: Iterable[CurveTable]) -> list[Params]:
    """The configurations and defaults of the tables, each once; of a large table the same random
    rows as of others of its size, which may hold the same configurations."""
    found: dict[object, Params] = {}
    for table in tables:
        rows = np.random.default_rng(0).permutation(len(table.configurations))[:MOST_CANDIDATES]
        chosen = [table.configurations[row] for row in sorted(rows)]
        chosen += [project(table.default, table.space)] if table.default else []
        found.update({_key(params): {**table.fixed, **params} for params in chosen})
    return list(found.values())


def _key(params: Params) -> frozenset[tuple[str, Scalar]]:
    return frozenset(params.items())


def _weights(tables: Sequence[CurveTable]) -> NDArray[np.float64]:
    """Each data set counts as much, whatever the number of its metrics; 1 in all."""
    names = [data_of(table) for table in tables]
    counts = np.array([names.count(name) for name in names], float)
    return 1 / counts / len(set(names))


def _regrets(candidates: Sequence[Params], table: CurveTable) -> NDArray[np.float64]:
    """A configuration of the table has its measured curve, another one that of a lookup.
    Regrets are those among the table's configurations."""
    projected = [project(params, table.space, table.default) for params in candidates]
    known = _known_scores.setdefault((table.name, table.fingerprint), {})
    missing = {key: params for params in projected if (key := _key(params)) not in known}
    for row, params in enumerate(table.configurations if missing else ()):
        if (key := _key(params)) in missing:
            known[key] = float(table.scores[row])
    unknown = {key: params for key, params in missing.items() if key not in known}
    if unknown:
        curves = _lookup(table).curves(list(unknown.values()))
        scores = np.where(np.isnan(curves), np.inf, curves).min(axis=1)
        known |= dict(zip(unknown, scores.tolist(), strict=True))
    scores = np.array([known[_key(params)] for params in projected])
    best, median = table.ordered_scores[0], np.median(table.scores)
    return np.clip((scores - best) / max(median - best, 1e-12), 0.0, 1.0)


# By a table's name and fingerprint: each table is left out in turn, and trees take long to grow.
_known_scores: dict[tuple[str, str], dict[object, float]] = {}
_lookups: dict[tuple[str, str], Lookup] = {}


def _lookup(table: CurveTable) -> Lookup:
    """On a grid as dense as HPOBench's the nearest point is near enough."""
    key = table.name, table.fingerprint
    if key not in _lookups:
        is_dense = len(table.configurations) > 10 * MOST_CANDIDATES
        _lookups[key] = (NearestNeighbour if is_dense else Forest)(table)
    return _lookups[key]


def _random_regret(table: CurveTable, size: int, draws: int = 1000) -> float:
    """The median regret of the best of `size` of the table's configurations."""
    drawn = np.random.default_rng(0).integers(0, len(table.scores), (draws, size))
    return table.regret(float(np.median(table.scores[drawn].min(axis=1))))


def _first_fit(parameter: TableParameter, known: Iterable[Scalar]) -> Scalar:
    """The first value that fits, or the middle of the range."""
    for value in known:
        if parameter.kind == "categorical":
            # true is no 1: a choice has its type.
            matching = [c for c in parameter.choices if c == value and type(c) is type(value)]
            if matching:
                return matching[0]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            clipped = min(max(value, parameter.low), parameter.high)
            return round(clipped) if parameter.kind == "int" else float(clipped)
    return parameter.value_at(0.5)


def _rounded(params: Params) -> Params:
    """Numbers with three digits: more would pretend to know better."""
    return {
        name: float(f"{value:.3g}") if isinstance(value, float) else value
        for name, value in params.items()
    }
