"""Features that are the target under another name.

A data set in words and numbers, for `tuner data describe`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import Dataset, Split
from tuner.data.precision import sampled_rows
from tuner.data.rows import Features
from tuner.data.table_encoding import Column

# With fewer rows a column may be like the target by chance.
_FEWEST_ROWS = 20
# Rounding to float32 leaves this much, in deviations of the target.
_ROUNDING = 1e-5


def leak_notes(
    train: Split, columns: Sequence[Column] | None, names: Sequence[str] | None
) -> list[str]:
    """A line for each column of the training matrix from which the target can be read off: the
    classes one to one, or the value by one factor and one offset."""
    if train.x.ndim != 2 or len(train) < _FEWEST_ROWS:
        return []
    numbers = sampled_rows(len(train), train.x.shape)
    x, y = train.x[numbers], train.y[numbers]
    words = list(names) if names is not None else [str(i + 1) for i in range(x.shape[1])]
    if y.dtype.kind == "f":
        same, how = _linear(x, y), "is the target, but for a factor and an offset"
    else:
        x, words = _with_codes(x, words, columns or ())
        same, how = _one_to_one(x, y), "has one value for each class, and tells it"
    return [f"column {words[i]} {how}: leave it out" for i in np.flatnonzero(same)]


def _with_codes(
    x: Features, words: list[str], columns: Sequence[Column]
) -> tuple[Features, list[str]]:
    """One more column for each category that fills several."""
    codes = list(_codes(x, columns))
    more = [code for _, code in codes]
    return np.column_stack([x, *more]), words + [name for name, _ in codes]


def _codes(x: Features, columns: Sequence[Column]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    start = 0
    for column in columns:
        width = len(column.features)
        if width > 2 and column.kind == "category":
            yield column.name, x[:, start : start + width].argmax(axis=1)
        start += width


def _linear(x: Features, y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    wanted = y.astype(np.float64) - y.mean(dtype=np.float64)
    deviation = float(np.sqrt(np.mean(np.square(wanted))))
    same = np.zeros(x.shape[1], np.bool_)
    if deviation == 0:
        return same
    for number in range(x.shape[1]):
        column = x[:, number].astype(np.float64)
        column -= column.mean()
        length = float(column @ column)
        if length > 0:
            left = wanted - column * (column @ wanted / length)
            same[number] = np.abs(left).max() <= _ROUNDING * deviation
    return same


def _one_to_one(x: Features, y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    classes, first = np.unique(y, return_index=True)
    rank = np.searchsorted(classes, y)
    values = x[first]  # of each class's first row
    same = (x == values[rank]).all(axis=0) & (len(classes) > 1)
    for number in np.flatnonzero(same):
        same[number] = len(np.unique(values[:, number])) == len(classes)
    return np.asarray(same)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Plain values only (JSON): rows, shapes, classes or target range, scaling, notes."""
    return {
        "name": dataset.name,
        "task": dataset.task,
        "rows": {part: len(split) for part, split in dataset.splits.items()},
        "input_shape": list(dataset.input_shape),
        "dtype": str(dataset.train.x.dtype),
        "outputs": dataset.outputs,
        **(_classes(dataset) if dataset.labels else {"target": _target(dataset)}),
        "columns": [asdict(report) for report in dataset.reports],
        "features": None if dataset.features is None else list(dataset.features),
        "scaling": dataset.scaling.method,
        "notes": list(dataset.notes),
        "bytes": dataset.nbytes,
        "fingerprint": dataset.fingerprint,
    }


def _classes(dataset: Dataset) -> dict[str, Any]:
    """Rows of each class by part, in the order of the indices that stand for them."""
    counts = {
        part: np.bincount(split.y, minlength=len(dataset.labels))
        for part, split in dataset.splits.items()
    }
    return {
        "classes": {
            label: {part: int(rows[i]) for part, rows in counts.items()}
            for i, label in enumerate(dataset.labels)
        }
    }


def _target(dataset: Dataset) -> dict[str, float]:
    """Of the training rows, in the target's own units."""
    y = dataset.train.y.astype(np.float64) + dataset.target_shift
    return {
        "low": float(y.min()),
        "high": float(y.max()),
        "mean": float(y.mean()),
        "deviation": float(y.std()),
    }


def inputs_in_words(dataset: Dataset) -> str:
    """What a network gets of a row, and how it was scaled."""
    words = {
        "none": "as they are, not scaled",
        "minmax": "scaled to 0..1",
        "center": "scaled to -0.5..0.5",
        "standardize": "standardised",
    }[dataset.scaling.method]
    if dataset.scaling.scale.ndim:
        words += " per column" if len(dataset.input_shape) == 1 else " per channel"
    if any(column.categories is not None for column in dataset.columns or ()):
        words += "; a category's columns are 0 and 1"
    return f"inputs of shape {dataset.input_shape}, float32, {words}"
