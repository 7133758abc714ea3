"""From a source to a Dataset: read, check, encode the target, split, encode, scale."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tuner.data.arrays import Axes, check_parts, read_axes, smallest_dtype, transposed_hint
from tuner.data.columns import ReadTable, read_columns
from tuner.data.dataset import (
    PARTS,
    ColumnReport,
    Dataset,
    Split,
    TargetColumn,
    draw_splits,
    fingerprint,
)
from tuner.data.description import constant_notes, leak_notes, report_columns, report_target
from tuner.data.example_rows import example_rows
from tuner.data.precision import (
    Wide,
    array_notes,
    find_offset,
    find_offsets,
    loss_note,
    may_lose_precision,
    needs_float64,
    sample_values,
    shift_notes,
    subtract_offsets,
    table_notes,
    table_samples,
    with_offsets,
)
from tuner.data.raw import FIRST_READING, Pair, Raw
from tuner.data.readers import find_source, read_source
from tuner.data.readers.reader import Source
from tuner.data.rows import (
    AnyRows,
    ChosenRows,
    Indices,
    Rows,
    convert_rows,
    is_small,
    load_if_small,
    store_rows,
)
from tuner.data.sample_weights import Weights, split_weights, take_weights
from tuner.data.scaling import IDENTITY, Scaling, fill_gaps, fit_scaling, gap_notes, learn_gaps
from tuner.data.table_encoding import Table, TableRows, encoding_notes, learn_columns
from tuner.data.target import Target, TargetValues, encode_target, read_targets
from tuner.errors import DatasetError
from tuner.preparation.encoding import Column
from tuner.settings import Settings
from tuner.values import join_names

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import DataSpec


def load_dataset(
    spec: "DataSpec",
    settings: Settings,
    sources: Sequence[Source] = (),
    wanted: str | None = None,
    raw_integers: bool = False,
) -> Dataset:
    """Read, split and scale what `spec` names. Large features are not held in memory: they are read
    from their file each time.

    Splits of the source itself are kept. `sources`: where the data may be, if that is known
    already; the first whose fingerprint is `wanted` is taken, else the first that can be loaded.
    `raw_integers`: scaling auto leaves matrices of integers unscaled, since they may be ids;
    `scaling.method` is none then. Raises DatasetError, one line, for a source that cannot be
    found, read or learnt from.
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


# The features of each part: DataFrames or rows of numbers.
_Features = dict[str, Any]


class _Encoded(NamedTuple):
    """The matrices of all parts. `original`: the training rows before they were encoded."""

    matrices: dict[str, Rows]
    original: Any
    columns: tuple[Column, ...] | None = None
    notes: tuple[str, ...] = ()
    reports: tuple[ColumnReport, ...] = ()
    shift: Wide | None = None
    float64: bool = False
    axes: Axes = Axes()


def _load(source: Source, spec: "DataSpec", settings: Settings, raw_integers: bool) -> Dataset:
    raw, weights = take_weights(read_source(source, settings, spec), spec)
    x, gaps = _checked(raw)
    if raw_integers and spec.scaling == "auto" and _are_integers(x.values()):
        spec = spec.model_copy(update={"scaling": "none"})
    table = _read_table(x, raw, spec)
    target = _target(raw, spec, table)
    _check_lengths(x, target, raw.source)
    rows, y = _split(x, target, spec, raw.source)
    # No offsets for studies that were made before these, nor for unscaled data.
    exact = spec.reading != FIRST_READING and spec.scaling != "none"
    if hasattr(x["train"], "iloc"):
        table = table or _read_first(x, rows, raw.source)
        encoded = _encode_table(table, rows, raw, target, settings, exact)
    elif gaps:
        encoded = _encode_gaps(x, rows, raw, exact)
    else:
        encoded = _encode_arrays(x, rows, spec, exact)
    dataset = _dataset(raw, spec, target, y, encoded, split_weights(weights, rows, raw.source))
    names = TargetColumn(_target_name(raw), target.format, _ignored(table, raw, spec), spec.weights)
    examples = None
    if table is not None and encoded.columns is not None:
        taken = [column.name for column in encoded.columns]
        examples = example_rows(x["train"], taken, rows.get("train"))
    return replace(
        dataset,
        target_column=names,
        examples=examples,
        image_files=raw.image_files,
        skipped=raw.skipped,
    )


