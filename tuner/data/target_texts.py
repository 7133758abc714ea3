"""A target that is written as texts: classes, or numbers that do not look like it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.cells import Cells, read_cells
from tuner.data.columns import ALMOST_ALL, FEW_TEXTS, Texts, capitals_note
from tuner.data.number_texts import NumberFormat, find_format, is_code
from tuner.data.raw import listed
from tuner.data.target import infer_task
from tuner.errors import DatasetError

if TYPE_CHECKING:
    from tuner.spec import Task

_AS_CLASSES = "--task classes takes each text for a class"


def read_targets(
    targets: Mapping[str, Any], task: "Task | None"
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Every part's target, as numbers where its texts can be nothing else, and notes on that. What
    is no text stays as it is.

    Raises DatasetError, without the source, for dates, lists and other objects, and for numbers of
    which some are missing or written in another way.
    """
    cells = {part: _text_cells(y) for part, y in targets.items()}
    if cells["train"] is None:
        return dict(targets), ()
    are_classes = task in ("classes", "binary")
    format_, notes = (None, ()) if are_classes else _number_format(cells["train"], task)
    if format_ is None:
        remark = capitals_note(cells["train"].texts, "classes")
        return dict(targets), ((f"the target: {remark}",) if remark else ())
    numbers = {
        part: targets[part] if texts is None else _numbers(texts, format_)
        for part, texts in cells.items()
    }
    return numbers, notes


def _text_cells(y: Any) -> Cells | None:
    """The cells of a target of texts, None for anything else."""
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
            f"the target must be text or numbers, it holds {listed(sorted(held))}; give one "
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
    """How the texts are written where they are the numbers of a regression, else None."""
    texts = Texts("the target", cells)
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
    values = _numbers(cells, format_) if format_ else cells.values
    if task is None and infer_task(values, np.unique(values)) != "regression":
        return None, ()
    if format_ is None:
        raise DatasetError(f"the target holds numbers, but {remark}; {_AS_CLASSES}")
    example = cells.texts[0]
    remark = remark or f"texts such as {example!r} are read as numbers"
    return format_, (f"the target: {remark}",)


def _check_all_numbers(texts: Texts, others: Any, task: "Task | None") -> None:
    almost = texts.share(texts.is_number) >= ALMOST_ALL and texts.is_number.sum() > FEW_TEXTS
    if task == "regression" and not texts.is_number.any():
        raise DatasetError("regression needs a target of numbers, it holds text")
    if others.any() and (task == "regression" or almost):
        raise DatasetError(
            f"the target: {texts.count(texts.is_number)} of {texts.total} cells are numbers, "
            f"{texts.count(others)} are not ({texts.examples(others)}); mend these cells, or "
            f"{_AS_CLASSES}"
        )


def _numbers(cells: Cells, format_: NumberFormat) -> Any:
    """Raises DatasetError where a text is no number of this format."""
    texts = Texts("the target", cells)
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
