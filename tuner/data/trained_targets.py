"""Targets as training takes them: shifted, float32, each value with a scaling of its own."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.dataset import Dataset, TargetPart, units_of
from tuner.data.named_rows import NamedRows, named_parts
from tuner.data.precision import find_offset, loss_note
from tuner.data.raw import FIRST_READING
from tuner.data.scaling import IDENTITY, Scaling, fit_scaling
from tuner.data.target import Target, TargetValues

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import DataSpec


def targets_as_trained(
    y: dict[str, TargetValues], target: Target, spec: "DataSpec"
) -> tuple[dict[str, Any], tuple[TargetPart, ...]]:
    """y of each part as training takes it, and what `Dataset` says of each target."""
    if not target.heads:
        rows, part = _one_as_trained(y, target, "", 1.0, spec)
        return rows, (part,)
    heads = {}
    for name, head in target.heads.items():
        of_head = {part: rows.parts[name] for part, rows in y.items()}
        weight = spec.targets[name].weight if name in spec.targets else 1.0
        heads[name] = _one_as_trained(of_head, head, name, weight, spec)
    named = {part: NamedRows({name: rows[part] for name, (rows, _) in heads.items()}) for part in y}
    return named, tuple(part for _, part in heads.values())


def _one_as_trained(
    y: dict[str, TargetValues], target: Target, name: str, weight: float, spec: "DataSpec"
) -> tuple[dict[str, Any], TargetPart]:
    shift: Any = 0.0
    if target.task == "regression":
        shift = _target_shift(y["train"]) if spec.reading != FIRST_READING else 0.0
        y = {part: (values - shift).astype(np.float32) for part, values in y.items()}
    part = TargetPart(
        name,
        target.task,
        units_of(target.task, target.labels, y["train"]),
        target.labels,
        _target_scaling(y["train"], target),
        weight,
        shift,
        target.value_names,
        target.format,
    )
    return y, part


def _target_shift(train: TargetValues) -> Any:
    """What to subtract from y before it becomes float32: one number, or one for each value."""
    wide = train.astype(np.float64)
    if wide.ndim == 1:
        return find_offset(wide)
    shifts = np.array([find_offset(column) for column in wide.T])
    return shifts if shifts.any() else 0.0


def _target_scaling(train: TargetValues, target: Target) -> Scaling:
    """Of y as it is trained: one line, or one for each value."""
    if target.task != "regression":
        return IDENTITY
    if train.ndim > 1:
        return fit_scaling(train, "standardize", by_columns=True)
    fitted = fit_scaling(train[:, np.newaxis], "standardize")
    return Scaling("standardize", fitted.scale.reshape(()), fitted.offset.reshape(()))


# Of very many values or labels the first are looked at.
_MOST_VECTORS = 32


def target_vectors(dataset: Dataset) -> Iterator[tuple[str, Any]]:
    """The training targets one by one, (n,), with their names; "" for the only one."""
    for target, rows in zip(dataset.targets, named_parts(dataset.train.y).values(), strict=True):
        if rows.ndim == 1:
            yield (target.name if dataset.heads else ""), rows
            continue
        names = target.values or target.labels
        for number, name in enumerate(names[:_MOST_VECTORS]):
            column = _value(rows, number)
            yield name, column if target.task == "regression" else column.astype(np.int32)


def lost_targets(dataset: Dataset, y: TargetValues) -> Iterator[str]:
    pairs = zip(
        dataset.targets, named_parts(y).values(), named_parts(dataset.train.y).values(), strict=True
    )
    for target, unscaled, trained in pairs:
        if target.task != "regression":
            continue
        scale, offset = np.atleast_1d(target.scaling.scale), np.atleast_1d(target.scaling.offset)
        what = f"the target {target.name}" if dataset.heads else "the target"
        for number in range(len(scale)):
            of_value = f" {target.values[number]}" if target.values else ""
            before, after = (_value(rows, number) for rows in (unscaled, trained))
            line = float(scale[number]), float(offset[number])
            yield loss_note(what + of_value, before, after, *line)


def _value(rows: Any, number: int) -> Any:
    """One of k values (n, k), or the only one (n,)."""
    return rows[:, number] if rows.ndim > 1 else rows
