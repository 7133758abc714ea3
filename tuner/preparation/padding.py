"""Sequences of different lengths as one array: padded, with a last channel that marks the padding.

A network cannot tell a padded step from a real one by its value, so each step says which it is: the
last channel is 1 for a step that is there and 0 for padding.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.errors import DatasetError

Sequences = list[npt.NDArray[Any]]


def as_sequences(rows: Any, always: bool = False) -> Sequences | None:
    """Rows that are a list, or an array of objects, of lists or arrays of different lengths; None
    for anything else. `always`: equal lengths too."""
    is_list = isinstance(rows, (list, tuple))
    if not is_list and not (isinstance(rows, np.ndarray) and rows.dtype.kind == "O"):
        return None
    items = list(rows)
    if not items or not all(isinstance(item, (list, tuple, np.ndarray)) for item in items):
        return None
    if is_list and not always and len({len(item) for item in items}) == 1:
        return None
    try:
        return [np.asarray(item) for item in items]
    except ValueError:  # steps of different numbers of channels
        return None


def rows_of_columns(frame: Any, names: Sequence[str]) -> npt.NDArray[np.object_]:
    """The rows of a table whose cells hold sequences: each (steps, columns). Raises DatasetError
    for a row whose cells differ in length."""
    rows = np.empty(len(frame), object)
    columns = [frame[name].tolist() for name in names]
    for number, cells in enumerate(zip(*columns, strict=True)):
        held = [np.asarray([] if cell is None else cell) for cell in cells]
        if len({cell.shape for cell in held}) > 1 or held[0].ndim != 1:
            lengths = ", ".join(f"{n} {np.shape(c)}" for n, c in zip(names, held, strict=True))
            raise DatasetError(f"row {number + 1}: its sequences differ in length: {lengths}")
        rows[number] = np.stack(held, axis=1)
    return rows


def check_sequences(sequences: Sequences, source: str, first_row: int = 0) -> int:
    """The number of channels, 1 for sequences of numbers. Raises DatasetError, with the row, for
    different numbers of channels, anything but numbers, and where all sequences are empty."""
    shapes = [sequence.shape[1:] for sequence in sequences if sequence.size]
    if not shapes:
        raise DatasetError(f"{source}: all sequences are empty")
    for number, sequence in enumerate(sequences):
        where = f"{source}: the sequence of row {first_row + number + 1}"
        if len(sequence) and sequence.dtype.kind not in "biuf":
            raise DatasetError(f"{where} must hold numbers, it holds {sequence.dtype}")
        if len(sequence) and sequence.shape[1:] != shapes[0]:
            raise DatasetError(
                f"{where} has steps of shape {sequence.shape[1:]}, those before have {shapes[0]}: "
                "give every step the same channels"
            )
        if len(sequence) and not np.isfinite(np.asarray(sequence, np.float64)).all():
            raise DatasetError(f"{where} holds NaN or an infinite value; mend it or leave it out")
    if len(shapes[0]) > 1:
        raise DatasetError(f"{source}: a step has shape {shapes[0]}; give it one row of channels")
    return int(shapes[0][0]) if shapes[0] else 1


def pad_sequences(sequences: Sequences, steps: int, channels: int) -> npt.NDArray[np.float64]:
    """(n, steps, channels + 1): sequences cut after so many steps, NaN where they are shorter, and
    the channel that marks their steps."""
    lengths = np.minimum([len(sequence) for sequence in sequences], steps)
    padded = np.full((len(sequences), steps, channels + 1), np.nan)
    present = np.arange(steps) < lengths[:, np.newaxis]
    padded[..., -1] = present
    held = [np.reshape(s[:steps], (-1, channels)) for s in sequences if len(s)]
    if held:
        padded[present, :channels] = np.concatenate(held)
    return padded


def pad_tokens(sequences: Sequences, steps: int) -> npt.NDArray[np.int64]:
    """(n, steps): numbers of words, cut after so many steps, 0 where they are fewer."""
    padded = np.zeros((len(sequences), steps), np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: min(len(sequence), steps)] = sequence[:steps]
    return padded


def fill_padding(padded: npt.NDArray[np.float64], fill: Sequence[float]) -> npt.NDArray[np.float64]:
    """The same with a value of each channel in place of NaN."""
    return np.where(np.isnan(padded), [*fill, 0.0], padded)


def as_padded_rows(
    rows: Any, steps: int, channels: int, source: str, first_row: int = 0
) -> npt.NDArray[np.float64]:
    """Later rows as `pad_sequences` makes them: a list of sequences, an array (n, steps, channels)
    of any number of steps, or one sequence (steps, channels). Raises DatasetError for others."""
    sequences = as_sequences(rows)
    if sequences is None:
        try:
            array = np.asarray(rows)
        except ValueError as error:
            raise DatasetError(f"{source}: holds no sequences of steps ({error})") from error
        if array.ndim == 2 and array.shape[1] == channels != 1:
            array = array[np.newaxis]
        elif array.ndim == 2 and channels == 1:
            array = array[..., np.newaxis]
        if array.ndim != 3:
            raise DatasetError(
                f"{source}: the network takes sequences of {channels} channels; these rows have "
                f"shape {array.shape}"
            )
        sequences = list(array)
    own_channels = check_sequences(sequences, source, first_row)
    if own_channels != channels:
        raise DatasetError(
            f"{source}: sequences have {own_channels} channels, the network takes {channels}"
        )
    return pad_sequences(sequences, steps, channels)


def cut_to_lengths(x: Any, lengths: Any, source: str) -> npt.NDArray[np.object_]:
    """Sequences from rows (n, steps, ...) and how many steps of each are no padding. Raises
    DatasetError for lengths that do not fit."""
    whole = np.asarray(lengths)
    if whole.ndim != 1 or len(whole) != len(x) or whole.dtype.kind not in "iu":
        raise DatasetError(
            f"{source}: lengths must be one whole number for each of the {len(x)} rows of x"
        )
    if np.ndim(x) < 2 or whole.min(initial=0) < 0 or whole.max(initial=0) > x.shape[1]:
        raise DatasetError(f"{source}: lengths must lie between 0 and the steps of x")
    return as_objects([np.asarray(x[row])[:k] for row, k in enumerate(whole.tolist())])


def as_objects(sequences: Sequence[Any]) -> npt.NDArray[np.object_]:
    """An array (n,) with a sequence in each place."""
    rows = np.empty(len(sequences), object)
    for number, sequence in enumerate(sequences):
        rows[number] = sequence
    return rows


def check_tokens(
    values: npt.NDArray[Any], vocabulary_size: int, source: str, first_row: int = 0
) -> None:
    """Raises DatasetError for numbers that are no words of a vocabulary."""
    wrong = (values < 0) | (values >= vocabulary_size) | (values != np.trunc(values))
    if wrong.any():
        row = int(np.argmax(wrong.any(axis=1)))
        raise DatasetError(
            f"{source}: row {first_row + row + 1} holds {values[row][wrong[row]][0]:g}; the "
            f"network knows the numbers 0 to {vocabulary_size - 1} as words"
        )
