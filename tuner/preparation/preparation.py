"""The preparation of a network: how raw rows become the arrays that it takes.

Learnt from the training rows and saved with the network, so that later rows are read, filled and
encoded as these were. Scaling and offsets are layers of the saved network itself.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.errors import DatasetError
from tuner.preparation.cells import Cells
from tuner.preparation.encoding import Column, column_writer
from tuner.preparation.known_columns import read_known_columns
from tuner.preparation.number_texts import NumberFormat
from tuner.preparation.text_columns import CellFormat
from tuner.values import join_names, suggest_names

if TYPE_CHECKING:  # pandas takes half a second to import: only tables pay it
    import pandas as pd

_ROWS_AT_ONCE = 8192


@dataclass
class Findings:
    """What rows have shown while they were prepared. Those of blocks of rows add up.

    `gaps`, `unseen`: by column, how many cells had no value, or a category that no training row
    had. `notes`: one line each, in order, each once.
    """

    rows: int = 0
    gaps: dict[str, int] = field(default_factory=dict)
    unseen: dict[str, int] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def add(self, other: "Findings") -> None:
        self.rows += other.rows
        for mine, theirs in ((self.gaps, other.gaps), (self.unseen, other.unseen)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        self.notes |= other.notes


@dataclass(frozen=True, eq=False)
class Prepared:
    """`inputs`: (n, *input_shape), what the network takes. `findings`: of these rows."""

    inputs: npt.NDArray[Any]
    findings: Findings


@dataclass(frozen=True)
class Preparation:
    """How raw rows become what a network takes: arrays (n, *input_shape) of `input_dtype`, not
    scaled.

    `columns`: how each column of a table is encoded, or of a matrix whose training rows had gaps;
    None for other arrays. `is_table`: whether rows are given by the names of their columns.
    `features`: the names of a matrix' columns. `value_range`: the lowest and highest value of
    sampled training rows; None for tables.

    `target`: the name of the target column; None where data have no names. `target_format`: how its
    texts are numbers, where they are. `ignored`: further columns of the training data that the
    network does not take.
    """

    input_shape: tuple[int, ...]
    input_dtype: str = "float32"
    columns: tuple[Column, ...] | None = None
    is_table: bool = False
    features: tuple[str, ...] | None = None
    value_range: tuple[float, float] | None = None
    target: str | None = None
    target_format: NumberFormat | None = None
    ignored: tuple[str, ...] = ()

    def prepare(self, rows: Any, source: str = "data") -> Prepared:
        """`rows`: a DataFrame for a table, else an array (n, *input_shape), or one row of that
        shape. `source` begins every message.

        Raises DatasetError for columns that are missing, values that cannot be what the training
        rows were, and arrays of another shape.
        """
        if self.is_table:
            return self._prepare_table(rows, source)
        return self._prepare_array(rows, source)

    def _prepare_table(self, rows: Any, source: str) -> Prepared:
        if not hasattr(rows, "iloc"):
            raise DatasetError(
                f"{source}: the network takes a table with the columns "
                f"{join_names(column.name for column in self.columns or ())}"
            )
        frame: pd.DataFrame = rows.set_axis([str(name) for name in rows.columns], axis=1)
        findings = self._check_names(list(frame.columns), source)
        cells, problems = read_known_columns(frame, self.columns or ())
        if problems:
            raise DatasetError(f"{source}: {'; '.join(problems)}")
        return Prepared(self._encode(cells, len(frame)), self._count(cells, len(frame), findings))

    def _check_names(self, names: list[str], source: str) -> Findings:
        columns = [column.name for column in self.columns or ()]
        lacking = [
            f"{name}{suggest_names(name, [n for n in names if n not in columns])}"
            for name in columns
            if name not in names
        ]
        if lacking:
            raise DatasetError(f"{source}: lacks the columns {join_names(lacking)}")
        findings = Findings()
        if self.target in names:
            findings.notes[f"column {self.target!r} is the target: it is ignored"] = None
        known = {*columns, self.target, *self.ignored}
        extra = [name for name in names if name not in known]
        if extra:
            findings.notes[f"columns that the network does not take: {join_names(extra)}"] = None
        return findings

    def _encode(self, cells: Mapping[str, Cells], rows: int) -> npt.NDArray[Any]:
        # The network subtracts the offsets itself.
        columns = [replace(column, offset=0.0) for column in self.columns or ()]
        inputs = np.zeros((rows, *self.input_shape), self.input_dtype)
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
            if column.kind == "category":
                seen = set(column.categories or ())
                is_new = np.array([*(text not in seen for text in held.texts), False], np.bool_)
                if unseen := int(np.count_nonzero(is_new[held.values])):
                    findings.unseen[column.name] = unseen
        return findings

    def _prepare_array(self, rows: Any, source: str) -> Prepared:
        values = np.asarray(rows)
        if values.shape == self.input_shape:
            values = values[np.newaxis]
        if values.shape[1:] != self.input_shape:
            raise DatasetError(
                f"{source}: rows have shape {values.shape[1:]}, the network takes "
                f"{self.input_shape}"
            )
        if values.dtype.kind not in "biuf":
            raise DatasetError(f"{source}: must hold numbers, it is {values.dtype}")
        inputs = values.astype(self.input_dtype)
        findings = Findings(len(values))
        if self.columns is not None:  # a matrix whose training rows had gaps
            for number, column in enumerate(self.columns):
                gaps = np.isnan(inputs[:, number])
                if gaps.any():
                    findings.gaps[column.name] = int(gaps.sum())
                    inputs[gaps, number] = column.fill
        elif np.isnan(inputs).any():
            raise DatasetError(f"{source}: values are missing (NaN); the training rows had none")
        return Prepared(inputs, findings)

    def to_json(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Preparation":
        columns, value_range = content["columns"], content["value_range"]
        number = content["target_format"]
        changes = {
            "input_shape": tuple(content["input_shape"]),
            "columns": None if columns is None else tuple(map(column_from_json, columns)),
            "features": None if content["features"] is None else tuple(content["features"]),
            "value_range": None if value_range is None else tuple(value_range),
            "target_format": None if number is None else NumberFormat(**number),
            "ignored": tuple(content["ignored"]),
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
    }
    return Column(**{**content, **changes})
