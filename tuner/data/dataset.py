"""The prepared data of a study, and its form on disk that workers share."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tuner.data.column_reports import ColumnReport
from tuner.data.columns import CellFormat
from tuner.data.memory_maps import check_room, is_full, no_room
from tuner.data.number_texts import NumberFormat
from tuner.data.raw import reading
from tuner.data.rows import AnyRows, joined, row_blocks
from tuner.data.scaling import Scaling
from tuner.data.table_encoding import Column
from tuner.errors import DatasetError

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import Task

PARTS = ("train", "validation", "test")
EvaluationName = Literal["val", "test"]

_INDEX = "dataset.json"


@dataclass(frozen=True, eq=False)
class Split:
    """x (n, *input_shape) in its own small dtype, in memory or, where that is much, in a file;
    y (n,) int32 classes 0..k-1, or float32."""

    x: AnyRows
    y: npt.NDArray[np.int32] | npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits with what is needed to train on them and to read the results.

    Training evaluates a network on `evaluation`: the validation split in a search ("val"), the test
    split in a comparison ("test"), whose validation split has no rows (`for_test`).

    `scaling` is applied to a batch of x, `target_scaling` to y (the identity but for regression).
    `labels[i]` is the word for class i, of two the second is the positive one; empty for
    regression. `features` name the columns of a matrix, `columns` say how a table became it,
    `reports` what each column was taken for, `notes` what was decided and what was done to missing
    and unseen values, and what else is to be said.

    `shift` was subtracted of x in float64 before it became float32, `target_shift` of y, where
    these would have lost too much (precision.py): () or one value a column or channel; None for
    nothing. `float64_inputs`: whether x as it was is rounded by float32 alone.
    """

    name: str
    task: "Task"
    train: Split
    validation: Split
    test: Split
    scaling: Scaling
    target_scaling: Scaling
    labels: tuple[str, ...]
    fingerprint: str
    features: tuple[str, ...] | None = None
    columns: tuple[Column, ...] | None = None
    notes: tuple[str, ...] = ()
    reports: tuple[ColumnReport, ...] = ()
    shift: npt.NDArray[np.float64] | None = None
    target_shift: float = 0.0
    float64_inputs: bool = False
    evaluation_name: EvaluationName = "val"

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that have rows, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: splits[part] for part in _parts_with_rows(self.evaluation_name)}

    @property
    def evaluation(self) -> Split:
        """The rows on which networks are evaluated while they train."""
        return self.validation if self.evaluation_name == "val" else self.test

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(int(size) for size in self.train.x.shape[1:])

    @property
    def outputs(self) -> int:
        """Units of the head: k for classes, 1 for binary and regression."""
        return len(self.labels) if self.task == "classes" else 1

    @property
    def nbytes(self) -> int:
        return sum(split.x.nbytes + split.y.nbytes for split in self.splits.values())

    def for_test(self) -> "Dataset":
        """The dataset of a comparison: trained on the training and validation rows, evaluated on
        the test split. The scaling stays as it was fitted on the training rows."""
        train = Split(
            joined([self.train.x, self.validation.x]),
            np.concatenate([self.train.y, self.validation.y]),
        )
        return replace(self, train=train, validation=_empty(train), evaluation_name="test")


def _parts_with_rows(evaluation_name: EvaluationName) -> tuple[str, ...]:
    return PARTS if evaluation_name == "val" else ("train", "test")


def _empty(split: Split) -> Split:
    """A split of the same shapes and dtypes without rows."""
    return Split(np.empty((0, *split.x.shape[1:]), split.x.dtype), split.y[:0])


