"""The prepared data of a study: its splits, how rows are assigned to them, its form on disk."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tuner.data.example_rows import ExampleRows
from tuner.data.raw import dataset_errors
from tuner.data.rows import (
    AnyRows,
    Indices,
    check_free_space,
    disk_full_message,
    is_disk_full,
    join_rows,
    row_blocks,
)
from tuner.data.scaling import Scaling
from tuner.errors import DatasetError
from tuner.preparation.encoding import Column
from tuner.preparation.number_texts import NumberFormat
from tuner.preparation.preparation import ImageFiles, column_from_json

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import ColumnKind, Task

PARTS = ("train", "validation", "test")
EvaluationName = Literal["val", "test"]
_INDEX = "dataset.json"


@dataclass(frozen=True)
class ColumnReport:
    """`features`: how many it became. `gaps`: cells without a value, marks for missing included;
    `different`: different values of the rows that are not split off by the source; both None where
    they were not counted. `examples`: its most common values; `low` and `high`: of numbers and
    dates."""

    name: str
    kind: "ColumnKind"
    features: int
    gaps: int | None
    different: int | None
    examples: tuple[str, ...] = ()
    low: str | None = None
    high: str | None = None


@dataclass(frozen=True)
class TargetColumn:
    """`name`: the target's, None where it has none. `format`: how its texts were read as numbers.
    `ignored`: further columns of the table that are no features. `weights`: the one among them that
    weighs the training rows."""

    name: str | None = None
    format: NumberFormat | None = None
    ignored: tuple[str, ...] = ()
    weights: str | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """x (n, *input_shape) in its own small dtype, in memory or, if large, in a file; y (n,) int32
    classes 0..k-1, or float32. `weights`: how much each row counts in training, (n,); None if all
    count alike, and for test rows."""

    x: AnyRows
    y: npt.NDArray[np.int32] | npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def arrays(self) -> dict[str, AnyRows]:
        """Its arrays by name, without weights if there are none."""
        weights = {} if self.weights is None else {"weights": self.weights}
        return {"x": self.x, "y": self.y, **weights}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits with what is needed to train on them and to read the results.

    Training evaluates a network on `evaluation`: the validation split in a search ("val"), the test
    split in a comparison ("test"), whose validation split has no rows (`for_test`).

    `scaling` is applied to a batch of x, `target_scaling` to y (the identity but for regression).
    `labels[i]` names class i; of two classes the second is the positive one; empty for
    regression. `features` name the columns of a matrix, `columns` say how a table became it,
    `reports` what each column was taken for. `notes` tell the user what was decided, and what
    happened to missing and unseen values.

    `shift` was subtracted from x in float64 before it became float32, and `target_shift` from y,
    where float32 would have lost too much (precision.py): one value in all, or one for each column
    or channel; None for nothing. `float64_inputs`: whether float32 would round the original x.

    `image_files`: of rows that were decoded from image files, how later files become rows.
    `skipped`: names of broken ones that were left out.

    `examples`: the first training rows of a table as they were given; None for arrays, and in data
    that an earlier version prepared.
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
    target_column: TargetColumn = TargetColumn()
    examples: ExampleRows | None = None
    image_files: ImageFiles | None = None
    skipped: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that have rows, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: splits[part] for part in _parts_with_rows(self.evaluation_name)}

    @property
    def is_table(self) -> bool:
        """Whether its rows were a table, with names and kinds of columns."""
        return bool(self.reports)

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
        return sum(
            array.nbytes for split in self.splits.values() for array in split.arrays.values()
        )

    def for_test(self) -> "Dataset":
        """The dataset of a comparison: trained on the training and validation rows, evaluated on
        the test split. The scaling stays as it was fitted on the training rows."""
        parts = (self.train, self.validation)
        weights = [part.weights for part in parts if part.weights is not None]
        train = Split(
            join_rows([part.x for part in parts]),
            np.concatenate([part.y for part in parts]),
            np.concatenate(weights) if weights else None,
        )
        return replace(self, train=train, validation=_empty(train), evaluation_name="test")


def _parts_with_rows(evaluation_name: EvaluationName) -> tuple[str, ...]:
    return PARTS if evaluation_name == "val" else ("train", "test")


def _empty(split: Split) -> Split:
    """A split of the same shapes and dtypes without rows."""
    weights = None if split.weights is None else split.weights[:0]
    return Split(np.empty((0, *split.x.shape[1:]), split.x.dtype), split.y[:0], weights)


def fingerprint(
    splits: dict[str, Split],
    task: str,
    labels: tuple[str, ...],
    scaling: Scaling,
    shifts: tuple[npt.NDArray[np.float64] | None, float] = (None, 0.0),
    by_channel: bool = False,
) -> str:
    """SHA-256 in hex of everything training sees: splits with their weights, task, labels, the
    method of scaling, and what was subtracted from x and y.

    The fitted scale is left out: it follows from the rest, but its last bits depend on the machine.
    """
    digest = hashlib.sha256(json.dumps([task, labels, scaling.method]).encode())
    shift, target_shift = shifts
    if by_channel or shift is not None or target_shift:
        subtracted = None if shift is None else shift.tolist()
        digest.update(json.dumps([by_channel, subtracted, target_shift]).encode())
    for part, split in splits.items():
        for array in split.arrays.values():
            digest.update(f"{part} {array.dtype.str} {array.shape} ".encode())
            for block in row_blocks(array):
                digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def save_dataset(dataset: Dataset, folder: Path) -> None:
    """Write the arrays as .npy, then the rest as one JSON file, which marks the folder as complete.

    Raises DatasetError if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_free_space(folder, dataset.nbytes)
        for part, split in dataset.splits.items():
            for name, array in split.arrays.items():
                _save(folder / f"{part}_{name}.npy", array)
        unfinished = folder / f"{_INDEX}.part"
        unfinished.write_text(json.dumps(_index(dataset)), encoding="utf-8")
        unfinished.replace(folder / _INDEX)
    except OSError as error:
        if is_disk_full(error):
            raise DatasetError(disk_full_message(folder, dataset.nbytes)) from error
        raise DatasetError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _save(path: Path, array: AnyRows) -> None:
    """Write what np.save writes, block by block."""
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
        "target_column": asdict(dataset.target_column),
        "examples": dataset.examples,
        "skipped": dataset.skipped,
        "image_files": None if dataset.image_files is None else asdict(dataset.image_files),
        "weighted": [part for part, split in dataset.splits.items() if split.weights is not None],
    }


