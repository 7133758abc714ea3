"""The target: whether it is a number, one of two classes or one of several, and its values.

A target of texts holds classes, or numbers in an unusual notation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.arrays import as_array
from tuner.errors import DatasetError
from tuner.preparation.cells import Cells, coded_cells, is_coded_text, read_cells
from tuner.preparation.kinds import has_one_class
from tuner.preparation.number_texts import NumberFormat, find_format, is_code
from tuner.preparation.text_columns import ALMOST_ALL, FEW_TEXTS, TextColumn, capitals_note
from tuner.values import join_names

if TYPE_CHECKING:
    from tuner.study.spec import Task

_AS_CLASSES = "--task classes takes each text for a class"


def read_targets(
    targets: Mapping[str, Any], task: "Task | None"
) -> tuple[dict[str, Any], tuple[str, ...], NumberFormat | None]:
    """The target of every part, notes, and how its texts are written where they are numbers. Texts
    that can only be numbers become numbers; everything else stays as it is.

    Raises DatasetError, without the source, for dates, lists and other objects, and for numbers of
    which some are missing or written in another way.
    """
    cells = {part: _text_cells(y) for part, y in targets.items()}
    if cells["train"] is None:
        return dict(targets), (), None
    are_classes = task in ("classes", "binary")
    format_, notes = (None, ()) if are_classes else _number_format(cells["train"], task)
    if format_ is None:
        remark = capitals_note(cells["train"].texts, "classes")
        return dict(targets), ((f"the target: {remark}",) if remark else ()), None
    numbers = {
        part: targets[part] if texts is None else _text_numbers(texts, format_)
        for part, texts in cells.items()
    }
    return numbers, notes, format_


def _text_cells(y: Any) -> Cells | None:
    """The cells of a target of texts; None for other targets."""
    import pandas as pd

    series = y if hasattr(y, "iloc") else np.asarray(y)
    if series.ndim != 1 or isinstance(series.dtype, pd.CategoricalDtype):
        return None
    if isinstance(series.dtype, np.dtype) and series.dtype.kind not in "OUMm":
        return None
    try:
        cells = read_cells(pd.Series(series))
    except DatasetError as error:
        held = {type(value).__name__ for value in series if value is not None}
        raise DatasetError(
            f"the target must be text or numbers, it holds {join_names(sorted(held))}; give one "
            "text or number a row"
        ) from error
    if cells.form == "dates":
        raise DatasetError(_NO_DATES)
    return cells if cells.form == "texts" and cells.texts else None


_NO_DATES = (
    "the target must be text or numbers, it holds dates; give a number, such as the days from a "
    "fixed day on, or a word, such as the weekday"
)


def _number_format(
    cells: Cells, task: "Task | None"
) -> tuple[NumberFormat | None, tuple[str, ...]]:
    """The notation of texts that are the numbers of a regression; None for other texts."""
    texts = TextColumn("the target", cells)
    if not np.isnan(texts.dates().seconds).any():
        raise DatasetError(f"{_NO_DATES}; {_AS_CLASSES}")
    number, mark = texts.is_number, texts.is_mark
    others = ~number & ~mark
    _check_all_numbers(texts, others, task)
    if not number.any() or others.any() or texts.count(number) < texts.count(mark):
        return None, ()
    if mark.any():
        raise DatasetError(
            f"the target: {texts.count(number)} of {texts.total} cells are numbers, "
            f"{texts.count(mark)} hold no number ({texts.examples(mark)}); fill or remove these "
            f"rows, or {_AS_CLASSES}"
        )
    if task is None and any(map(is_code, texts.written())):
        return None, ()
    format_, remark = find_format(texts.written())
    values = _text_numbers(cells, format_) if format_ else cells.values
    if task is None and infer_task(values, np.unique(values)) != "regression":
        return None, ()
    if format_ is None:
        raise DatasetError(f"the target holds numbers, but {remark}; {_AS_CLASSES}")
    example = cells.texts[0]
    remark = remark or f"texts such as {example!r} are read as numbers"
    return format_, (f"the target: {remark}",)


def _check_all_numbers(texts: TextColumn, others: Any, task: "Task | None") -> None:
    almost = texts.share(texts.is_number) >= ALMOST_ALL and texts.is_number.sum() > FEW_TEXTS
    if task == "regression" and not texts.is_number.any():
        raise DatasetError("regression needs a target of numbers, it holds text")
    if others.any() and (task == "regression" or almost):
        raise DatasetError(
            f"the target: {texts.count(texts.is_number)} of {texts.total} cells are numbers, "
            f"{texts.count(others)} are not ({texts.examples(others)}); mend these cells, or "
            f"{_AS_CLASSES}"
        )


def _text_numbers(cells: Cells, format_: NumberFormat) -> Any:
    """The texts as numbers. Raises DatasetError for a text that is no number of this format."""
    texts = TextColumn("the target", cells)
    values = texts.numbers(format_).values
    wrong = np.isnan(values) & ~cells.gaps()
    if wrong.any():
        row = int(np.argmax(wrong))
        text = cells.texts[cells.values[row]]
        raise DatasetError(
            f"the target holds {text!r} in row {row + 1}, which is no number as the others are "
            "written"
        )
    whole = not np.isnan(values).any() and np.all(values % 1 == 0) and np.abs(values).max() < 2**53
    return values.astype(np.int64) if whole else values


if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import Task

# Numbers are classes if at most this many differ, with this many rows of each on average. Whole
# numbers written as floats are more often counts, hence the lower limit.
MAX_INTEGER_CLASSES = 100
MAX_FLOAT_CLASSES = 20
MIN_ROWS_A_CLASS = 3
# NamedRows of such for several heads.
TargetValues = Any
_Values = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Target:
    """`values` by part: int32 indices into `labels`, or float64 for regression (no labels); (n, k)
    for k values, and for k labels, float32 then; NamedRows of such for several heads. `notes`:
    decisions to report. `format`: how its texts were read as numbers; None if they were not.
    `value_names`: of a regression's k values. `heads`: several targets by name."""

    task: "Task"
    values: dict[str, TargetValues]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    format: NumberFormat | None = None
    value_names: tuple[str, ...] = ()
    heads: "Mapping[str, Target]" = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of which a row has one; none for other tasks."""
        return self.labels if has_one_class(self.task) else ()

    def reading(self, notes: tuple[str, ...], format_: NumberFormat | None) -> "Target":
        """With what was said, and found out, where its texts were read."""
        return replace(self, notes=notes, format=format_)


def encode_target(
    targets: dict[str, Any],
    wanted: "Task | None",
    names: tuple[str, ...] | None,
    source: str,
) -> Target:
    """Infer the task if none is given, and encode the target of every part in the same way.

    Text, bools and categories are classes. Numbers are classes if few of them differ (see above),
    floats only if all are whole. Two classes are binary. Labels are sorted and indexed by rank;
    `names` replaces the labels of whole numbers 0..k-1. Raises DatasetError for missing or infinite
    values, for a target with one value only, and if the given task does not fit.
    """
    coded = _coded_classes(targets, wanted, f"{source}: the target")
    if coded is not None:
        return coded
    parts = {part: _clean(y, f"{source}: the target") for part, y in targets.items()}
    kinds = {"text" if values.dtype.kind == "U" else "numbers" for values in parts.values()}
    if len(kinds) > 1:
        raise DatasetError(f"{source}: the target is text in one part and numbers in another")
    every = np.concatenate(list(parts.values()))
    distinct = np.unique(every)
    if len(distinct) < 2:
        raise DatasetError(
            f"{source}: the target holds one value only ({distinct[0]}); there is nothing to learn"
        )
    task = wanted or infer_task(every, distinct)
    if task == "regression":
        return Target(task, _regression(parts, source), ())
    if task == "binary" and len(distinct) != 2:
        raise DatasetError(f"{source}: binary needs two classes, the target has {len(distinct)}")
    indices: dict[str, TargetValues] = {
        p: np.searchsorted(distinct, y).astype(np.int32) for p, y in parts.items()
    }
    return Target(task, indices, _labels(distinct, names))


def infer_task(values: _Values, distinct: _Values) -> "Task":
    """The task of cleaned values (bool, int, float or text) by the rule of `encode_target`."""
    kind = values.dtype.kind
    if kind in "iu":
        limit = MAX_INTEGER_CLASSES
    elif kind == "f":
        limit = MAX_FLOAT_CLASSES if _whole(distinct) else 0
    else:
        limit = len(values)
    few = len(distinct) <= limit and len(values) >= MIN_ROWS_A_CLASS * len(distinct)
    # Text can only be classes. If a class has too few rows, the split reports it.
    if not few and kind not in "Ub":
        return "regression"
    return "binary" if len(distinct) == 2 else "classes"


def _whole(values: _Values) -> bool:
    return bool(np.all(np.mod(values.astype(np.float64), 1.0) == 0.0))


def _labels(distinct: _Values, names: tuple[str, ...] | None) -> tuple[str, ...]:
    if names and distinct.dtype.kind in "iu" and distinct[0] >= 0 and distinct[-1] < len(names):
        return tuple(names[int(index)] for index in distinct)
    if distinct.dtype.kind == "f" and _whole(distinct):
        return tuple(str(int(value)) for value in distinct.astype(np.float64))
    return tuple(str(value) for value in distinct)


def _regression(parts: dict[str, _Values], source: str) -> dict[str, TargetValues]:
    numbers: dict[str, TargetValues] = {p: _numbers(y, source) for p, y in parts.items()}
    if np.ptp(numbers["train"]) == 0:
        raise DatasetError(f"{source}: the target of train is constant; there is nothing to learn")
    return numbers


def _numbers(values: _Values, source: str) -> npt.NDArray[np.float64]:
    if values.dtype.kind == "U":
        raise DatasetError(f"{source}: regression needs a target of numbers, it holds text")
    wide = values.astype(np.float64)
    if np.abs(wide).max() > np.finfo(np.float32).max:
        raise DatasetError(f"{source}: the target holds values beyond float32")
    return wide


def _clean(y: Any, what: str) -> _Values:
    """(n,) of bool, int, float or text, without missing or infinite values."""
    values = as_array(y, what)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DatasetError(
            f"{what} must be one value a row, its shape is {values.shape}" + _remedy(values)
        )
    if not len(values):
        raise DatasetError(f"{what} is empty: there are no rows")
    if values.dtype.kind == "O":
        values = _from_objects(np.asarray(values, np.object_), what)
    if values.dtype.kind == "S":
        values = np.char.decode(np.asarray(values, np.bytes_), "utf-8", "replace")
    if values.dtype.kind not in "biufU":
        raise DatasetError(f"{what} must be text or numbers, it is {values.dtype}")
    if values.dtype.kind == "f":
        refuse_rows(np.isnan(values), what, "is missing")
        refuse_rows(np.isinf(values), what, "is infinite")
    return values


def _coded_classes(targets: dict[str, Any], wanted: "Task | None", what: str) -> Target | None:
    """The classes of a column of a file, whose texts are numbered already. The result is that of an
    array of texts, in a tenth of the time. None for other targets, and for errors, which the way by
    an array reports."""
    y = targets["train"]
    if len(targets) > 1 or wanted == "regression" or not is_coded_text(getattr(y, "dtype", None)):
        return None
    codes, texts = coded_cells(y)
    refuse_rows(codes < 0, what, "is missing")
    held = np.flatnonzero(np.bincount(codes, minlength=len(texts)))
    if len(held) < 2 or (wanted == "binary" and len(held) != 2):
        return None
    labels = np.array([texts[code] for code in held], np.str_)
    order = np.argsort(labels)
    number = np.zeros(len(texts), np.int32)
    number[held[order]] = np.arange(len(held))
    task: Task = wanted or ("binary" if len(held) == 2 else "classes")
    return Target(task, {"train": number[codes]}, tuple(map(str, labels[order])))


def _remedy(values: _Values) -> str:
    """The end of a message about a target of this shape: what to do."""
    if 1 in values.shape[:1] or values.size == len(values):
        return "; give y.ravel()"
    if values.ndim != 2:
        return ""
    return "; give several targets as a DataFrame, or as a dict of arrays"


def _from_objects(values: npt.NDArray[np.object_], what: str) -> _Values:
    """Objects as pandas or lists hold them: all bools, all numbers, or else their text."""
    import pandas as pd

    refuse_rows(np.asarray(pd.isna(values)), what, "is missing")
    kind = pd.api.types.infer_dtype(values, skipna=False)
    if kind == "boolean":
        return values.astype(np.bool_)
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        return values.astype(np.int64 if kind == "integer" else np.float64)
    return np.array([str(value) for value in values], dtype=np.str_)


def refuse_rows(bad: npt.NDArray[np.bool_], what: str, is_what: str, rows_before: int = 0) -> None:
    """Raises DatasetError if any row is bad, naming how many are and the first."""
    if bad.any():
        rows, first = int(bad.sum()), int(np.argmax(bad)) + 1 + rows_before
        raise DatasetError(
            f"{what} {is_what} in {rows} row{'s' * (rows > 1)} (first: row {first}); "
            "remove or mend them"
        )
