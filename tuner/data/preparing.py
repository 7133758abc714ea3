"""The preparation that a network of a data set is saved with."""

from collections.abc import Mapping

import numpy as np

from tuner.data.dataset import Dataset
from tuner.data.rows import sampled_rows
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.preparation import Preparation
from tuner.settings import tuner_version
from tuner.study.messages import StudyOrigin


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


def describe_network(
    dataset: Dataset,
    metric: str,
    study: StudyOrigin,
    trial: int | None,
    code: Mapping[str, str],
    problem: str = "",
) -> NetworkDescription:
    """What the network of a trial on these data is saved with. `metric`: the study's objective.
    `code`: path and text of the user's own files that its layers need. `problem`: as in
    `NetworkDescription`."""
    return NetworkDescription(
        preparation=preparation_of(dataset),
        task=dataset.task,
        labels=dataset.labels,
        metric=metric,
        fingerprint=dataset.fingerprint,
        data=dataset.name,
        version=tuner_version(),
        study=study.name,
        study_uuid=study.uuid,
        trial=trial,
        code=code,
        problem=problem,
    )


def _value_range(dataset: Dataset) -> tuple[float, float]:
    """Lowest and highest value of some training rows, as they were given."""
    x = dataset.train.x
    rows = np.asarray(x[sampled_rows(len(x), x.shape)], np.float64)
    given = rows if dataset.shift is None else rows + dataset.shift
    return float(given.min()), float(given.max())
