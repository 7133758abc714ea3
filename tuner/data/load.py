"""The way from a source to a Dataset: read, check, encode the target, split, encode, scale."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.arrays import check_parts, kept_dtype
from tuner.data.dataset import PARTS, Dataset, Split, fingerprint
from tuner.data.gaps import filled, gap_notes, learn_gaps
from tuner.data.raw import Raw
from tuner.data.rows import AnyRows, ChosenRows, Indices, Rows, converted, is_small, settled
from tuner.data.scaling import IDENTITY, Scaling, fit_scaling
from tuner.data.scratch import stored
from tuner.data.sources import Source, find_source, read_source
from tuner.data.split import draw_splits
from tuner.data.tables import Column, Table, TableRows, learn_columns, notes
from tuner.data.target import Target, TargetValues, encode_target
from tuner.errors import DatasetError
from tuner.settings import Settings

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.spec import DataSpec


def load_dataset(
    spec: "DataSpec",
    settings: Settings,
    sources: Sequence[Source] = (),
    wanted: str | None = None,
    raw_integers: bool = False,
) -> Dataset:
    """Read, split and scale what `spec` names. Large features are not held in memory: they are read
    from where they lie each time that they are needed.

    A split that the source brings itself is kept as it is. `sources`: where the data may lie, if
    that was looked for already; the first is taken whose fingerprint is `wanted`, or else the first
    that can be loaded. `raw_integers`: scaling auto leaves matrices of integers as they are, which
    may be ids; `scaling.method` is none then. Raises DatasetError, one line, for a source that
    cannot be found, read or learnt from.
    """
    loaded: list[Dataset] = []
    problems: list[DatasetError] = []
    for source in sources or find_source(spec.source, settings):
        try:
            loaded.append(_load(source, spec, settings, raw_integers))
        except DatasetError as error:
            problems.append(error)
            continue
        if wanted in (None, loaded[-1].fingerprint):
            return loaded[-1]
    if not loaded:
        raise problems[0]
    return loaded[0]


def _load(source: Source, spec: "DataSpec", settings: Settings, raw_integers: bool) -> Dataset:
    raw = read_source(source, settings)
    x, gaps = _checked(raw)
    if raw_integers and spec.scaling == "auto" and _are_integers(x.values()):
        spec = spec.model_copy(update={"scaling": "none"})
    targets = {part: pair.y for part, pair in raw.parts.items()}
    target = encode_target(targets, spec.task, raw.label_names, raw.source)
    _check_lengths(x, target, raw.source)
    rows, y = _split(x, target, spec, raw.source)
    if hasattr(x["train"], "iloc"):
        encoded = _encode_table(x, rows, raw, settings)
    elif gaps:
        encoded = _encode_gaps(x, rows, raw)
    else:
        dtype = kept_dtype(list(x.values()))
        encoded = {part: converted(_chosen(x, rows, part), dtype) for part in PARTS}, None, ()
    return _dataset(raw, spec, target, y, *encoded)


def _dataset(
    raw: Raw,
    spec: "DataSpec",
    target: Target,
    y: dict[str, TargetValues],
    matrices: dict[str, Rows],
    columns: tuple[Column, ...] | None,
    said: tuple[str, ...],
) -> Dataset:
    splits = {part: Split(x, y[part]) for part, x in settled(matrices).items()}
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
        features=_feature_names(raw, columns, splits["train"].x),
        columns=columns,
        notes=said,
    )


def _checked(raw: Raw) -> tuple[dict[str, Any], bool]:
    """Every part's features: all pandas DataFrames, or all rows of numbers alike in shape, and
    whether these miss values."""
    x = {part: pair.x for part, pair in raw.parts.items()}
    frames = [hasattr(value, "iloc") and getattr(value, "ndim", 0) == 2 for value in x.values()]
    if all(frames):
        named = {
            part: value.set_axis([str(name) for name in value.columns], axis=1)
            for part, value in x.items()
        }
        return named, False
    if any(frames):
        raise DatasetError(f"{raw.source}: x is a DataFrame in one part only")
    return check_parts(x, raw.features, raw.source)


def _are_integers(parts: Iterable[Any]) -> bool:
    """Whether these are matrices of integers. Bytes are pixels."""
    return all(
        not hasattr(x, "iloc") and x.ndim == 2 and x.dtype.kind in "iu" and x.dtype != np.uint8
        for x in parts
    )


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
) -> tuple[dict[str, Indices], dict[str, TargetValues]]:
    """Which rows of train go to which part, the test first, where parts are to be drawn from it;
    and y of all three parts."""
    y = dict(target.values)
    all_y = y["train"]
    shares = {part: getattr(spec, part) for part in ("test", "validation") if part not in x}
    classes = all_y.astype(np.int32) if target.labels else np.zeros(len(all_y), np.int32)
    rows = draw_splits(classes, shares, spec.seed, target.labels, source)
    if not shares:
        return {}, y
    return rows, y | {part: all_y[chosen] for part, chosen in rows.items()}


def _chosen(x: dict[str, Any], rows: dict[str, Indices], part: str) -> ChosenRows:
    return ChosenRows(x["train"], rows[part]) if part in rows else ChosenRows(x[part])


_Encoded = tuple[dict[str, Rows], tuple[Column, ...] | None, tuple[str, ...]]


def _encode_table(
    x: dict[str, Any], rows: dict[str, Indices], raw: Raw, settings: Settings
) -> _Encoded:
    """Matrices of all parts, the columns learnt and notes on them."""
    parts = {p: Table(x["train"], rows[p]) if p in rows else Table(x[p]) for p in PARTS}
    columns = learn_columns(parts["train"], raw.source)
    matrices: dict[str, Rows] = {
        part: TableRows(table, columns, raw.source) for part, table in parts.items()
    }
    if not is_small(sum(matrix.nbytes for matrix in matrices.values())):
        # Encoding is slow, and the rows are read several times.
        matrices = {part: stored(m, settings, raw.source) for part, m in matrices.items()}
    said = tuple(line for part, table in parts.items() for line in notes(table, columns, part))
    return matrices, columns, said


def _encode_gaps(x: dict[str, Any], rows: dict[str, Indices], raw: Raw) -> _Encoded:
    """The same for matrices that miss values."""
    parts = {part: _chosen(x, rows, part) for part in PARTS}
    names = raw.features or tuple(str(i + 1) for i in range(x["train"].shape[1]))
    columns = learn_gaps(parts["train"], names)
    matrices = {part: filled(rows, columns) for part, rows in parts.items()}
    said = tuple(line for part, rows in parts.items() for line in gap_notes(rows, columns, part))
    return {**matrices}, columns, said


def _one_hot(columns: tuple[Column, ...]) -> Any:
    return np.array([c.categories is not None for c in columns for _ in c.features])


def _feature_names(
    raw: Raw, columns: tuple[Column, ...] | None, train: AnyRows
) -> tuple[str, ...] | None:
    if columns is not None:
        return tuple(name for column in columns for name in column.features)
    return raw.features if train.ndim == 2 else None


def _target_scaling(train: Split, target: Target) -> Scaling:
    if target.task != "regression":
        return IDENTITY
    fitted = fit_scaling(train.y[:, np.newaxis], "standardize")
    return Scaling("standardize", fitted.scale.reshape(()), fitted.offset.reshape(()))
