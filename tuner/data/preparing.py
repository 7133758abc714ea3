"""The preparation that a network of a data set is saved with, and rows as it prepares them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import Dataset, InputPart, Split, TargetPart
from tuner.data.named_rows import NamedRows, SplitRows, named_parts, split_row_blocks
from tuner.data.rows import AnyRows, sampled_rows
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.predictions import Head
from tuner.preparation.preparation import Preparation
from tuner.preparation.row_sample import RowSample, flat_rows
from tuner.settings import tuner_version
from tuner.study.messages import StudyOrigin

# Values of features: they take some seconds.
_MOST_HASHED = 1_000_000_000


def preparation_of(dataset: Dataset) -> Preparation:
    """How later rows become what the data set's networks take."""
    target, shapes, x = dataset.target_column, dataset.input_shape, named_parts(dataset.train.x)
    if not dataset.inputs:
        whole = _preparation_of_input(dataset.input_parts[""], shapes, x[""])
    else:
        inputs = {
            name: _preparation_of_input(part, shapes[name], x[name])
            for name, part in dataset.inputs.items()
        }
        whole = Preparation(shapes, is_table=dataset.is_table, inputs=inputs)
    # Several targets are columns that the network does not take, like those that were left out.
    targets = [name for each in dataset.targets for name in names_of_target(each)]
    return replace(
        whole,
        target=target.name,
        target_format=target.format,
        ignored=(*target.ignored, *(name for name in targets if name != target.name)),
        weights=target.weights,
        image_files=dataset.image_files,
        padding=dataset.padding,
        window=dataset.window,
        vocabulary_size=0 if dataset.is_table else dataset.vocabulary_size,
    )


def names_of_target(target: TargetPart) -> tuple[str, ...]:
    """The columns that a target is made of: of k values or labels each, else its own."""
    if target.values or target.task == "multilabel":
        return target.values or target.labels
    return (target.name,) if target.name else ()


def _preparation_of_input(part: InputPart, shape: tuple[int, ...], train: AnyRows) -> Preparation:
    return Preparation(
        input_shape=shape,
        input_dtype=_input_dtype(part),
        columns=part.columns,
        is_table=part.is_table,
        features=part.features,
        value_range=None if part.is_table else _value_range(part, train),
    )


def network_inputs(dataset: Dataset, x: SplitRows) -> Any:
    """Rows (n, *input_shape) of a split as a saved network takes them: what `preparation_of` makes
    of the rows as they were given, since the network itself subtracts offsets and scales. Of
    several inputs a dict by name."""
    parts = dataset.input_parts
    unscaled = {
        name: _as_given(parts[name], np.asarray(rows)).astype(_input_dtype(parts[name]))
        for name, rows in named_parts(x).items()
    }
    return unscaled if isinstance(x, NamedRows) else unscaled[""]


def _input_dtype(part: InputPart) -> str:
    return "float64" if part.float64_inputs else "float32"


def input_blocks(dataset: Dataset, split: Split) -> Iterator[Any]:
    """The same for all rows of a split, in blocks of a few MB."""
    for block in split_row_blocks(split.x):
        yield network_inputs(dataset, NamedRows(block) if isinstance(block, dict) else block)


def _as_given(part: InputPart, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Without the offsets that were subtracted: in float64 where there are any."""
    return x if part.shift is None else x.astype(np.float64) + part.shift


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
        values=dataset.target_column.values,
        heads=tuple(map(head_of_target, dataset.heads)),
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
    blocks = (flat_rows(block) for split in splits for block in split_row_blocks(split.x))
    return RowSample.of(blocks, _shift_of_rows(dataset))


def _shift_of_rows(dataset: Dataset) -> tuple[float, ...]:
    """What was subtracted from x: as the data have it, of several inputs one value for each of a
    row's."""
    if not dataset.inputs:
        shift = dataset.shift
        return () if shift is None else tuple(np.atleast_1d(shift).tolist())
    parts = dataset.inputs
    if all(part.shift is None for part in parts.values()):
        return ()
    shapes = dataset.input_shape
    wide = [
        np.broadcast_to(0.0 if part.shift is None else part.shift, shapes[name]).ravel()
        for name, part in parts.items()
    ]
    return tuple(np.concatenate(wide).tolist())


def head_of_target(target: TargetPart) -> Head:
    """What a saved network says of a target."""
    return Head(target.name, target.task, target.labels, target.values, target.format)


def _value_range(part: InputPart, train: AnyRows) -> tuple[float, float]:
    """Lowest and highest value of some training rows, as they were given."""
    sample = np.asarray(train[sampled_rows(len(train), train.shape)], np.float64)
    unscaled = _as_given(part, sample)
    return float(unscaled.min()), float(unscaled.max())
