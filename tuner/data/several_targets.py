"""Several targets: labels of which a row may have many, numbers that are learnt together, or heads
with a loss of their own.

Columns that all hold 0 and 1 (or truth values) are labels; columns of numbers are the values of one
regression; any other mixture, and targets that are named one by one, are heads.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.arrays import as_array
from tuner.data.named_rows import NamedRows
from tuner.data.target import Target, encode_target, read_targets, refuse_rows
from tuner.errors import DatasetError
from tuner.preparation.kinds import part_name_problem
from tuner.values import describe_lacking, differing_lengths, join_names, suggest_names

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.data_spec import TargetSpec
    from tuner.study.spec import Task

# By part, as a reader gives it: a Series, an array, a DataFrame, or name → one of these.
Targets = Mapping[str, Any]
_Matrix = npt.NDArray[np.generic]


def encode_targets(
    targets: Targets,
    wanted: "Task | None",
    specs: Mapping[str, "TargetSpec"],
    names: tuple[str, ...] | None,
    source: str,
) -> Target:
    """One target or several, encoded alike in every part; the module says which they are. `wanted`:
    the task, if the user names it; `specs`: what the user says of each of several. `names`: as of
    `encode_target`.

    Raises DatasetError for what no network can learn: gaps, texts among numbers, one value only.
    """
    targets = _as_heads(_squeezed(targets), wanted, specs, source)
    if isinstance(targets["train"], Mapping):
        return _heads(targets, specs, source)
    if _width(targets["train"]) > 1:
        return _matrix(targets, wanted, source)
    if wanted in ("several", "multilabel"):
        raise DatasetError(f"{source}: {wanted} needs several targets, the data have one")
    read, notes, format_ = read_targets(targets, wanted)
    target = encode_target(read, wanted, names, source)
    return target.reading(notes, format_)


def _squeezed(targets: Targets) -> dict[str, Any]:
    """A table of one column is that column."""
    return {
        part: y.iloc[:, 0] if hasattr(y, "iloc") and y.ndim == 2 and y.shape[1] == 1 else y
        for part, y in targets.items()
    }


def _width(y: Any) -> int:
    """How many targets a row has; 1 for what is none of the forms of several."""
    if not hasattr(y, "iloc"):
        y = np.asarray(y)
        is_matrix = y.ndim == 2 and len(y) > 1 and y.dtype.kind in "biuf"
        return int(y.shape[1]) if is_matrix else 1
    return int(y.shape[1]) if y.ndim == 2 else 1


def _as_heads(
    targets: dict[str, Any], wanted: "Task | None", specs: Mapping[str, "TargetSpec"], source: str
) -> dict[str, Any]:
    """The targets by name where they are heads; else as they are."""
    train = targets["train"]
    columns = _columns(train)
    if isinstance(train, Mapping) or (columns and (len(specs) > 1 or wanted == "several")):
        return {part: _by_name(y, columns, part, source) for part, y in targets.items()}
    if columns and wanted is None and _kind(train, columns) == "mixed":
        return {part: _by_name(y, columns, part, source) for part, y in targets.items()}
    return targets


def _columns(y: Any) -> list[str]:
    """The names of several targets; none for one target, and for arrays."""
    if isinstance(y, Mapping):
        return [str(name) for name in y]
    return [str(name) for name in y.columns] if hasattr(y, "iloc") and y.ndim == 2 else []


def _by_name(y: Any, columns: list[str], part: str, source: str) -> dict[str, Any]:
    """Each target of a part by its name."""
    if not isinstance(y, Mapping) and not hasattr(y, "iloc"):
        raise DatasetError(f"{source}: the targets have names in one part only, not in {part}")
    by_name = {str(name): y[name] for name in y}
    if lacking := [name for name in columns if name not in by_name]:
        raise DatasetError(f"{source}: {part}: {describe_lacking(lacking, 'target')}")
    return {name: by_name[name] for name in columns}


def _kind(y: Any, columns: list[str]) -> str:
    """What the columns of a table hold: "marks" (0 and 1), "numbers", or "mixed"."""
    kinds = {_column_kind(y.iloc[:, number]) for number in range(len(columns))}
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _column_kind(column: Any) -> str:
    values = np.asarray(column.dropna()) if hasattr(column, "dropna") else np.asarray(column)
    if values.dtype.kind == "O" and {type(value) for value in values.tolist()} == {bool}:
        return "marks"  # truth values with gaps
    if values.dtype.kind not in "biuf":
        return "mixed"
    return "marks" if values.dtype.kind == "b" or bool(np.isin(values, (0, 1)).all()) else "numbers"


def _heads(targets: Targets, specs: Mapping[str, "TargetSpec"], source: str) -> Target:
    """A head for each name."""
    names = list(targets["train"])
    if len(names) < 2:
        raise DatasetError(f"{source}: several targets need two at least, got {join_names(names)}")
    for name in specs:
        if name not in names:
            meant = suggest_names(name, names)
            raise DatasetError(
                f"{source}: no target {name!r}{meant}; there are {join_names(names)}"
            )
    heads = {name: _head(name, targets, specs, source) for name in names}
    values: dict[str, Any] = {}
    for part in targets:
        of_part = {name: head.values[part] for name, head in heads.items()}
        lengths = {name: len(rows) for name, rows in of_part.items()}
        if counts := differing_lengths(lengths):
            raise DatasetError(f"{source}: the targets of {part} differ in length: {counts}")
        values[part] = NamedRows(of_part)
    notes = [f"{name}: {note}" for name, head in heads.items() for note in head.notes]
    return Target("several", values, (), tuple(notes), heads=heads)


def _head(name: str, targets: Targets, specs: Mapping[str, "TargetSpec"], source: str) -> Target:
    if problem := part_name_problem(name):
        raise DatasetError(f"{source}: a head cannot be named {name!r}: {problem}; rename it")
    task = specs[name].task if name in specs else None
    of_head = {part: y[name] for part, y in targets.items()}
    try:
        return encode_targets(of_head, task, {}, None, f"{source}: head {name!r}")
    except DatasetError as error:
        text = str(error)
        raise DatasetError(
            text if text.startswith(source) else f"{source}: {name}: {text}"
        ) from error


def _matrix(targets: Targets, wanted: "Task | None", source: str) -> Target:
    """Labels or values, a column each."""
    names = _value_names(targets["train"])
    parts = {part: _numbers(y, names, part, source) for part, y in targets.items()}
    if len({matrix.shape[1] for matrix in parts.values()}) > 1:
        raise DatasetError(f"{source}: y has different numbers of columns in different parts")
    marks = all(bool(np.isin(matrix, (0, 1)).all()) for matrix in parts.values())
    task = wanted or ("multilabel" if marks else "regression")
    if task == "regression":
        return _values(parts, names, source)
    if task != "multilabel":
        raise DatasetError(f"{source}: {task} needs one target a row, the data have {len(names)}")
    return _labels(parts, names, wanted is not None, source)


def _value_names(y: Any) -> tuple[str, ...]:
    if hasattr(y, "iloc"):
        return tuple(str(name) for name in y.columns)
    return tuple(str(number + 1) for number in range(np.asarray(y).shape[1]))


def _numbers(y: Any, names: tuple[str, ...], part: str, source: str) -> npt.NDArray[np.float64]:
    """(n, k), without gaps. Raises DatasetError, which names the column."""
    columns = []
    for number, name in enumerate(names):
        what = f"{source}: the target {name!r}" + (f" of {part}" if part != "train" else "")
        if hasattr(y, "iloc"):
            values = _column(y.iloc[:, number], what)
        else:
            values = as_array(y, what)[:, number]
        wide = values.astype(np.float64)
        refuse_rows(np.isnan(wide), what, "is missing")
        refuse_rows(np.abs(wide) > np.finfo(np.float32).max, what, "is beyond float32")
        columns.append(wide)
    return np.stack(columns, axis=1)


def _column(column: Any, what: str) -> _Matrix:
    if column.isna().any():
        refuse_rows(column.isna().to_numpy(), what, "is missing")
    values = np.asarray(column)
    if values.dtype.kind == "O" and {type(value) for value in values.tolist()} <= {bool}:
        values = values.astype(np.bool_)
    if values.dtype.kind not in "biuf":
        raise DatasetError(
            f"{what} must hold numbers, or 0 and 1 for labels, it holds {values.dtype}"
        )
    return values


def _values(
    parts: Mapping[str, npt.NDArray[np.float64]], names: tuple[str, ...], source: str
) -> Target:
    """A regression of k values."""
    constant = [names[i] for i in np.flatnonzero(np.ptp(parts["train"], axis=0) == 0)]
    if constant:
        raise DatasetError(
            f"{source}: the target {constant[0]!r} of train is constant; there is nothing to learn"
        )
    return Target("regression", dict(parts), (), value_names=names)


def _labels(
    parts: Mapping[str, npt.NDArray[np.float64]],
    names: tuple[str, ...],
    declared: bool,
    source: str,
) -> Target:
    """Labels, of which a row may have any number."""
    train = parts["train"]
    for part, matrix in parts.items():
        if not np.isin(matrix, (0, 1)).all():
            wrong = names[int(np.argmin(np.isin(matrix, (0, 1)).all(axis=0)))]
            raise DatasetError(
                f"{source}: multilabel needs columns of 0 and 1, {wrong!r} of {part} holds others"
            )
    if not declared and (train.sum(axis=1) == 1).all():
        raise DatasetError(
            f"{source}: the target's shape is {train.shape}, and every row has exactly one label; "
            "for one-hot rows give y.argmax(axis=1), or say that there may be more: "
            "--task multilabel"
        )
    same = [names[i] for i in np.flatnonzero(np.ptp(train, axis=0) == 0)]
    if len(same) == len(names):
        raise DatasetError(f"{source}: all rows of train have the same labels: nothing to learn")
    notes = [
        f"the label {name} is the same in all rows: nothing is learnt from it" for name in same
    ]
    values: dict[str, Any] = {part: matrix.astype(np.float32) for part, matrix in parts.items()}
    return Target("multilabel", values, names, tuple(notes))
