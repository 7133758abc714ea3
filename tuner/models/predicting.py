"""Scoring data with a network, block by block: reading and preparing, computing and writing
overlap, and memory does not grow with the data."""

import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.later_rows import LaterRows, RowBlock, open_rows
from tuner.data.prediction_files import writing_predictions
from tuner.errors import DatasetError, UsageError
from tuner.models.lean_import import lean_keras_import
from tuner.models.model import Model
from tuner.models.model_opening import BroughtNetwork, bring_network, describe_brought, load_brought
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.predictions import finite_rows, predict_columns, probabilities
from tuner.preparation.preparation import Findings, Preparation, Prepared
from tuner.settings import Settings
from tuner.system.temporary_folders import OwnFolder
from tuner.system.threads import WriteBehind, read_ahead

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

STANDARD_INPUT = "-"


@dataclass(frozen=True, eq=False)
class ScoredBlock:
    """Some rows and what the network gives for them.

    `block`: the rows as they were read, with their index and target. `outputs`: as of
    `Model.outputs`. `inputs`: (n, *input_shape), what it takes for them. `findings`: what these
    rows have shown.
    """

    block: RowBlock
    outputs: Any
    inputs: Any
    findings: Findings


def score_rows(
    rows: LaterRows,
    preparation: Preparation,
    load_model: Callable[[], Model],
    strict: bool = False,
) -> Iterator[ScoredBlock]:
    """The rows in their order. `load_model` is called once the first block is prepared: what is
    wrong with the data is known before TensorFlow is imported, and more blocks are read meanwhile.
    `strict`: refuse categories that no training row had.

    Raises DatasetError for rows that the network cannot take, and for data without rows.
    """
    model = None
    for block, prepared in read_ahead(_prepared_blocks(rows, preparation, strict)):
        model = load_model() if model is None else model
        inputs = prepared.inputs
        yield ScoredBlock(block, model.outputs_of_prepared(inputs), inputs, prepared.findings)


def _prepared_blocks(
    rows: LaterRows, preparation: Preparation, strict: bool
) -> Iterator[tuple[RowBlock, Prepared]]:
    count = 0
    for block in rows.blocks():
        yield block, preparation.prepare(block.rows, rows.source, strict, first_row=count)
        count += len(block)


@dataclass(frozen=True)
class Scoring:
    """A network and the data that it is to score: both were found, nothing is computed yet.

    `where`, `remarks`: as of `BroughtNetwork`. `load_model` imports TensorFlow.
    """

    description: NetworkDescription
    rows: LaterRows
    where: str
    remarks: list[str]
    load_model: Callable[[], Model]

    def blocks(self, strict: bool = False) -> Iterator[ScoredBlock]:
        """See `score_rows`."""
        return score_rows(self.rows, self.description.preparation, self.load_model, strict)


@contextmanager
def open_scoring(
    model: str, data: str, settings: Settings, trust: Sequence[str] = ()
) -> Iterator[Scoring]:
    """What `model` and `data` name, as on the command line; `-` is CSV from standard input. For
    commands: Keras is imported leanly. Raises as `bring_network` and `open_rows`."""
    with OwnFolder("tuner-network-") as folder:
        brought = bring_network(model, settings, Path(folder), trust)
        network = describe_brought(brought)
        with _readable(data, Path(folder)) as source:
            rows = open_rows(
                source,
                network.preparation,
                settings,
                network.task,
                network.labels,
                network.targets,
            )
            load_model = partial(_load_leanly, brought, settings)
            yield Scoring(network, rows, brought.where, brought.remarks, load_model)


def _load_leanly(brought: BroughtNetwork, settings: Settings) -> Model:
    with lean_keras_import():
        return load_brought(brought, settings)


@contextmanager
def _readable(data: str, folder: Path) -> Iterator[str]:
    """The text for `open_rows`. Standard input is copied into `folder`, since a reader looks at the
    first rows before it reads all of them."""
    if data != STANDARD_INPUT:
        yield data
        return
    file = folder / "standard-input.csv"
    with file.open("wb") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
    try:
        yield str(file)
    except DatasetError as error:
        raise DatasetError(str(error).replace(str(file), "standard input")) from error


