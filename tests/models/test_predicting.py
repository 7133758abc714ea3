"""Scoring rows block by block."""

import gc
import importlib
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fake_network import PREPARATION, FakeNetwork, describe

from tuner.data.later_rows import LaterRows, RowBlock
from tuner.errors import DatasetError, UsageError
from tuner.models.lean_import import lean_keras_import
from tuner.models.model import Model
from tuner.models.predicting import (
    Predictions,
    PredictionSummary,
    ScoredBlock,
    Scoring,
    score_rows,
    write_predictions,
)
from tuner.preparation.preparation import Findings, Preparation

DESCRIPTION = describe("regression", ())


def load() -> Model:
    return Model(DESCRIPTION, FakeNetwork(DESCRIPTION))  # type: ignore[arg-type]


def block(sizes: list[float], index: list[str] | None = None) -> RowBlock:
    rows = pd.DataFrame({"size": sizes, "city": "Rome"})
    return RowBlock(rows, None if index is None else pd.DataFrame({"id": index}))


def rows_of(blocks: Iterator[RowBlock]) -> LaterRows:
    return LaterRows("toy", lambda: blocks)


def scoring_of(blocks: Iterator[RowBlock]) -> Scoring:
    return Scoring(DESCRIPTION, rows_of(blocks), "best.keras", [], load)


def test_blocks_come_in_order_with_their_index() -> None:
    blocks = iter([block([1, 2], ["x", "y"]), block([], []), block([3], ["z"])])
    predictions = Predictions(scoring_of(blocks))
    written = pd.concat([table.to_pandas() for table in predictions.tables()])
    assert written.to_dict("list") == {"id": ["x", "y", "z"], "prediction": [10.0, 20.0, 30.0]}
    summary = predictions.summary
    assert (summary.rows, summary.mean, summary.least, summary.greatest) == (3, 20.0, 10.0, 30.0)
    assert summary.has_index
    without_index = Predictions(scoring_of(iter([block([1])])))
    assert [table.column_names for table in without_index.tables()] == [["prediction"]]
    assert not without_index.summary.has_index


def test_rows_without_a_finite_prediction_are_in_no_sum() -> None:
    summary = PredictionSummary()
    for values in ([np.nan, 1.0], [3.0, 5.0], [np.inf]):
        outputs = np.array(values)[:, np.newaxis]
        summary.add(ScoredBlock(block([]), outputs, outputs, Findings()), DESCRIPTION)
    assert (summary.rows, summary.not_finite, summary.mean) == (5, 2, 3.0)
    assert (summary.least, summary.greatest) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("index", "written"),
    [
        (pd.Categorical(["x", "y"]), ["x", "y"]),
        ([7, "y"], ["7", "y"]),
        ([None, "y"], [None, "y"]),
        (pd.array([7, None], "Int64"), [7, None]),
    ],
)
def test_an_index_of_any_type_is_written_as_plain_values(index: Any, written: list[Any]) -> None:
    rows = RowBlock(block([1, 2]).rows, pd.DataFrame({"id": index}))
    (table,) = Predictions(scoring_of(iter([rows]))).tables()
    assert table["id"].to_pylist() == written
    assert not pa.types.is_dictionary(table["id"].type)


def test_an_index_that_is_named_like_a_prediction_is_refused() -> None:
    rows = RowBlock(block([1]).rows, pd.DataFrame({"prediction": ["x"]}))
    with pytest.raises(DatasetError, match="toy: its index column 'prediction' is named like"):
        list(Predictions(scoring_of(iter([rows]))).tables())


def test_rows_are_numbered_over_all_blocks() -> None:
    blocks = [RowBlock(np.ones((2, 2))), RowBlock(np.array([[1.0, np.nan]]), first_row=2)]
    with pytest.raises(DatasetError, match=r"toy: misses 1 value .NaN., the first .*, row 3;"):
        list(score_rows(rows_of(iter(blocks)), Preparation((2,)), load))


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Of a hundred blocks only a few exist at a time."""
    alive: weakref.WeakSet[RowBlock] = weakref.WeakSet()
    most = 0

    def blocks() -> Iterator[RowBlock]:
        nonlocal most
        for number in range(100):
            made = block([float(number)] * 10)
            alive.add(made)
            most = max(most, len(alive))
            yield made
            del made

    gc.disable()
    try:
        predictions = Predictions(scoring_of(blocks()))
        write_predictions(predictions.tables(), tmp_path / "p.csv")
    finally:
        gc.enable()
    assert predictions.summary.rows == 1000
    assert most <= 8


@pytest.mark.parametrize("ending", ["parquet", "npz"])
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_file_that_cannot_hold_the_index_is_named(tmp_path: Path, ending: str) -> None:
    numbered = RowBlock(pd.DataFrame({"size": [1.0], "city": "Rome"}), pd.DataFrame({"id": [1]}))
    predictions = Predictions(scoring_of(iter([numbered, block([2], ["x"])])))
    file = tmp_path / f"p.{ending}"
    with pytest.raises(UsageError, match=rf"p\.{ending}: cannot hold the index column"):
        write_predictions(predictions.tables(), file)
    gc.collect()  # Arrow's writer must not write into the closed file
    assert not list(tmp_path.iterdir())


def test_bad_rows_are_known_before_the_network_is_loaded() -> None:
    def load_nothing() -> Model:
        raise AssertionError("the network was loaded")

    bad = RowBlock(pd.DataFrame({"sise": [1.0], "city": "Rome"}))
    with pytest.raises(DatasetError, match="lacks"):
        list(score_rows(rows_of(iter([bad])), PREPARATION, load_nothing))
    with pytest.raises(DatasetError, match="holds no rows"):
        list(score_rows(rows_of(iter([])), PREPARATION, load_nothing))


def test_what_a_later_block_raises_is_raised_in_its_turn() -> None:
    def blocks() -> Iterator[RowBlock]:
        yield block([1])
        yield block([2])
        raise DatasetError("row 3")

    outputs = []
    with pytest.raises(DatasetError, match="row 3"):
        for scored in score_rows(rows_of(blocks()), PREPARATION, load):
            outputs.append(scored.outputs.item())
    np.testing.assert_array_equal(outputs, [10.0, 20.0])


def test_libraries_are_hidden_from_keras_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn", sys)  # imported already
    with pytest.raises(ZeroDivisionError), lean_keras_import():
        assert sys.modules["sklearn"] is sys
        with pytest.raises(ImportError):
            importlib.import_module("IPython")
        raise ZeroDivisionError
    assert "IPython" not in sys.modules
