"""A data set in words and numbers, for `tuner data describe`."""

from dataclasses import asdict
from typing import Any

import numpy as np

from tuner.data.dataset import Dataset


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
