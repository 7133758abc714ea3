"""The preparation that a network of a data set is saved with."""

import numpy as np

from tuner.data.dataset import Dataset
from tuner.data.rows import sampled_rows
from tuner.preparation.preparation import Preparation


def preparation_of(dataset: Dataset) -> Preparation:
    """How later rows become what the data set's networks take."""
    target = dataset.target_column
    return Preparation(
        input_shape=dataset.input_shape,
        input_dtype="float64" if dataset.float64_inputs else "float32",
        columns=dataset.columns,
        is_table=dataset.is_table,
        features=dataset.features,
        value_range=None if dataset.is_table else _value_range(dataset),
        target=target.name,
        target_format=target.format,
        ignored=target.ignored,
    )


def _value_range(dataset: Dataset) -> tuple[float, float]:
    """Lowest and highest value of some training rows, as they were given."""
    x = dataset.train.x
    rows = np.asarray(x[sampled_rows(len(x), x.shape)], np.float64)
    given = rows if dataset.shift is None else rows + dataset.shift
    return float(given.min()), float(given.max())