@dataclass
class PredictionSummary:
    """Of predicted rows.

    `labels`: how many rows were given each label. `mean`, `least`, `greatest`: of predicted values,
    where a row has one.
    `not_finite`: rows for which the network gives NaN or infinity; they are not in the others.
    `has_index`: whether the data have index columns.
    """

    rows: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    mean: float | None = None
    least: float = math.inf
    greatest: float = -math.inf
    not_finite: int = 0
    has_index: bool = False
    findings: Findings = field(default_factory=Findings)

    def add(self, scored: ScoredBlock, network: NetworkDescription) -> None:
        finite = finite_rows(scored.outputs)
        before = self.rows - self.not_finite
        self.rows += len(finite)
        self.not_finite += int(np.count_nonzero(~finite))
        self.findings.add(scored.findings)
        self.has_index |= scored.block.index is not None
        if not finite.any() or network.heads or network.values:
            return
        outputs = scored.outputs[finite]
        if network.task != "regression":
            self._count_labels(outputs, network)
            return
        total = float(outputs.sum(dtype=np.float64)) + before * (self.mean or 0.0)
        self.mean = total / (before + len(outputs))
        self.least = min(self.least, float(outputs.min()))
        self.greatest = max(self.greatest, float(outputs.max()))

    def _count_labels(self, outputs: npt.NDArray[Any], network: NetworkDescription) -> None:
        shares = probabilities(outputs, network.task)
        if network.task == "multilabel":
            counts = (shares > 0.5).sum(axis=0).tolist()
        else:
            counts = np.bincount(shares.argmax(axis=1), minlength=len(network.labels)).tolist()
        for label, count in zip(network.labels, counts, strict=True):
            self.labels[label] = self.labels.get(label, 0) + count


class Predictions:
    """The predictions for data, made while they are read from here.

    `top`: give the most probable labels, so many, instead of the probability of each label.
    `strict`: as of `score_rows`. `summary`: of the rows so far.

    Raises UsageError for a `top` that is no number of labels.
    """

    def __init__(self, scoring: Scoring, top: int | None = None, strict: bool = False) -> None:
        _check_top(scoring.description, top)
        self.summary = PredictionSummary()
        self._scoring, self._top, self._strict = scoring, top, strict

    def tables(self) -> "Iterator[pa.Table]":
        """Some rows at a time: the index columns of the data, then those of `predict_columns`.
        Raises as `score_rows`."""
        network = self._scoring.description
        for scored in self._scoring.blocks(self._strict):
            self.summary.add(scored, network)
            columns = predict_columns(scored.outputs, network.targets, self._top)
            yield _to_table(scored.block.index, columns, self._scoring.rows.source)


def write_predictions(tables: "Iterable[pa.Table]", file: Path) -> None:
    """Write them into the file, in a thread. Raises as `writing_predictions`."""
    with writing_predictions(file) as write, WriteBehind(write) as write_behind:
        for table in tables:
            write_behind(table)


def _check_top(network: NetworkDescription, top: int | None) -> None:
    if top is None:
        return
    if network.task == "regression":
        raise UsageError("--top is for labels; this network predicts numbers")
    if network.task in ("several", "multilabel"):
        raise UsageError("--top is for one label a row; this network predicts several")
    if not 1 <= top <= len(network.labels):
        raise UsageError(f"--top must be from 1 to {len(network.labels)}, the number of labels")


def _to_table(
    index: "pd.DataFrame | None", columns: Mapping[str, npt.NDArray[Any]], source: str
) -> "pa.Table":
    import pyarrow as pa

    indexes = {} if index is None else {str(name): index[name] for name in index.columns}
    if taken := [name for name in indexes if name in columns]:
        raise DatasetError(
            f"{source}: its index column {taken[0]!r} is named like a column of the predictions; "
            "rename it"
        )
    return pa.table({name: _arrow_array(v) for name, v in {**indexes, **columns}.items()})


def _arrow_array(values: Any) -> Any:
    import pyarrow as pa

    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # objects of several types
        array = pa.array([None if v is None or v != v else str(v) for v in values], pa.string())
    is_coded = pa.types.is_dictionary(array.type)
    return array.cast(array.type.value_type) if is_coded else array
