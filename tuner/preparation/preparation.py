"""The preparation of a network: how raw rows become the arrays that it takes.

Learnt from the training rows and saved with the network, so that later rows are read, filled and
encoded as these were. Scaling and offsets are layers of the saved network itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.errors import DatasetError
from tuner.preparation.array_rows import check_values, fit_shape, scale_note
from tuner.preparation.cells import Cells, first_row_of
from tuner.preparation.encoding import Column, column_writer, how_filled
from tuner.preparation.known_columns import match_categories, read_cells_as, read_known_columns
from tuner.preparation.number_texts import NumberFormat
from tuner.preparation.padding import (
    as_padded_rows,
    as_sequences,
    check_tokens,
    fill_padding,
    pad_tokens,
    rows_of_columns,
)
from tuner.preparation.raw_rows import as_frame, as_numbers, is_frame, with_index_columns
from tuner.preparation.text_columns import AS_TYPED, CellFormat, UnclearColumn
from tuner.preparation.window_rule import (
    WindowedTable,
    WindowRule,
    order_rows,
    read_ordered_cells,
)
from tuner.values import clipped, describe_lacking, differing_lengths, join_names, suggest_names

if TYPE_CHECKING:  # pandas takes half a second to import: only tables pay it
    import pandas as pd

_ROWS_AT_ONCE = 8192

# Lines on columns that people read; more columns are counted.
_MOST_LINES = 20
# So many different unseen categories of a column are counted; further ones only in all.
_MOST_TEXTS = 1000
_SHOWN_TEXTS = 3


@dataclass
class Findings:
    """What rows have shown while they were prepared. Those of blocks of rows add up.

    `gaps`, `unseen`: by column, how many cells had no value, or a category that no training row
    had. `filled`: what stands in for a gap, by column. `unseen_texts`: how many cells hold each
    unseen category, by column. `notes`: one line each, in order, each once.
    """

    rows: int = 0
    gaps: dict[str, int] = field(default_factory=dict)
    unseen: dict[str, int] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    filled: dict[str, str] = field(default_factory=dict)
    unseen_texts: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, other: "Findings") -> None:
        self.rows += other.rows
        _add_counts(self.gaps, other.gaps)
        _add_counts(self.unseen, other.unseen)
        for name, counts in other.unseen_texts.items():
            _add_counts(self.unseen_texts.setdefault(name, {}), counts, _MOST_TEXTS)
        self.filled |= other.filled
        self.notes |= other.notes

    def __str__(self) -> str:
        return "\n".join(self.lines()) or "nothing to report"

    def lines(self) -> list[str]:
        """For people: the notes, then columns with gaps and with unseen categories, by share."""
        gaps = [
            f"{name}: no value in {self._share(count)}, {self.filled[name]}"
            for name, count in _by_count(self.gaps)
        ]
        unseen = [f"{self.describe_unseen(name)}; all zeros" for name, _ in _by_count(self.unseen)]
        return [*self.notes, *_first_lines(gaps), *_first_lines(unseen)]

    def describe_unseen(self, name: str) -> str:
        """A column's categories that no training row had, the most common ones by name."""
        texts = _by_count(self.unseen_texts.get(name, {}))
        shown = ", ".join(f"{clipped(text, 24)!r} {count}" for text, count in texts[:_SHOWN_TEXTS])
        more = ", …" if len(texts) > _SHOWN_TEXTS else ""
        return (
            f"{name}: categories that no training row had in {self._share(self.unseen[name])}: "
            f"{shown}{more}"
        )

    def _share(self, count: int) -> str:
        rows = f"{count} of {self.rows} row{'s' * (self.rows != 1)}"
        return f"{rows} ({100 * count / max(1, self.rows):.3g} %)"


