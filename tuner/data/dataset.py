"""The prepared data of a study: its splits, and how rows are assigned to them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tuner.data.example_rows import ExampleRows
from tuner.data.named_rows import NamedRows, SplitRows, join_split_rows, map_rows, named_parts
from tuner.data.rows import AnyRows, Indices, row_blocks
from tuner.data.scaling import IDENTITY, Scaling
from tuner.errors import DatasetError
from tuner.preparation.encoding import Column
from tuner.preparation.number_texts import NumberFormat
from tuner.preparation.preparation import ImageFiles
from tuner.preparation.window_rule import WindowRule

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import ColumnKind, Task

PARTS = ("train", "validation", "test")
EvaluationName = Literal["val", "test"]
InputKind = Literal["", "sequence", "tokens"]


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
    weighs the training rows. `values`: the names of the values of a row, where a regression has
    several."""

    name: str | None = None
    format: NumberFormat | None = None
    ignored: tuple[str, ...] = ()
    weights: str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class InputPart:
    """One of several inputs: what `Dataset` says of a single one, under the same names."""

    scaling: Scaling
    features: tuple[str, ...] | None = None
    columns: tuple[Column, ...] | None = None
    reports: tuple[ColumnReport, ...] = ()
    shift: npt.NDArray[np.float64] | None = None
    float64_inputs: bool = False
    input_kind: InputKind = ""
    vocabulary_size: int = 0
    padding: tuple[float, ...] | None = None

    @property
    def is_table(self) -> bool:
        """Whether its rows were columns of a table."""
        return bool(self.reports)


@dataclass(frozen=True, eq=False)
class TargetPart:
    """One head: a target with a loss of its own.

    `task`: classes, binary, regression or multilabel. `units`: of the head. `scaling`, `shift`: of
    y, as `Dataset.target_scaling` and `Dataset.target_shift`. `weight`: of its loss in the sum of
    all heads. `values`: the names of a regression's values, where it has several.
    """

    name: str
    task: "Task"
    units: int
    labels: tuple[str, ...] = ()
    scaling: Scaling = IDENTITY
    weight: float = 1.0
    shift: Any = 0.0
    values: tuple[str, ...] = ()
    format: NumberFormat | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """x (n, *input_shape) in its own small dtype, in memory or, if large, in a file; NamedRows of
    such where there are several inputs. y (n,) int32 classes 0..k-1, or float32; (n, k) float32 for
    k values or k labels (0 or 1); NamedRows of such where there are several heads. `weights`: how
    much each row counts in training, (n,); None if all count alike, and for test rows."""

    x: Any  # AnyRows | NamedRows
    y: Any  # NDArray[int32] | NDArray[float32] | NamedRows
    weights: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def arrays(self) -> dict[str, AnyRows]:
        """Its arrays by the names of their files, without weights if there are none. Several inputs
        are numbered, since their names may be no names of files."""
        arrays: dict[str, AnyRows] = {}
        for role, rows in (("x", self.x), ("y", self.y)):
            for number, part in enumerate(named_parts(rows).values()):
                arrays[f"{role}_{number}" if isinstance(rows, NamedRows) else role] = part
        return arrays | ({} if self.weights is None else {"weights": self.weights})


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

    `input_kind`: what a row of x is. "tokens" (steps,): numbers of words, 0 for padding, 1 for a
    word that is not in the vocabulary, below `vocabulary_size`; they are not scaled. "sequence"
    (steps, channels): each channel is scaled on its own. Where sequences differ in length they are
    `padded` to one: the last channel is 1 for a step that is there, 0 for padding (and not scaled);
    `padding` is the value of each other channel there, which scaling maps to about 0. "" is
    anything else.
    `image_files`: of rows that were decoded from image files, how later files become rows.
    `skipped`: names of broken ones that were left out.

    `examples`: the first training rows of a table as they were given; None for arrays, and in data
    that an earlier version prepared.

    `inputs`: of several inputs what is said above of a single one, by name; empty for one.
    `heads`: of several targets each (task "several"); empty for one. Of a regression with k values
    `target_scaling` and `target_shift` have one value for each, (k,).
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
    target_shift: Any = 0.0
    float64_inputs: bool = False
    evaluation_name: EvaluationName = "val"
    target_column: TargetColumn = TargetColumn()
    examples: ExampleRows | None = None
    image_files: ImageFiles | None = None
    skipped: tuple[str, ...] = ()
    inputs: Mapping[str, InputPart] = field(default_factory=dict)
    heads: tuple[TargetPart, ...] = ()
    input_kind: InputKind = ""
    vocabulary_size: int = 0
    padding: tuple[float, ...] | None = None
    window: WindowRule | None = None

    @property
    def padded(self) -> bool:
        """Whether the last channel of a sequence says which steps are there."""
        return self.padding is not None

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that have rows, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: splits[part] for part in parts_with_rows(self.evaluation_name)}

    @property
    def is_table(self) -> bool:
        """Whether its rows were a table, with names and kinds of columns."""
        if self.inputs:
            return all(part.is_table for part in self.inputs.values())
        return bool(self.reports)

    @property
    def evaluation(self) -> Split:
        """The rows on which networks are evaluated while they train."""
        return self.validation if self.evaluation_name == "val" else self.test

    @property
    def input_shape(self) -> Any:
        """The shape of a row; of several inputs name → shape."""
        x = self.train.x
        return x.row_shapes if isinstance(x, NamedRows) else tuple(int(n) for n in x.shape[1:])

    @property
    def outputs(self) -> Any:
        """Units of the head: k for classes, labels or values, 1 for binary and one value. Of
        several heads name → units."""
        if self.heads:
            return {head.name: head.units for head in self.heads}
        return units_of(self.task, self.labels, self.train.y)

    @property
    def targets(self) -> tuple[TargetPart, ...]:
        """Its targets: the heads, or the only one."""
        return self.heads or (
            TargetPart(
                self.target_column.name or "",
                self.task,
                self.outputs,
                self.labels,
                self.target_scaling,
                1.0,
                self.target_shift,
                self.target_column.values,
                self.target_column.format,
            ),
        )

    @property
    def head_tasks(self) -> dict[str, "Task"]:
        """The task of each head; empty for a single target."""
        return {head.name: head.task for head in self.heads}

    @property
    def network_task(self) -> Any:
        """What the builder of a network is told: the task, or that of each head by name."""
        return self.head_tasks or self.task

    @property
    def input_parts(self) -> dict[str, InputPart]:
        """Its inputs by name; a single one is named ""."""
        return dict(self.inputs) or {
            "": InputPart(
                self.scaling,
                self.features,
                self.columns,
                self.reports,
                self.shift,
                self.float64_inputs,
                self.input_kind,
                self.vocabulary_size,
                self.padding,
            )
        }

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
            join_split_rows([part.x for part in parts]),
            _in_memory(join_split_rows([part.y for part in parts])),
            np.concatenate(weights) if weights else None,
        )
        return replace(self, train=train, validation=empty_split(train), evaluation_name="test")


