"""The way from a source to a Dataset: read, check, encode the target, split, encode, scale."""

from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.arrays import Features, check_parts, has_missing, kept_dtype
from tuner.data.dataset import PARTS, Dataset, Split, fingerprint
from tuner.data.raw import Raw
from tuner.data.scaling import IDENTITY, Scaling, fit_scaling
from tuner.data.sources import read_source
from tuner.data.split import draw_splits
from tuner.data.tables import Column, encode, learn_columns, notes
from tuner.data.target import Target, TargetValues, encode_target
from tuner.errors import DatasetError
from tuner.settings import Settings

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.spec import DataSpec


def load_dataset(spec: "DataSpec", settings: Settings) -> Dataset:
    """Read, split and scale what `spec` names.

    A split that the source brings itself is kept as it is. Raises DatasetError, one line, for a
    source that cannot be found, read or learnt from.
    """
    raw = read_source(spec.source, settings)
    x = _checked(raw)
    targets = {part: pair.y for part, pair in raw.parts.items()}
    target = encode_target(targets, spec.task, raw.label_names, raw.source)
    _check_lengths(x, target, raw.source)
    x, y = _split(x, target, spec, raw.source)
    matrices, columns, said = _encode(x, raw)
    splits = {part: Split(matrices[part], y[part]) for part in PARTS}
    one_hot = None if columns is None else _one_hot(columns)
    scaling = fit_scaling(splits["train"].x, spec.scaling, leave=one_hot)
    return Dataset(
        name=raw.name,
        task=target.task,
        **splits,
        scaling=scaling,
        target_scaling=_target_scaling(splits["train"], target),
        labels=target.labels,
        fingerprint=fingerprint(splits, target.task, target.labels, scaling),
        features=_feature_names(raw, columns, matrices["train"]),
        columns=columns,
        notes=said,
    )


def _checked(raw: Raw) -> dict[str, Any]:
    """Every part's features: all pandas DataFrames, or all arrays of numbers alike in shape."""
    x = {part: pair.x for part, pair in raw.parts.items()}
    frames = [hasattr(value, "iloc") and getattr(value, "ndim", 0) == 2 for value in x.values()]
    if all(frames):
        return {
            part: value.set_axis([str(name) for name in value.columns], axis=1)
            for part, value in x.items()
        }
    if any(frames):
        raise DatasetError(f"{raw.source}: x is a DataFrame in one part only")
    arrays = check_parts(x, raw.features, raw.source)
    if arrays["train"].ndim > 2 or not any(map(has_missing, arrays.values())):
        return dict(arrays)
    return {part: _as_frame(array, raw.features) for part, array in arrays.items()}


def _as_frame(array: Features, features: tuple[str, ...] | None) -> Any:
    """A matrix with gaps as a table, so that there is one way of filling them."""
    import pandas as pd

    names = features or tuple(str(i + 1) for i in range(array.shape[1]))
    return pd.DataFrame(array, columns=pd.Index(names))


def _check_lengths(x: dict[str, Any], target: Target, source: str) -> None:
    for part, values in target.values.items():
        if len(x[part]) != len(values):
            raise DatasetError(
                f"{source}: x and y of {part} differ in length, {len(x[part])} and {len(values)}"
            )
    if target.labels:
        learnt = np.bincount(target.values["train"], minlength=len(target.labels))
        absent = [target.labels[i] for i in np.flatnonzero(learnt == 0)]
        if absent:
            raise DatasetError(
                f"{source}: no row of train is of class {', '.join(map(repr, absent))}, "
                "which another part holds"
            )


def _split(
    x: dict[str, Any], target: Target, spec: "DataSpec", source: str
) -> tuple[dict[str, Any], dict[str, TargetValues]]:
    """x and y of all three parts: those given, and the others drawn from train, the test first."""
    x, y = dict(x), dict(target.values)
    all_x, all_y = x["train"], y["train"]
    shares = {part: getattr(spec, part) for part in ("test", "validation") if part not in x}
    classes = all_y.astype(np.int32) if target.labels else np.zeros(len(all_y), np.int32)
    rows = draw_splits(classes, shares, spec.seed, target.labels, source)
    if shares:
        for part, chosen in rows.items():
            x[part] = all_x.iloc[chosen] if hasattr(all_x, "iloc") else all_x[chosen]
            y[part] = all_y[chosen]
    return x, y


def _encode(
    x: dict[str, Any], raw: Raw
) -> tuple[dict[str, Features], tuple[Column, ...] | None, tuple[str, ...]]:
    """Arrays of all parts in one dtype; of tables also the columns learnt and notes on them."""
    if not hasattr(x["train"], "iloc"):
        dtype = kept_dtype(list(x.values()))
        return {part: np.ascontiguousarray(x[part], dtype) for part in PARTS}, None, ()
    columns = learn_columns(x["train"], raw.source)
    matrices: dict[str, Features] = {part: encode(x[part], columns, raw.source) for part in PARTS}
    said = tuple(line for part in PARTS for line in notes(x[part], columns, part))
    return matrices, columns, said


def _one_hot(columns: tuple[Column, ...]) -> Any:
    return np.array([c.categories is not None for c in columns for _ in c.features])


def _feature_names(
    raw: Raw, columns: tuple[Column, ...] | None, train: Features
) -> tuple[str, ...] | None:
    if columns is not None:
        return tuple(name for column in columns for name in column.features)
    return raw.features if train.ndim == 2 else None


def _target_scaling(train: Split, target: Target) -> Scaling:
    if target.task != "regression":
        return IDENTITY
    fitted = fit_scaling(train.y[:, np.newaxis], "standardize")
    return Scaling("standardize", fitted.scale.reshape(()), fitted.offset.reshape(()))