def open_dataset(folder: Path) -> Dataset:
    """Open what `save_dataset` wrote. x is mapped from disk, read-only: processes share it.

    Raises DatasetError if the folder holds no complete data set.
    """
    with dataset_errors(str(folder / _INDEX)):
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    with dataset_errors(str(folder)):
        evaluation_name = index.get("evaluation", "val")
        weighted = index.get("weighted", [])
        splits = {
            part: _open_split(folder, part, part in weighted)
            for part in _parts_with_rows(evaluation_name)
        }
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
        columns=None if columns is None else tuple(map(column_from_json, columns)),
        notes=tuple(index["notes"]),
        reports=tuple(
            ColumnReport(**report | {"examples": tuple(report["examples"])})
            for report in index["reports"]
        ),
        shift=None if index["shift"] is None else np.asarray(index["shift"], np.float64),
        target_shift=index["target_shift"],
        float64_inputs=index["float64_inputs"],
        evaluation_name=evaluation_name,
        target_column=_target_column_from_json(index["target_column"]),
        examples=index.get("examples"),
        skipped=tuple(index.get("skipped", ())),
        image_files=None if (files := index.get("image_files")) is None else ImageFiles(**files),
    )


def _open_split(folder: Path, part: str, weighted: bool) -> Split:
    names = ["x", "y", *(["weights"] if weighted else [])]
    return Split(
        *(
            np.load(folder / f"{part}_{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in names
        )
    )


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


def _target_column_from_json(value: dict[str, Any]) -> TargetColumn:
    number = value["format"]
    return TargetColumn(
        value["name"],
        None if number is None else NumberFormat(**number),
        tuple(value["ignored"]),
        value.get("weights"),
    )


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


_FEW_CLASSES = 32


def draw_splits(
    classes: npt.NDArray[np.integer],
    shares: dict[str, float],
    seed: int,
    labels: Sequence[str],
    source: str,
) -> dict[str, Indices]:
    """Assign the rows 0..n-1 to "train" and to every part in `shares`, stratified by class. Row
    numbers of a part ascend.

    `classes` (n,) are indices into `labels`; for regression all zero, with labels empty. The first
    share is of all rows, the next of those left. Of each class a part gets its share to within one
    row, and at least one row. Raises DatasetError for a share outside (0, 1) and for a class with
    fewer rows than there are parts.
    """
    for part, share in shares.items():
        if not 0 < share < 1:
            raise DatasetError(f"the {part} share must lie between 0 and 1, got {share:g}")
    left = np.bincount(classes, minlength=max(1, len(labels)))
    _check_members(left, ["train", *shares], labels, source)
    # Raw words of the bit generator: NumPy promises that they never change, which it does not for
    # permutation(), and a study must get the same split after an upgrade.
    keys = np.random.PCG64(seed).random_raw(len(classes))
    ends: list[Indices] = []
    for number, share in enumerate(shares.values(), start=1):
        taken = _allot(left, share, keep=1 + len(shares) - number)
        ends.append(taken + (ends[-1] if ends else 0))
        left = left - taken
    parts = _parts_by_key(classes, keys, ends)
    return {part: np.flatnonzero(parts == number) for number, part in enumerate(["train", *shares])}


def _parts_by_key(
    classes: npt.NDArray[np.integer], keys: npt.NDArray[np.uint64], ends: list[Indices]
) -> npt.NDArray[np.int8]:
    """(n,): of each class the rows with the lowest keys, up to `ends[0]` of them, are 1; those up
    to `ends[1]` are 2; the others 0."""
    if not ends:
        return np.zeros(len(classes), np.int8)
    parts = _parts_by_selection(classes, keys, ends) if len(ends[0]) <= _FEW_CLASSES else None
    if parts is not None:
        return parts
    rank = _rank_in_class(classes, keys)
    parts = np.zeros(len(classes), np.int8)
    for number in range(len(ends), 0, -1):
        parts[rank < ends[number - 1][classes]] = number
    return parts


def _parts_by_selection(
    classes: npt.NDArray[np.integer], keys: npt.NDArray[np.uint64], ends: list[Indices]
) -> npt.NDArray[np.int8] | None:
    """The same without sorting, in a fifth of the time. None if keys are equal: then the order of
    the rows decides."""
    parts = np.zeros(len(classes), np.int8)
    for each in range(len(ends[0])):
        rows = np.flatnonzero(classes == each) if len(ends[0]) > 1 else slice(None)
        own = keys[rows]
        chosen = np.zeros(len(own), np.int8)
        limits = [int(end[each]) for end in ends]
        ordered = np.partition(own, limits)
        for number in range(len(ends), 0, -1):
            below = own < ordered[limits[number - 1]]
            if np.count_nonzero(below) != limits[number - 1]:
                return None
            chosen[below] = number
        parts[rows] = chosen
    return parts


def _check_members(
    members: npt.NDArray[np.intp], parts: list[str], labels: Sequence[str], source: str
) -> None:
    smallest = int(np.argmin(members))
    if members[smallest] >= len(parts):
        return
    what = f"class {labels[smallest]!r}" if labels else "the training part"
    rows = int(members[smallest])
    raise DatasetError(
        f"{source}: {what} has {rows} row{'s' * (rows != 1)}, and {' + '.join(parts)} need "
        f"{len(parts)} at least; add rows"
        + (", drop the class, or set the task to regression if these are numbers" if labels else "")
    )


def _rank_in_class(classes: npt.NDArray[np.integer], keys: npt.NDArray[np.uint64]) -> Indices:
    """(n,): a row's rank, from 0, by its key among the rows of its class."""
    order = np.lexsort((keys, classes))
    members = np.bincount(classes)
    starts = np.cumsum(members) - members
    rank = np.empty(len(classes), np.intp)
    rank[order] = np.arange(len(classes)) - starts[classes[order]]
    return rank


def _allot(members: npt.NDArray[np.intp], share: float, keep: int) -> npt.NDArray[np.intp]:
    """Rows of each class by largest remainder: at least one, and at least `keep` stay behind."""
    ideal = members * share
    taken = np.floor(ideal + 1e-9).astype(np.intp)
    short = max(0, round(float(ideal.sum())) - int(taken.sum()))
    taken[np.argsort(taken - ideal, kind="stable")[:short]] += 1
    return np.asarray(np.clip(taken, 1, members - keep), np.intp)
