"""How long the sequences and texts of a data set are, for `tuner data describe`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import InputPart
from tuner.data.rows import AnyRows, row_blocks


def describe_sequences(part: InputPart, train: AnyRows) -> dict[str, Any]:
    """What a row of an input is, the vocabulary of tokens, and the lengths of the training rows;
    nothing for an input that is no sequence."""
    if not part.input_kind:
        return {}
    facts: dict[str, Any] = {"rows_are": part.input_kind}
    if part.input_kind == "tokens":
        facts["vocabulary"] = part.vocabulary_size
    lengths, steps = row_lengths(part, train), train.shape[1]
    facts["steps"] = {
        "shortest": int(lengths.min()),
        "median": float(np.median(lengths)),
        "longest": int(lengths.max()),
        "of": steps,
    }
    facts["padding"] = float(1 - lengths.mean() / steps)
    return facts


def row_lengths(part: InputPart, rows: AnyRows) -> npt.NDArray[np.intp]:
    """How many steps of each row (n,) are no padding."""
    if part.input_kind == "tokens":
        return np.concatenate([(block != 0).sum(axis=1) for block in row_blocks(rows)])
    if part.padding is not None:
        return np.concatenate([(block[..., -1] != 0).sum(axis=1) for block in row_blocks(rows)])
    return np.full(len(rows), rows.shape[1])