def units_of(task: str, labels: Sequence[str], y: Any) -> int:
    """The units of a head with these labels and targets y."""
    if task in ("classes", "multilabel"):
        return len(labels)
    return int(y.shape[1]) if y.ndim == 2 else 1


def _in_memory(y: SplitRows) -> SplitRows:
    return map_rows(y, np.asarray)


def parts_with_rows(evaluation_name: EvaluationName) -> tuple[str, ...]:
    return PARTS if evaluation_name == "val" else ("train", "test")


def empty_split(split: Split) -> Split:
    """A split of the same shapes and dtypes without rows."""
    weights = None if split.weights is None else split.weights[:0]
    x = map_rows(split.x, lambda rows: np.empty((0, *rows.shape[1:]), rows.dtype))
    return Split(x, split.y[:0], weights)


def fingerprint(
    splits: dict[str, Split],
    task: str,
    labels: tuple[str, ...],
    scaling: Scaling,
    shifts: tuple[npt.NDArray[np.float64] | None, Any] = (None, 0.0),
    by_channel: bool = False,
    inputs: Mapping[str, InputPart] | None = None,
    heads: Sequence[TargetPart] = (),
) -> str:
    """SHA-256 in hex of everything training sees: splits with their weights, task, labels, the
    method of scaling, and what was subtracted from x and y; of several inputs and heads all of it
    by name.

    The fitted scale is left out: it follows from the rest, but its last bits depend on the machine.
    """
    digest = hashlib.sha256(json.dumps([task, labels, scaling.method]).encode())
    shift, target_shift = shifts
    if by_channel or shift is not None or np.any(target_shift):
        subtracted = None if shift is None else shift.tolist()
        digest.update(json.dumps([by_channel, subtracted, to_list(target_shift)]).encode())
    for name, part in (inputs or {}).items():
        subtracted = None if part.shift is None else part.shift.tolist()
        digest.update(json.dumps([name, part.scaling.method, subtracted]).encode())
    for head in heads:
        facts = [head.name, head.task, head.labels, head.weight, to_list(head.shift)]
        digest.update(json.dumps(facts).encode())
    for split_name, split in splits.items():
        for array in split.arrays.values():
            digest.update(f"{split_name} {array.dtype.str} {array.shape} ".encode())
            for block in row_blocks(array):
                digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def to_list(number: Any) -> Any:
    """A number, or nested lists of numbers, as JSON takes it."""
    return np.asarray(number, np.float64).tolist()


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