def _target_name(raw: Raw) -> str | None:
    name = getattr(raw.parts["train"].y, "name", None)
    return None if name is None else str(name)


def _ignored(table: ReadTable | None, raw: Raw, spec: "DataSpec") -> tuple[str, ...]:
    """The columns of the table that are no features: those left out, and that of weights."""
    if table is None and not raw.left_out:
        return ()
    dropped = raw.left_out if table is None else table.dropped
    return (*dropped, *([] if spec.weights is None else [spec.weights]))


def _dataset(
    raw: Raw,
    spec: "DataSpec",
    target: Target,
    y: dict[str, TargetValues],
    encoded: _Encoded,
    weights: Mapping[str, Weights],
) -> Dataset:
    y32, target_shift = _target_as_trained(y, target, spec)
    splits = {
        part: Split(x, y32[part], weights.get(part))
        for part, x in load_if_small(encoded.matrices).items()
    }
    columns, by_channel = encoded.columns, encoded.axes.by_channel
    scaling = _scaling(splits["train"], spec, encoded)
    dataset = Dataset(
        name=raw.name,
        task=target.task,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        scaling=scaling,
        target_scaling=_target_scaling(splits["train"], target),
        labels=target.labels,
        fingerprint=fingerprint(
            splits, target.task, target.labels, scaling, (encoded.shift, target_shift), by_channel
        ),
        features=_feature_names(raw, columns, splits["train"].x),
        columns=columns,
        notes=(*raw.notes, *target.notes, *encoded.axes.notes, *encoded.notes),
        shift=encoded.shift,
        target_shift=target_shift,
        float64_inputs=encoded.float64,
        reports=encoded.reports,
    )
    if spec.reading == FIRST_READING:
        return dataset
    warnings = _warn_of_losses(dataset, encoded, y["train"])
    return replace(dataset, notes=(*warnings, *dataset.notes))


def _scaling(train: Split, spec: "DataSpec", encoded: _Encoded) -> Scaling:
    one_hot = None if encoded.columns is None else _one_hot(encoded.columns)
    return fit_scaling(
        train.x,
        spec.scaling,
        one_hot,
        encoded.axes.by_channel,
        by_columns=spec.reading != FIRST_READING,
    )


def _warn_of_losses(dataset: Dataset, encoded: _Encoded, y: TargetValues) -> list[str]:
    """Notes on values that training cannot tell apart, and on features that leak the target."""
    train, scaling = dataset.train, dataset.scaling
    offset_notes = shift_notes(
        dataset.shift, dataset.target_shift, train.x, dataset.features, dataset.float64_inputs
    )
    if isinstance(encoded.original, Table):
        columns = encoded.columns or ()
        losses = table_notes(encoded.original, columns, train.x, scaling)
    else:
        losses = array_notes(encoded.original, train.x, scaling, dataset.features)
    if not dataset.labels:
        line = dataset.target_scaling
        losses.append(loss_note("the target", y, train.y, float(line.scale), float(line.offset)))
    return [
        *offset_notes,
        *filter(None, losses),
        *leak_notes(train, dataset.columns, dataset.features),
    ]


def _target_as_trained(
    y: dict[str, TargetValues], target: Target, spec: "DataSpec"
) -> tuple[dict[str, Any], float]:
    """y as training takes it, and what was subtracted from it."""
    if target.labels:
        return dict(y), 0.0
    shift = find_offset(y["train"].astype(np.float64)) if spec.reading != FIRST_READING else 0.0
    return {part: (values - shift).astype(np.float32) for part, values in y.items()}, shift


