"""The preparation that a network of a data set is saved with, and rows as it prepares them."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import Dataset, Split
from tuner.data.named_rows import named_parts
from tuner.data.rows import row_blocks, sampled_rows
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.preparation import Preparation
from tuner.preparation.row_sample import RowSample
from tuner.settings import tuner_version
from tuner.study.messages import StudyOrigin

# Values of features: they take some seconds.
_MOST_HASHED = 1_000_000_000


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
        weights=target.weights,
        padding=dataset.padding,
        vocabulary_size=0 if dataset.is_table else dataset.vocabulary_size,
    )


def network_inputs(dataset: Dataset, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows (n, *input_shape) of a split as a saved network takes them: what `preparation_of` makes
    of the rows as they were given, since the network itself subtracts offsets and scales."""
    return _as_given(dataset, x).astype(np.float64 if dataset.float64_inputs else np.float32)


def input_blocks(dataset: Dataset, split: Split) -> Iterator[npt.NDArray[Any]]:
    """The same for all rows of a split, in blocks of a few MB."""
    for block in row_blocks(split.x):
        yield network_inputs(dataset, block)


def _as_given(dataset: Dataset, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Without the offsets that were subtracted: in float64 where there are any."""
    return x if dataset.shift is None else x.astype(np.float64) + dataset.shift


def given_targets(dataset: Dataset, split: Split) -> Any:
    """A split's targets (n,): class numbers, or values in the target's units; (n, k) of k values or
    labels, and a dict of such where there are several heads."""
    rows = named_parts(split.y)
    if not dataset.heads:
        return _shifted(rows[""], dataset.target_shift)
    return {head.name: _shifted(rows[head.name], head.shift) for head in dataset.heads}


def in_target_units(dataset: Dataset, split: Split, predictions: Any) -> tuple[Any, Any]:
    """A split's targets, and predictions for its rows without what was subtracted from y, both in
    the targets' units."""
    if dataset.heads:
        shifted = {h.name: _shifted(predictions[h.name], h.shift) for h in dataset.heads}
    else:
        shifted = _shifted(predictions, dataset.target_shift)
    return given_targets(dataset, split), shifted


def _shifted(values: Any, shift: Any) -> Any:
    # In float64, since float32 would lose the differences.
    return values + np.asarray(shift, np.float64) if np.any(shift) else values


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
        trained_on="train" if dataset.evaluation_name == "val" else "train+validation",
        code=code,
        seen=_seen_rows(dataset),
        problem=problem,
    )


@lru_cache(maxsize=1)
def _seen_rows(dataset: Dataset) -> RowSample | None:
    """Of the rows that a search trains on and chooses by. A worker asks for every network that it
    saves, always of the same data."""
    splits = (dataset.train, dataset.validation)
    if sum(split.x.size for split in splits) > _MOST_HASHED:
        return None
    shift = () if dataset.shift is None else tuple(np.atleast_1d(dataset.shift).tolist())
    return RowSample.of((block for split in splits for block in row_blocks(split.x)), shift)


def _value_range(dataset: Dataset) -> tuple[float, float]:
    """Lowest and highest value of some training rows, as they were given."""
    x = dataset.train.x
    given = _as_given(dataset, np.asarray(x[sampled_rows(len(x), x.shape)], np.float64))
    return float(given.min()), float(given.max())
