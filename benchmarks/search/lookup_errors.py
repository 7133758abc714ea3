"""How well a lookup knows the curves of configurations that its table does not hold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.lookup import LOOKUPS
from benchmarks.search.tables import CurveTable

FOLDS = 5


@dataclass(frozen=True)
class HeldOutError:
    """Over configurations that were left out of a lookup's table in turn. `rank_error`: the mean
    distance of ranks by score, in [0, 1]; an even guess has 0.25. `correlation`: of the ranks
    (Spearman). `among_best`: the same correlation among the true best fifth. `early_correlation`:
    of the ranks by the value a ninth of the way through training."""

    rank_error: float
    correlation: float
    among_best: float
    early_correlation: float


def held_out_error(table: CurveTable, lookup: str, folds: int = FOLDS) -> HeldOutError:
    known = held_out_curves(table, lookup, folds)
    early = max(0, table.max_epochs // 9 - 1)
    true_ranks, ranks = _ranks(table.scores), _ranks(_scores(known))
    best = true_ranks <= 0.2
    return HeldOutError(
        rank_error=float(np.abs(true_ranks - ranks).mean()),
        correlation=_correlation(true_ranks, ranks),
        among_best=_correlation(_ranks(table.scores[best]), _ranks(_scores(known[best]))),
        early_correlation=_correlation(_ranks(table.curves[:, early]), _ranks(known[:, early])),
    )


def held_out_curves(table: CurveTable, lookup: str, folds: int) -> NDArray[np.float64]:
    """The curve of each configuration, shape (n, max_epochs), by a lookup in those of the other
    folds."""
    fold = np.random.default_rng(0).permutation(len(table.curves)) % folds
    known = np.empty_like(table.curves)
    for number in range(folds):
        made = LOOKUPS[lookup](_rows(table, np.flatnonzero(fold != number)))
        for row in np.flatnonzero(fold == number):
            known[row] = made.curve(table.configurations[row])
    return known


def errors_table(tables: Sequence[CurveTable], lookups: Sequence[str]) -> str:
    """Markdown: a row for each table, and the four errors of each lookup."""
    head = ["table", "configurations", "ties"]
    for lookup in lookups:
        head += [f"{lookup}: rank error", "correlation", "among the best fifth", "early"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for table in tables:
        ties = 1 - len(np.unique(table.scores)) / len(table.scores)
        cells = [f"`{table.name}`", f"{len(table.scores)}", f"{100 * ties:.0f} %"]
        for lookup in lookups:
            error = held_out_error(table, lookup)
            cells += [f"{error.rank_error:.3f}", f"{error.correlation:.2f}"]
            cells += [f"{error.among_best:.2f}", f"{error.early_correlation:.2f}"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows(table: CurveTable, rows: NDArray[np.intp]) -> CurveTable:
    return replace(
        table,
        configurations=tuple(table.configurations[row] for row in rows),
        curves=table.curves[rows],
        seconds=None if table.seconds is None else table.seconds[rows],
    )


def _scores(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(curves), np.inf, curves).min(axis=1)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """In [0, 1]; equal values have their mean rank, and NaN is the worst."""
    known = np.where(np.isnan(values), np.inf, values)
    ordered = np.sort(known)
    sides = [np.searchsorted(ordered, known, side) for side in ("left", "right")]
    return np.asarray((sides[0] + sides[1] - 1) / 2 / max(1, len(values) - 1))


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