def _checked(raw: Raw) -> tuple[_Features, bool]:
    """The features of every part: all DataFrames, or all rows of numbers of one shape; and whether
    the rows of numbers miss values."""
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


def _check_lengths(x: _Features, target: Target, source: str) -> None:
    for part, values in target.values.items():
        if len(x[part]) != len(values):
            raise DatasetError(
                f"{source}: x and y of {part} differ in length, {len(x[part])} and {len(values)}"
                + transposed_hint(x[part].shape, len(values))
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
    x: _Features, target: Target, spec: "DataSpec", source: str
) -> tuple[dict[str, Indices], dict[str, TargetValues]]:
    """The row numbers of each part that is split off from train, and y of all three parts. The test
    split comes first."""
    y = dict(target.values)
    all_y = y["train"]
    shares = {part: getattr(spec, part) for part in ("test", "validation") if part not in x}
    classes = all_y.astype(np.int32) if target.labels else np.zeros(len(all_y), np.int32)
    rows = draw_splits(classes, shares, spec.seed, target.labels, source)
    if not shares:
        return {}, y
    return rows, y | {part: all_y[chosen] for part, chosen in rows.items()}


def _choose_rows(x: _Features, rows: dict[str, Indices], part: str) -> ChosenRows:
    return ChosenRows(x["train"], rows[part]) if part in rows else ChosenRows(x[part])


def _read_table(x: _Features, raw: Raw, spec: "DataSpec") -> ReadTable | None:
    """The columns of DataFrames; None for arrays, and for studies of the first reading."""
    if not hasattr(x["train"], "iloc"):
        if spec.columns and spec.images is None:
            names = join_names(spec.columns)
            raise DatasetError(
                f"{raw.source}: holds no table; columns can be named of tables alone, not {names}"
            )
        return None
    if spec.reading == FIRST_READING:
        return None
    twice = sorted(set(x["train"].columns[x["train"].columns.duplicated()]))
    if twice:
        raise DatasetError(f"{raw.source}: several columns are named {join_names(twice)}")
    for part, pair in raw.parts.items():
        check_order(raw.source, part, pair)
    target = getattr(raw.parts["train"].y, "name", None)
    kinds = {
        name: kind for name, kind in spec.columns.items() if (name, kind) != (target, "target")
    }
    return read_columns(x, kinds)


def check_order(source: str, part: str, pair: Pair) -> None:
    """Raises DatasetError if x and y have the same index in different orders: rows are paired by
    position."""
    if not (hasattr(pair.x, "iloc") and hasattr(pair.y, "iloc")) or len(pair.x) != len(pair.y):
        return
    x, y = pair.x.index, pair.y.index
    if not x.equals(y) and x.is_unique and y.is_unique and len(x.intersection(y)) == len(x):
        raise DatasetError(
            f"{source}: x and y of {part} have the same index in another order, and rows "
            "are paired by position; give y.loc[x.index]"
        )


def _read_first(x: _Features, rows: dict[str, Indices], source: str) -> ReadTable:
    from tuner.data.first_reading import read_columns_first

    frame = x["train"]
    train = frame.iloc[rows["train"]] if rows else frame
    return read_columns_first(x, train, source)


def _target(raw: Raw, spec: "DataSpec", table: ReadTable | None) -> Target:
    """The target, encoded. Raises one DatasetError with the problems of target and columns."""
    targets: dict[str, Any] = {part: pair.y for part, pair in raw.parts.items()}
    problems = list(table.problems) if table else []
    notes: tuple[str, ...] = ()
    format_ = None
    try:
        if spec.reading != FIRST_READING:
            targets, notes, format_ = read_targets(targets, spec.task)
        target = encode_target(targets, spec.task, raw.label_names, raw.source)
    except DatasetError as error:
        problems.insert(0, str(error).removeprefix(f"{raw.source}: "))
    if problems:
        raise DatasetError(f"{raw.source}: {'; '.join(problems)}")
    return replace(target, notes=notes, format=format_)