def _add_counts(mine: dict[str, int], theirs: Mapping[str, int], most: int | None = None) -> None:
    for name, count in theirs.items():
        if name in mine or most is None or len(mine) < most:
            mine[name] = mine.get(name, 0) + count


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most common ones first; equally common ones in their order."""
    return sorted(counts.items(), key=lambda item: -item[1])


def _first_lines(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"… and {more} more columns"] if more > 0 else [])]


@dataclass(frozen=True, eq=False)
class Prepared:
    """`inputs`: (n, *input_shape), what the network takes; of several inputs a dict by name.
    `findings`: of these rows. `ends`: of windows the number of the row in which each ends; None
    where each row is one of the inputs."""

    inputs: Any
    findings: Findings
    ends: npt.NDArray[np.intp] | None = None

    def index_of(self, rows: Any) -> Any:
        """The index of the DataFrame that was prepared; of anything else the numbers of rows."""
        is_table = hasattr(rows, "iloc") and rows.ndim == 2
        if self.ends is None:
            return rows.index if is_table else range(self.findings.rows)
        return rows.index[self.ends] if is_table else self.ends


@dataclass(frozen=True)
class ImageFiles:
    """That the training rows were decoded from image files of any size: later files are resized and
    converted in the same way. `column`: that of a table with their paths; None for a folder."""

    column: str | None = None


@dataclass(frozen=True)
class Preparation:
    """How raw rows become what a network takes: arrays (n, *input_shape) of `input_dtype`, not
    scaled.

    `columns`: how each column of a table is encoded, or of a matrix whose training rows had gaps;
    None for other arrays. `is_table`: whether rows are given by the names of their columns.
    `features`: the names of a matrix' columns. `value_range`: the lowest and highest value of
    sampled training rows; None for tables.

    `inputs`: of several inputs how each is prepared, by name; `input_shape` is a dict then, and
    `is_table` says whether all of them are columns of one table.

    `target`: the name of the target column; None where data have no names, or several targets.
    `target_format`: how its texts are numbers, where they are. `ignored`: further columns of the
    training data that the network does not take. `weights`: the one of them that weighed the
    training rows.

    `padding`: rows are sequences of different lengths, which are padded with these values of their
    channels (padding.py); `features` are the channels' names then, where they have any.
    `window`: rows are windows over the rows of a table, whose columns become channels.
    `vocabulary_size`: rows of arrays are numbers of words below it; 0 for others.
    `image_files`: None for rows that were given as numbers.
    """

    input_shape: Any  # tuple[int, ...], or name → such
    input_dtype: str = "float32"
    columns: tuple[Column, ...] | None = None
    is_table: bool = False
    features: tuple[str, ...] | None = None
    value_range: tuple[float, float] | None = None
    target: str | None = None
    target_format: NumberFormat | None = None
    ignored: tuple[str, ...] = ()
    weights: str | None = None
    padding: tuple[float, ...] | None = None
    vocabulary_size: int = 0
    window: WindowRule | None = None
    inputs: "Mapping[str, Preparation]" = field(default_factory=dict)

    @property
    def row_values(self) -> int:
        """How many values a row has, in all inputs."""
        if self.inputs:
            return sum(part.row_values for part in self.inputs.values())
        return math.prod(self.input_shape)

    image_files: ImageFiles | None = None

    @property
    def every_column(self) -> tuple[Column, ...]:
        """The columns of all inputs; none for arrays without gaps."""
        parts = self.inputs.values() or (self,)
        return tuple(column for part in parts for column in part.columns or ())

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that rows must have, where rows are given by names; () for arrays whose
        columns have no names."""
        if self.inputs:
            parts = self.inputs.values() if self.is_table else ()
            return tuple(name for part in parts for name in part.names)
        if self.is_table:
            beside = () if self.window is None else self.window.beside
            return tuple(dict.fromkeys((*(c.name for c in self.columns or ()), *beside)))
        return self.features or ()

    def prepare(
        self, rows: Any, source: str = "data", strict: bool = False, first_row: int = 0
    ) -> Prepared:
        """`rows`: a DataFrame for a table (also of another library, an Arrow table, a dict of
        columns, one row as a dict or Series), else an array (n, *input_shape), or one row of that
        shape; a DataFrame also for a matrix. `source` begins every message. `strict`: refuse
        categories that no training row had. `first_row`: how many rows of the source came before
        these, for messages; DataFrames tell it by their index.

        Raises DatasetError for columns that are missing, values that cannot be what the training
        rows were, arrays of another shape, and no rows at all.
        """
        if self.inputs:
            prepared = self._prepare_inputs(rows, source, first_row)
        elif self.window is not None:
            prepared = self._prepare_windows(rows, source)
        elif self.is_table:
            prepared = self._prepare_table(rows, source)
        else:
            prepared = self._prepare_array(rows, source, first_row)
        if not prepared.findings.rows:
            raise DatasetError(f"{source}: holds no rows")
        if strict and prepared.findings.unseen:
            findings = prepared.findings
            columns = "; ".join(map(findings.describe_unseen, findings.unseen))
            raise DatasetError(f"{source}: {columns}; leave strict out to predict these rows too")
        return prepared

    def _prepare_windows(self, rows: Any, source: str) -> Prepared:
        if isinstance(rows, np.ndarray) and rows.shape[1:] == self.input_shape:
            return Prepared(rows, Findings(len(rows)))
        table = self.find_windows(rows, source)
        findings = replace(table.findings, rows=len(table.starts))
        return Prepared(table.windows(), findings, table.ends)

    def find_windows(self, rows: Any, source: str) -> WindowedTable:
        """The windows over the rows of a table, each ending in another row. Raises DatasetError as
        `prepare`, and for fewer rows than a window has."""
        assert self.window is not None
        rule, frame = self.window, self._as_frame(rows, source)
        prepared = self._prepare_table(frame, source)
        series, times = (
            None if name is None else read_ordered_cells(frame[name])
            for name in (rule.series, rule.time)
        )
        ordered = order_rows(len(frame), series, times, rule, source)
        starts = ordered.starts(np.ones(len(frame), np.bool_), rule.steps)
        if not len(starts):
            raise DatasetError(
                f"{source}: has {len(frame)} rows, and the network forecasts from {rule.steps} of "
                "one series"
            )
        base = prepared.inputs[ordered.order]
        return WindowedTable(base, starts, ordered, rule, prepared.findings)

    def _prepare_inputs(self, rows: Any, source: str, first_row: int) -> Prepared:
        """Each input by itself; `inputs` of the result are arrays by name."""
        findings = Findings()
        if self.is_table:
            raw_inputs, notes = self._tables_of(rows, source)
            findings.notes |= dict.fromkeys(notes)
        else:
            raw_inputs = self._arrays_of(rows, source)
        prepared = {}
        for name, part in self.inputs.items():
            of_input = f"{source}: input {name}" if not self.is_table else source
            prepared[name] = part.prepare(raw_inputs[name], of_input, first_row=first_row)
        lengths = {name: len(each.inputs) for name, each in prepared.items()}
        if counts := differing_lengths(lengths):
            raise DatasetError(f"{source}: the inputs differ in length: {counts}")
        for each in prepared.values():
            findings.add(each.findings)
        findings.rows = next(iter(lengths.values()))
        return Prepared({name: each.inputs for name, each in prepared.items()}, findings)

    def _tables_of(self, rows: Any, source: str) -> tuple[dict[str, Any], list[str]]:
        """The columns of each input, of rows of one table."""
        self._check_is_frame(rows, source)
        frame = with_index_columns(as_frame(rows, source), self.names)
        notes = self.check_names(list(frame.columns), source)
        return {name: frame[list(part.names)] for name, part in self.inputs.items()}, notes

    def _arrays_of(self, rows: Any, source: str) -> dict[str, Any]:
        """The rows of each input by its name."""
        if not isinstance(rows, Mapping):
            names = ", ".join(f"{name!r}: …" for name in self.inputs)
            raise DatasetError(
                f"{source}: the network takes {len(self.inputs)} inputs; give a dict {{{names}}}"
            )
        arrays = {str(name): value for name, value in rows.items()}
        if lacking := [name for name in self.inputs if name not in arrays]:
            raise DatasetError(
                f"{source}: {describe_lacking(lacking, 'input')}; there are "
                f"{join_names(arrays) or 'none'}"
            )
        return arrays

    def _check_is_frame(self, rows: Any, source: str) -> None:
        if not is_frame(rows):
            raise DatasetError(
                f"{source}: the network takes a table with the columns {join_names(self.names)}; "
                "give a DataFrame"
            )

    def _as_frame(self, rows: Any, source: str) -> "pd.DataFrame":
        self._check_is_frame(rows, source)
        return with_index_columns(as_frame(rows, source), self.names)

    def _prepare_table(self, rows: Any, source: str) -> Prepared:
        frame = self._as_frame(rows, source)
        findings = Findings(notes=dict.fromkeys(self.check_names(list(frame.columns), source)))
        columns = self.columns or ()
        cells, problems = read_known_columns(frame, columns)
        if problems:
            raise DatasetError(f"{source}: {'; '.join(problems)}")
        for column in columns:
            if column.kind == "category":
                matched = match_categories(cells[column.name], column.categories or ())
                cells[column.name] = matched
        return Prepared(self._encode(cells, len(frame)), self._count(cells, len(frame), findings))

    def check_names(self, names: Sequence[str], source: str) -> list[str]:
        """Notes on columns that the network does not take, of rows with these columns. Raises
        DatasetError for columns that are missing, or there twice."""
        if not names:
            raise DatasetError(f"{source}: has no columns")
        others = [name for name in names if name not in self.names]
        lacking = [name for name in self.names if name not in names]
        if lacking:
            raise DatasetError(f"{source}: {_lacking(lacking, others)}")
        twice = sorted({name for name in self.names if names.count(name) > 1})
        if twice:
            raise DatasetError(
                f"{source}: several columns are named {join_names(map(repr, twice))}; rename or "
                "remove all but one"
            )
        notes = []
        if self.target in others:
            notes.append(f"column {self.target!r} is the target: it is ignored")
        extra = [name for name in others if name not in (self.target, *self.ignored)]
        if extra:
            notes.append(f"columns that the network does not take: {join_names(extra)}")
        return notes

    def _encode(self, cells: Mapping[str, Cells], rows: int) -> npt.NDArray[Any]:
        # The network subtracts the offsets itself.
        columns = [replace(column, offset=0.0) for column in self.columns or ()]
        inputs = np.zeros((rows, self.input_shape[-1]), self.input_dtype)
        writers = [column_writer(column, cells[column.name]) for column in columns]
        starts = np.cumsum([0, *(len(column.features) for column in columns)]).tolist()
        for begin in range(0, rows, _ROWS_AT_ONCE):
            block = slice(begin, begin + _ROWS_AT_ONCE)
            for number, write in enumerate(writers):
                write(block, inputs[block, starts[number] : starts[number + 1]])
        return inputs

    def _count(self, cells: Mapping[str, Cells], rows: int, findings: Findings) -> Findings:
        findings.rows = rows
        for column in self.columns or ():
            held = cells[column.name]
            if gaps := int(np.count_nonzero(held.gaps())):
                findings.gaps[column.name] = gaps
                findings.filled[column.name] = how_filled(column)
            if column.kind == "category":
                seen = set(column.categories or ())
                new = [number for number, text in enumerate(held.texts) if text not in seen]
                counts = held.counts()[new] if new else np.zeros(0, np.int64)
                if unseen := int(counts.sum()):
                    findings.unseen[column.name] = unseen
                    texts = {
                        held.texts[n]: c for n, c in zip(new, counts.tolist(), strict=True) if c
                    }
                    findings.unseen_texts[column.name] = dict(_by_count(texts)[:_MOST_TEXTS])
        return findings

    def _prepare_sequences(self, rows: Any, source: str, first_row: int) -> Prepared:
        notes: list[str] = []
        if is_frame(rows):
            frame = with_index_columns(as_frame(rows, source), self.names)
            names, notes = self.choose_columns(list(frame.columns), source)
            first_row = first_row_of(frame)
            rows = rows_of_columns(frame, names)
        steps, padding = self.input_shape[0], self.padding or ()
        padded = as_padded_rows(rows, steps, len(padding), source, first_row)
        inputs = fill_padding(padded, padding).astype(self.input_dtype)
        return Prepared(inputs, Findings(len(inputs), notes=dict.fromkeys(notes)))

    def _prepare_array(self, rows: Any, source: str, first_row: int) -> Prepared:
        if self.padding is not None:
            return self._prepare_sequences(rows, source, first_row)
        if self.vocabulary_size and (sequences := as_sequences(rows)) is not None:
            rows = pad_tokens(sequences, self.input_shape[0])
        notes: list[str] = []
        if is_frame(rows):
            frame = with_index_columns(as_frame(rows, source), self.names)
            values, notes = self._matrix_of(frame, source)
            first_row = first_row_of(frame)
        else:
            values = as_numbers(rows, source)
        names = self.features or ()
        values = fit_shape(values, self.input_shape, names, source)
        may_miss = self.columns is not None  # the training rows had gaps
        has_gaps = check_values(values, may_miss, names, source, first_row)
        if note := scale_note(values, self.input_shape, self.value_range):
            notes.append(note)
        inputs = values.astype(self.input_dtype)
        if self.vocabulary_size:
            check_tokens(inputs, self.vocabulary_size, source, first_row)
        findings = Findings(len(values), notes=dict.fromkeys(notes))
        for number, column in enumerate(self.columns or () if has_gaps else ()):
            gaps = np.isnan(inputs[:, number])
            if gaps.any():
                findings.gaps[column.name] = int(gaps.sum())
                findings.filled[column.name] = how_filled(column)
                inputs[gaps, number] = column.fill
        return Prepared(inputs, findings)

    def choose_columns(self, names: Sequence[str], source: str) -> tuple[list[str], list[str]]:
        """Of rows with these columns, those that the network takes, in its order, and notes. A
        matrix whose columns have no known names takes them in their order.

        Raises DatasetError for columns that are missing or too many, and for a network of images.
        """
        if self.is_table:
            return list(self.names), self.check_names(names, source)
        if self.padding is not None and self.names:
            return list(self.names), self.check_names(names, source)
        if self.inputs:
            raise DatasetError(
                f"{source}: is a table; the network takes arrays named {join_names(self.inputs)}"
            )
        if len(self.input_shape) != 1:
            shape = " x ".join(map(str, self.input_shape))
            raise DatasetError(f"{source}: is a table; the network takes arrays of {shape} values")
        others = [name for name in names if name != self.target and name not in self.ignored]
        if self.names and (set(self.names) & set(others) or len(others) != len(self.names)):
            return list(self.names), self.check_names(names, source)
        if len(others) != self.input_shape[0]:
            raise DatasetError(
                f"{source}: has {len(others)} columns ({join_names(others)}), the network takes "
                f"{self.input_shape[0]}"
            )
        return others, [f"columns are taken in their order: {join_names(others)}"]

    def _matrix_of(self, frame: "pd.DataFrame", source: str) -> tuple[npt.NDArray[Any], list[str]]:
        names, notes = self.choose_columns(list(frame.columns), source)
        return np.stack([_numbers(frame[name], source) for name in names], axis=1), notes

    def to_json(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Preparation":
        shape, inputs = content["input_shape"], content.get("inputs", {})
        columns, value_range = content["columns"], content["value_range"]
        number = content["target_format"]
        changes = {
            "input_shape": {name: tuple(each) for name, each in shape.items()}
            if isinstance(shape, Mapping)
            else tuple(shape),
            "inputs": {name: cls.from_json(part) for name, part in inputs.items()},
            "columns": None if columns is None else tuple(map(column_from_json, columns)),
            "features": None if content["features"] is None else tuple(content["features"]),
            "value_range": None if value_range is None else tuple(value_range),
            "target_format": None if number is None else NumberFormat(**number),
            "ignored": tuple(content["ignored"]),
            "image_files": None
            if (files := content.get("image_files")) is None
            else ImageFiles(**files),
            "window": WindowRule.from_json(content.get("window")),
            "padding": None if content.get("padding") is None else tuple(content["padding"]),
        }
        return cls(**{**content, **changes})


def column_from_json(content: Mapping[str, Any]) -> Column:
    """A column from what `dataclasses.asdict` made of it."""
    form, categories = content["format"], content["categories"]
    number = form["number"]
    changes = {
        "categories": None if categories is None else tuple(categories),
        "parts": tuple(content["parts"]),
        "format": CellFormat(number and NumberFormat(**number), form["order"]),
        "idf": None if content.get("idf") is None else tuple(content["idf"]),
    }
    return Column(**{**content, **changes})


def _lacking(lacking: Sequence[str], others: Sequence[str]) -> str:
    """A message about missing columns: the nearest of the other columns."""
    meant = [suggest_names(name, others) for name in lacking]
    named = [f"{name}{near}" for name, near in zip(lacking, meant, strict=True)]
    there = f"; others are {join_names(others)}" if others and not all(meant) else ""
    return f"{describe_lacking(named)}{there}"


def _numbers(series: "pd.Series[Any]", source: str) -> npt.NDArray[Any]:
    try:
        return read_cells_as(series, "number", AS_TYPED).values.astype(np.float64)
    except (DatasetError, UnclearColumn) as error:
        raise DatasetError(f"{source}: {error}") from error
