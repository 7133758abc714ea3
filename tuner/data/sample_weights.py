"""Sample weights: how much each row counts in training, from a column of a table or an array.

Only rows that can be trained on have weights: a comparison trains on the validation rows too. The
test rows have none, and metrics are never weighted.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.arrays import as_array
from tuner.data.raw import Raw
from tuner.data.rows import Indices
from tuner.data.target import refuse_rows
from tuner.errors import DatasetError
from tuner.preparation.cells import Cells, read_cells
from tuner.preparation.number_texts import find_format
from tuner.preparation.text_columns import TextColumn
from tuner.values import join_names, suggest_names

if TYPE_CHECKING:  # training reads data without pydantic
    from tuner.study.spec import DataSpec

Weights = npt.NDArray[np.float32]


def take_weights(raw: Raw, spec: "DataSpec") -> tuple[Raw, dict[str, Weights]]:
    """The data without the column of weights, and the weights of the rows of each part that can be
    trained on; no weights if the spec names none. Raises DatasetError for weights that are not
    there, or cannot be."""
    name = spec.weights
    if name is None:
        return raw, {}
    what = f"{raw.source}: weights {name!r}"
    if name in spec.columns:
        raise DatasetError(f"{what}: --column cannot name the column of weights too")
    parts, weights = {}, {}
    for part, pair in raw.parts.items():
        values = pair.weights
        if values is None and _is_frame(pair.x):
            frame = pair.x.set_axis([str(column) for column in pair.x.columns], axis=1)
            if name in frame.columns:
                _check_single(frame, name, what)
                values = frame[name]
                pair = pair._replace(x=frame.drop(columns=name))
        parts[part] = pair
        if part != "test":
            if values is None:
                raise DatasetError(f"{what}{_not_there(raw, part, name)}")
            weights[part] = read_weights(values, what)
            _check_length(weights[part], pair.y, f"{what} of {part}")
    return replace(raw, parts=parts), weights


def split_weights(
    weights: Mapping[str, Weights], rows: Mapping[str, Indices], source: str
) -> dict[str, Weights]:
    """The weights of the training and validation rows. `rows`: the numbers of those that are split
    off from train. Raises DatasetError if no training row counts."""
    split = {
        part: weights["train"][rows[part]] if part in rows else weights[part]
        for part in ("train", "validation")
        if weights and (part in rows or part in weights)
    }
    if split and not split["train"].any():
        raise DatasetError(f"{source}: the weights of all training rows are 0; nothing is learnt")
    return split


def read_weights(values: Any, what: str) -> Weights:
    """Weights as a column or an array holds them, float32 (n,). Raises DatasetError, which begins
    with `what` and names the first row, for one that is missing, no number, infinite or
    negative."""
    numbers = _numbers(values, what)
    refuse_rows(np.isnan(numbers), what, "is missing")
    refuse_rows(np.isinf(numbers), what, "is infinite")
    refuse_rows(numbers < 0, what, "is negative")
    refuse_rows(numbers > np.finfo(np.float32).max, what, "is beyond float32")
    if not numbers.any():
        raise DatasetError(f"{what}: all are 0; nothing would be learnt")
    return numbers.astype(np.float32)


def _numbers(values: Any, what: str) -> npt.NDArray[np.float64]:
    """The values as float64 (n,), NaN where one is missing."""
    import pandas as pd

    if hasattr(values, "iloc") and values.ndim == 2 and values.shape[1] == 1:
        values = values.iloc[:, 0]
    if not hasattr(values, "iloc"):
        array = as_array(values, what)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1:
            raise DatasetError(f"{what} must be one number a row, its shape is {array.shape}")
        if array.dtype.kind in "biuf":
            return array.astype(np.float64)
        values = pd.Series(array)
    cells = read_cells(values)
    if cells.form == "dates":
        raise DatasetError(f"{what} must be numbers, it holds dates")
    return _from_texts(cells, what) if cells.form == "texts" else cells.values.astype(np.float64)


def _from_texts(cells: Cells, what: str) -> npt.NDArray[np.float64]:
    texts = TextColumn("weights", cells)
    others = ~texts.is_number & ~texts.is_mark
    if others.any():
        raise DatasetError(
            f"{what} must be numbers; {texts.count(others)} of {texts.total} cells are none "
            f"({texts.examples(others)})"
        )
    format_, remark = find_format(texts.written())
    if format_ is None:
        raise DatasetError(f"{what}: {remark or 'is missing in every row'}")
    return texts.numbers(format_).values


def _is_frame(x: Any) -> bool:
    return hasattr(x, "iloc") and getattr(x, "ndim", 0) == 2


def _check_single(frame: Any, name: str, what: str) -> None:
    count = list(frame.columns).count(name)
    if count > 1:
        raise DatasetError(f"{what}: {count} columns have that name; rename or remove all but one")


def _check_length(weights: Weights, y: Any, what: str) -> None:
    if len(weights) != len(y):
        raise DatasetError(f"{what}: {len(weights)} for {len(y)} rows; give one a row")


def _not_there(raw: Raw, part: str, name: str) -> str:
    """Why a part has no weights, and what to do."""
    pair = raw.parts[part]
    if getattr(pair.y, "name", None) == name:
        return " is the target; name another column"
    if _is_frame(pair.x):
        names = [str(column) for column in pair.x.columns]
        where = "" if part == "train" else f" of {part}"
        return f": no such column{where}{suggest_names(name, names)}; it has {join_names(names)}"
    return (
        ": these data have none; weights are a column of a table, an array of an .npz file, or a "
        "key of the dict that load returns"
    )