def _encode_table(
    table: ReadTable,
    rows: dict[str, Indices],
    raw: Raw,
    target: Target,
    settings: Settings,
    exact: bool,
) -> _Encoded:
    """Encode the tables of all parts by the columns of the training rows."""
    cells = table.parts
    parts = {p: Table(cells["train"], rows[p]) if p in rows else Table(cells[p]) for p in PARTS}
    columns = learn_columns(parts["train"], table.columns)
    if exact:
        columns = with_offsets(parts["train"], columns)
    matrices: dict[str, Rows] = {part: TableRows(t, columns) for part, t in parts.items()}
    if not is_small(sum(matrix.nbytes for matrix in matrices.values())):
        # Encoding is slow, and rows are read several times.
        matrices = {part: store_rows(m, settings, raw.source) for part, m in matrices.items()}
    lines = [*table.notes, *constant_notes(parts["train"], columns)]
    lines += [line for part, t in parts.items() for line in encoding_notes(t, columns, part)]
    reports = report_columns(table, columns, report_target(raw.parts["train"].y, target))
    shift = _shift_of(columns)
    float64 = shift is not None and needs_float64(table_samples(parts["train"], columns), shift)
    return _Encoded(
        matrices,
        parts["train"],
        columns=columns,
        notes=tuple(lines),
        reports=reports,
        shift=shift,
        float64=float64,
    )


def _encode_gaps(x: _Features, rows: dict[str, Indices], raw: Raw, exact: bool) -> _Encoded:
    """Fill the gaps of matrices by the medians of the training rows."""
    parts = {part: _choose_rows(x, rows, part) for part in PARTS}
    names = raw.features or tuple(str(i + 1) for i in range(x["train"].shape[1]))
    columns = learn_gaps(parts["train"], names)
    shift = find_offsets(parts["train"], by_channel=False) if exact else None
    if shift is not None:
        pairs = zip(columns, shift, strict=True)
        columns = tuple(replace(column, offset=float(value)) for column, value in pairs)
    matrices: dict[str, Rows] = {part: fill_gaps(rows, columns) for part, rows in parts.items()}
    gap_lines = tuple(
        line for part, rows in parts.items() for line in gap_notes(rows, columns, part)
    )
    float64 = _takes_float64(parts["train"], shift)
    return _Encoded(
        matrices, parts["train"], columns=columns, notes=gap_lines, shift=shift, float64=float64
    )


def _encode_arrays(
    x: _Features, rows: dict[str, Indices], spec: "DataSpec", exact: bool
) -> _Encoded:
    """Convert matrices without gaps, images and series to their smallest dtype."""
    parts = {part: _choose_rows(x, rows, part) for part in PARTS}
    axes = read_axes(parts["train"]) if spec.reading != FIRST_READING else Axes()
    dtype = smallest_dtype(list(x.values()))
    shift = (
        find_offsets(parts["train"], axes.by_channel)
        if exact and may_lose_precision(dtype)
        else None
    )
    matrices = {
        part: convert_rows(rows, dtype) if shift is None else subtract_offsets(rows, shift)
        for part, rows in parts.items()
    }
    float64 = _takes_float64(parts["train"], shift)
    return _Encoded(matrices, parts["train"], axes=axes, shift=shift, float64=float64)


def _takes_float64(train: AnyRows, shift: Wide | None) -> bool:
    return shift is not None and needs_float64(sample_values(train, shift.ndim > 0), shift)


def _shift_of(columns: tuple[Column, ...]) -> Wide | None:
    shift = np.array([c.offset for c in columns for _ in c.features], np.float64)
    return shift if shift.any() else None


def _one_hot(columns: tuple[Column, ...]) -> Any:
    return np.array([c.is_one_hot for c in columns for _ in c.features])


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