def fingerprint(
    splits: dict[str, Split],
    task: str,
    labels: tuple[str, ...],
    scaling: Scaling,
    shifts: tuple[npt.NDArray[np.float64] | None, float] = (None, 0.0),
    by_channel: bool = False,
) -> str:
    """SHA-256 in hex of everything training sees: splits, task, labels, way of scaling, and what
    was subtracted of x and of y.

    The fitted scale is left out: it follows from the rest, but its last bits from the machine.
    """
    digest = hashlib.sha256(json.dumps([task, labels, scaling.method]).encode())
    shift, target_shift = shifts
    if by_channel or shift is not None or target_shift:
        subtracted = None if shift is None else shift.tolist()
        digest.update(json.dumps([by_channel, subtracted, target_shift]).encode())
    for part, split in splits.items():
        for array in (split.x, split.y):
            digest.update(f"{part} {array.dtype.str} {array.shape} ".encode())
            for block in row_blocks(array):
                digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def save_dataset(dataset: Dataset, folder: Path) -> None:
    """Write the arrays as .npy and the rest as one JSON, which comes last and makes it whole.

    Raises DatasetError where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_room(folder, dataset.nbytes)
        for part, split in dataset.splits.items():
            _save(folder / f"{part}_x.npy", split.x)
            _save(folder / f"{part}_y.npy", split.y)
        unfinished = folder / f"{_INDEX}.part"
        unfinished.write_text(json.dumps(_index(dataset)), encoding="utf-8")
        unfinished.replace(folder / _INDEX)
    except OSError as error:
        if is_full(error):
            raise DatasetError(no_room(folder, dataset.nbytes)) from error
        raise DatasetError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _save(path: Path, array: AnyRows) -> None:
    """What np.save writes, in blocks."""
    with path.open("wb") as file:
        descr = np.lib.format.dtype_to_descr(array.dtype)
        header = {"descr": descr, "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in row_blocks(array):
            file.write(np.ascontiguousarray(block).data)


def _index(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "task": dataset.task,
        "scaling": _scaling_to_json(dataset.scaling),
        "target_scaling": _scaling_to_json(dataset.target_scaling),
        "labels": dataset.labels,
        "fingerprint": dataset.fingerprint,
        "features": dataset.features,
        "columns": None if dataset.columns is None else [asdict(c) for c in dataset.columns],
        "notes": dataset.notes,
        "reports": [asdict(report) for report in dataset.reports],
        "shift": None if dataset.shift is None else dataset.shift.tolist(),
        "target_shift": dataset.target_shift,
        "float64_inputs": dataset.float64_inputs,
        "evaluation": dataset.evaluation_name,
    }


def open_dataset(folder: Path) -> Dataset:
    """What `save_dataset` wrote; x is mapped from disk read-only, so that processes share it.

    Raises DatasetError where the folder holds no whole data set.
    """
    with reading(str(folder / _INDEX)):
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    with reading(str(folder)):
        evaluation_name = index.get("evaluation", "val")
        splits = {part: _open_split(folder, part) for part in _parts_with_rows(evaluation_name)}
    splits.setdefault("validation", _empty(splits["train"]))
    columns = index["columns"]
    return Dataset(
        name=index["name"],
        task=index["task"],
        **splits,
        scaling=_scaling_from_json(index["scaling"]),
        target_scaling=_scaling_from_json(index["target_scaling"]),
        labels=tuple(index["labels"]),
        fingerprint=index["fingerprint"],
        features=_tuple(index["features"]),
        columns=None if columns is None else tuple(_column_from_json(c) for c in columns),
        notes=tuple(index["notes"]),
        reports=tuple(
            ColumnReport(**report | {"examples": tuple(report["examples"])})
            for report in index["reports"]
        ),
        shift=None if index["shift"] is None else np.asarray(index["shift"], np.float64),
        target_shift=index["target_shift"],
        float64_inputs=index["float64_inputs"],
        evaluation_name=evaluation_name,
    )


def _open_split(folder: Path, part: str) -> Split:
    x, y = (
        np.load(folder / f"{part}_{which}.npy", mmap_mode="r", allow_pickle=False)
        for which in ("x", "y")
    )
    return Split(x, y)


def _scaling_to_json(scaling: Scaling) -> dict[str, Any]:
    # A float32 comes back bit-equal from the float64 that JSON writes.
    return {
        "method": scaling.method,
        "scale": scaling.scale.tolist(),
        "offset": scaling.offset.tolist(),
    }


def _scaling_from_json(value: dict[str, Any]) -> Scaling:
    scale, offset = (np.asarray(value[key], np.float32) for key in ("scale", "offset"))
    return Scaling(value["method"], scale, offset)


def _column_from_json(value: dict[str, Any]) -> Column:
    format_ = value["format"]
    number = format_["number"]
    changes = {
        "categories": _tuple(value["categories"]),
        "parts": tuple(value["parts"]),
        "format": CellFormat(number and NumberFormat(**number), format_["order"]),
    }
    return Column(**{**value, **changes})


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
