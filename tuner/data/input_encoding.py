"""One input: from its features as they were read to the rows that training takes."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tuner.data.arrays import Axes, check_parts, read_axes, smallest_dtype
from tuner.data.columns import ReadTable, read_columns
from tuner.data.dataset import PARTS, ColumnReport, InputKind, InputPart
from tuner.data.description import constant_notes, report_columns, report_targets
from tuner.data.example_rows import example_rows
from tuner.data.precision import (
    Wide,
    array_notes,
    find_offsets,
    may_lose_precision,
    needs_float64,
    sample_values,
    subtract_offsets,
    table_notes,
    table_samples,
    with_offsets,
)
from tuner.data.raw import FIRST_READING, Pair, Raw
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
from tuner.data.scaling import IDENTITY, Scaling, fill_gaps, fit_scaling, gap_notes, learn_gaps
from tuner.data.sequences import (
    as_kind,
    count_tokens,
    encode_padded,
    kind_of_columns,
    text_notes,
    text_rule,
    with_padded_sequences,
)
from tuner.data.several_inputs import SINGLE
from tuner.data.table_encoding import Table, TableRows, TextRule, encoding_notes, learn_columns
from tuner.data.target import Target
from tuner.data.windows import Windows
from tuner.errors import DatasetError
from tuner.preparation.encoding import Column
from tuner.settings import Settings
from tuner.values import join_names

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import DataSpec

# The features of each part: DataFrames or rows of numbers.
Features = dict[str, Any]


class _Encoded(NamedTuple):
    """The matrices of all parts. `original`: the training rows before they were encoded; None
    where nothing is said of lost values. `scaling`: where it is known already; the others as in
    InputPart."""

    matrices: dict[str, Rows]
    original: Any
    columns: tuple[Column, ...] | None = None
    notes: tuple[str, ...] = ()
    reports: tuple[ColumnReport, ...] = ()
    shift: Wide | None = None
    float64: bool = False
    axes: Axes = Axes()
    scaling: Scaling | None = None
    padding: tuple[float, ...] | None = None
    input_kind: InputKind = ""
    vocabulary_size: int = 0


class ReadInput(NamedTuple):
    """One input: its data, with the features of each part. `table`: its columns, of a table that
    was read by the present way. `is_padded`: sequences of different lengths (padding.py)."""

    raw: Raw
    x: Features
    has_gaps: bool
    table: ReadTable | None
    spec: "DataSpec"
    is_padded: bool = False
    notes: tuple[str, ...] = ()


def read_input(name: str, raw: Raw, spec: "DataSpec", raw_integers: bool) -> ReadInput:
    unpadded = raw
    raw, is_padded = with_padded_sequences(unpadded, spec)
    notes = () if raw is unpadded else raw.notes
    if is_padded:
        parts = {part: pair.x for part, pair in raw.parts.items()}
        return ReadInput(raw, parts, False, None, spec, True, notes)
    x, gaps = _checked(raw)
    if spec.kind is not None:
        x, spec = as_kind(x, spec, raw.source)
    # Only networks of a user's own take named inputs, and integers may be ids.
    if (raw_integers or name != SINGLE) and spec.scaling == "auto" and _are_integers(x.values()):
        spec = spec.model_copy(update={"scaling": "none"})
    if name != SINGLE:
        held = set(x["train"].columns) if hasattr(x["train"], "iloc") else set()
        kinds = {column: kind for column, kind in spec.columns.items() if column in held}
        spec = spec.model_copy(update={"columns": kinds})
    return ReadInput(raw, x, gaps, _read_table(x, raw, spec), spec, notes=notes)


def _checked(raw: Raw) -> tuple[Features, bool]:
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


def _read_table(x: Features, raw: Raw, spec: "DataSpec") -> ReadTable | None:
    """The columns of DataFrames; None for arrays, and for studies of the first reading."""
    if not hasattr(x["train"], "iloc"):
        if spec.columns:
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


def _read_first(x: Features, rows: dict[str, Indices], source: str) -> ReadTable:
    from tuner.data.first_reading import read_columns_first

    frame = x["train"]
    train = frame.iloc[rows["train"]] if rows else frame
    return read_columns_first(x, train, source)


class PreparedInput(NamedTuple):
    """One input as training takes it: its rows by part, and what `Dataset` says of it."""

    rows: dict[str, AnyRows]
    part: InputPart
    encoded: _Encoded
    ignored: tuple[str, ...]
    examples: Any

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.encoded.axes.notes, *self.encoded.notes)


def prepare_input(
    each: ReadInput, rows: dict[str, Indices], target: Target, settings: Settings
) -> PreparedInput:
    raw, x, spec, table = each.raw, each.x, each.spec, each.table
    # No offsets for studies that were made before these, nor for unscaled data.
    exact = spec.reading != FIRST_READING and spec.scaling != "none"
    if hasattr(x["train"], "iloc"):
        table = table or _read_first(x, rows, raw.source)
        encoded = _encode_table(table, rows, raw, target, settings, exact, text_rule(spec))
    elif each.is_padded:
        encoded = _encode_sequences(x, rows, spec, exact)
    elif each.has_gaps:
        encoded = _encode_gaps(x, rows, raw, exact)
    else:
        encoded = _encode_arrays(x, rows, spec, exact)
    matrices, columns = load_if_small(encoded.matrices), encoded.columns
    part = InputPart(
        _scaling(matrices["train"], spec, encoded),
        _feature_names(raw, columns, matrices["train"]),
        columns,
        encoded.reports,
        encoded.shift,
        encoded.float64,
        encoded.input_kind,
        encoded.vocabulary_size,
        encoded.padding,
    )
    examples = None
    if table is not None and columns is not None:
        taken = [column.name for column in columns]
        examples = example_rows(x["train"], taken, rows.get("train"))
    encoded = encoded._replace(notes=(*each.notes, *encoded.notes))
    return PreparedInput(matrices, part, encoded, _ignored(table, spec), examples)


def prepared_windows(windows: Windows) -> PreparedInput:
    """The windows over a table as the only input. They stay windows, whatever their size: in memory
    each row of the table is held once."""
    names = tuple(name for column in windows.columns for name in column.features)
    part = InputPart(
        windows.scaling,
        names,
        windows.columns,
        windows.reports,
        windows.shift,
        windows.float64,
        "sequence",
    )
    encoded = _Encoded({}, None, notes=windows.notes, axes=Axes(True))
    return PreparedInput(dict(windows.rows), part, encoded, (), None)


def _ignored(table: ReadTable | None, spec: "DataSpec") -> tuple[str, ...]:
    """The columns of the table that are no features: those left out, and that of weights."""
    if table is None:
        return ()
    return (*table.dropped, *([] if spec.weights is None else [spec.weights]))


def _encode_table(
    table: ReadTable,
    rows: dict[str, Indices],
    raw: Raw,
    target: Target,
    settings: Settings,
    exact: bool,
    texts: TextRule,
) -> _Encoded:
    """Encode the tables of all parts by the columns of the training rows."""
    cells = table.parts
    parts = {p: Table(cells["train"], rows[p]) if p in rows else Table(cells[p]) for p in PARTS}
    columns = learn_columns(parts["train"], table.columns, texts)
    if exact:
        columns = with_offsets(parts["train"], columns)
    matrices: dict[str, Rows] = {part: TableRows(t, columns) for part, t in parts.items()}
    if not is_small(sum(matrix.nbytes for matrix in matrices.values())):
        # Encoding is slow, and rows are read several times.
        matrices = {part: store_rows(m, settings, raw.source) for part, m in matrices.items()}
    lines = [*table.notes, *constant_notes(parts["train"], columns)]
    lines += text_notes(parts["train"], columns)
    lines += [line for part, t in parts.items() for line in encoding_notes(t, columns, part)]
    reports = report_columns(table, columns, report_targets(raw.parts["train"].y, target))
    shift = _shift_of(columns)
    float64 = shift is not None and needs_float64(table_samples(parts["train"], columns), shift)
    input_kind, vocabulary_size = kind_of_columns(columns, raw.source)
    return _Encoded(
        matrices,
        parts["train"],
        columns=columns,
        notes=tuple(lines),
        reports=reports,
        shift=shift,
        float64=float64,
        scaling=IDENTITY if input_kind == "tokens" else None,
        input_kind=input_kind,
        vocabulary_size=vocabulary_size,
    )


def _encode_sequences(
    x: Features, rows: dict[str, Indices], spec: "DataSpec", exact: bool
) -> _Encoded:
    """Fill padded sequences, and scale their channels by the steps that are there."""
    parts = {part: _choose_rows(x, rows, part) for part in PARTS}
    encoded = encode_padded(parts, spec.scaling, exact)
    return _Encoded(
        encoded.parts,
        None,
        shift=encoded.shift,
        axes=Axes(True),
        scaling=encoded.scaling,
        padding=encoded.padding,
        input_kind="sequence",
    )


def _encode_gaps(x: Features, rows: dict[str, Indices], raw: Raw, exact: bool) -> _Encoded:
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
    x: Features, rows: dict[str, Indices], spec: "DataSpec", exact: bool
) -> _Encoded:
    """Convert matrices without gaps, images and series to their smallest dtype."""
    parts = {part: _choose_rows(x, rows, part) for part in PARTS}
    axes = _read_axes(parts["train"], spec)
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
    encoded = _Encoded(matrices, parts["train"], axes=axes, shift=shift, float64=float64)
    if spec.kind == "tokens":
        size = count_tokens(x, spec.vocabulary, "x")
        return encoded._replace(input_kind="tokens", vocabulary_size=size)
    is_sequence = axes.by_channel and parts["train"].ndim == 3
    return encoded._replace(input_kind="sequence" if is_sequence else "")


def _read_axes(train: AnyRows, spec: "DataSpec") -> Axes:
    if spec.kind == "sequence":
        return Axes(by_channel=True)
    return read_axes(train) if spec.reading != FIRST_READING else Axes()


def _choose_rows(x: Features, rows: dict[str, Indices], part: str) -> ChosenRows:
    return ChosenRows(x["train"], rows[part]) if part in rows else ChosenRows(x[part])


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
    if any(column.is_tokens for column in columns or ()):
        return None  # a step has no meaning of its own
    if columns is not None:
        return tuple(name for column in columns for name in column.features)
    return raw.features if train.ndim == 2 or raw.has_channels else None


def _scaling(train: AnyRows, spec: "DataSpec", encoded: _Encoded) -> Scaling:
    if encoded.scaling is not None:
        return encoded.scaling
    one_hot = None if encoded.columns is None else _one_hot(encoded.columns)
    return fit_scaling(
        train,
        spec.scaling,
        one_hot,
        encoded.axes.by_channel,
        by_columns=spec.reading != FIRST_READING,
    )


def lost_values(each: PreparedInput) -> list[str]:
    part, train, original = each.part, each.rows["train"], each.encoded.original
    if original is None:
        return []
    if isinstance(original, Table):
        return table_notes(original, part.columns or (), train, part.scaling)
    return array_notes(original, train, part.scaling, part.features)
