"""How long the sequences and texts of a data set are, for `tuner data describe`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import Dataset, Split
from tuner.data.rows import row_blocks


def describe_sequences(dataset: Dataset) -> dict[str, Any]:
    """What a row is, the vocabulary of tokens, and the lengths of the training rows; nothing for
    data that are no sequences."""
    if not dataset.input_kind:
        return {}
    facts: dict[str, Any] = {"rows_are": dataset.input_kind}
    if dataset.input_kind == "tokens":
        facts["vocabulary"] = dataset.vocabulary_size
    steps = dataset.input_shape[0]
    lengths = row_lengths(dataset, dataset.train)
    facts["steps"] = {
        "shortest": int(lengths.min()),
        "median": float(np.median(lengths)),
        "longest": int(lengths.max()),
        "of": steps,
    }
    facts["padding"] = float(1 - lengths.mean() / steps)
    return facts


def row_lengths(dataset: Dataset, split: Split) -> npt.NDArray[np.intp]:
    """How many steps of each row (n,) are no padding."""
    steps = dataset.input_shape[0]
    if dataset.input_kind == "tokens":
        present = [(block != 0) for block in row_blocks(split.x)]
    elif dataset.padded:
        present = [(block[..., -1] != 0) for block in row_blocks(split.x)]
    else:
        return np.full(len(split), steps)
    return np.concatenate([block.sum(axis=1) for block in present])
