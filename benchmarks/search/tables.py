"""Tables of learning curves: what a search method would have seen, had it trained.

Two forms are read. TaskSet's (`taskset.npz`: names, hyperparameters, and NAME/hp, NAME/valid of
each task), and our own: a Parquet file for each table, whose columns are the parameters (missing
where one does not apply), `epoch_01`, `epoch_02`, …, and `seconds` of the whole trial. The file's
metadata, under the key `tuner`, is JSON: `space` (see `TableSpace.to_json`), `metric`, `direction`
("minimize" or "maximize"), `default` (a configuration that a person would try), `data`, `versions`.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.search.spaces import Params, Scalar, TableParameter, TableSpace

OWN_TABLES = Path(__file__).parent / "tables"
GOOD_SHARE = 0.10
WRONG_SHARE = 0.75


class TableError(Exception):
    """A table cannot be read: what, where, and why."""


@dataclass(frozen=True)
class CurveTable:
    """n configurations with the learning curve of each.

    `curves`: shape (n, max_epochs), the value after each epoch, to be minimised; NaN from the
    epoch on in which it diverged. Accuracies are negated. `seconds`: shape (n,), those of an epoch;
    None where all take equally long. `default`: what a person would try first."""

    name: str
    space: TableSpace
    configurations: tuple[Params, ...]
    curves: NDArray[np.float64]
    seconds: NDArray[np.float64] | None = None
    default: Params | None = None

    @property
    def max_epochs(self) -> int:
        return int(self.curves.shape[1])

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """Each configuration's best value before it diverged, shape (n,); inf without one."""
        return np.where(np.isnan(self.curves), np.inf, self.curves).min(axis=1)

    @cached_property
    def ordered_scores(self) -> NDArray[np.float64]:
        return np.sort(self.scores)

    def target(self, share: float) -> float:
        """The score that the best `share` of the configurations reach: 0.01 is the best 1 %."""
        rank = max(1, round(share * len(self.scores)))
        return float(self.ordered_scores[rank - 1])

    def rank(self, value: float) -> float:
        """The share of configurations that are better than the value, in [0, 1]."""
        return float(np.searchsorted(self.ordered_scores, value)) / len(self.scores)

    def regret(self, value: float) -> float:
        """How far a score is from the best (0), compared with the median configuration (1), which
        is also the largest value returned."""
        best, median = self.ordered_scores[0], np.median(self.ordered_scores)
        if not np.isfinite(value) or not np.isfinite(median):
            return 1.0
        return float(min(1.0, max(0.0, (value - best) / max(median - best, 1e-12))))

    @cached_property
    def priors(self) -> dict[str, Params]:
        """See `Setting.priors`. The good and the wrong one are those at 10 % and at 75 % of the
        configurations ordered by score."""
        order = np.argsort(self.scores, kind="stable")
        at = {"good": GOOD_SHARE, "wrong": WRONG_SHARE}
        found = {
            name: self.configurations[order[int(share * len(order))]] for name, share in at.items()
        }
        return found if self.default is None else {"default": self.default, **found}


# What the task was sampled from is written nowhere: the ends of what is in the file, as powers.
_TASKSET_RANGES = {
    "learning_rate": (1e-8, 1e1),
    "beta1": (1e-4, 1.0),
    "beta2": (1e-6, 1.0),
    "epsilon": (1e-10, 1e3),
    "l1": (1e-8, 1e1),
    "l2": (1e-8, 1e1),
    "linear_decay": (1e-7, 1e-4),
    "exponential_decay": (1e-6, 1e-3),
}
_TASKSET_DEFAULT: Params = {
    "learning_rate": 1e-3,
    "beta1": 0.1,
    "beta2": 1e-3,
    "epsilon": 1e-8,
    "l1": 1e-8,
    "l2": 1e-8,
    "linear_decay": 1e-7,
    "exponential_decay": 1e-6,
}
# One minus beta is what was drawn from a log scale, as its name in the space says.
_FROM_ONE = ("beta1", "beta2")
