"""Data with several inputs and several targets: how they are given, read, kept and refused."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tuner.data import Dataset, load_dataset, open_dataset, save_dataset
from tuner.data.later_rows import open_rows
from tuner.data.preparing import describe_network, network_inputs
from tuner.errors import DatasetError, SpecError
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.predictions import predict_columns
from tuner.settings import load_settings
from tuner.study.data_spec import DataSpec, TargetSpec
from tuner.study.messages import StudyOrigin
from tuner.study.metrics import METRICS
from tuner.study.weighted_metrics import ScoredRows, WeightedRows

N = 120
DRAW = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "age": DRAW.integers(18, 90, N),
        "town": DRAW.choice(["Rome", "Oslo"], N),
        "stamp": 1_700_000_000 + DRAW.integers(0, 5000, N),
        "price": 100 + 30 * DRAW.normal(size=N),
        "rooms": DRAW.integers(1, 9, N),
        "kind": DRAW.choice(["flat", "house", "boat"], N),
        "red": DRAW.integers(0, 2, N),
        "big": DRAW.integers(0, 2, N) == 1,
        "weight": DRAW.random(N),
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("several")
    TABLE.to_csv(path / "t.csv", index=False)
    TABLE.to_parquet(path / "t.parquet")
    arrays = {"x_a": DRAW.normal(5, 2, (N, 3)), "x_b": DRAW.integers(0, 9, (N, 2))}
    parts = {f"x_test_{k[2:]}": v[:20] for k, v in arrays.items()}
    np.savez(path / "named.npz", y=TABLE["red"], **arrays)
    train = {f"x_train_{k[2:]}": v for k, v in arrays.items()}
    heads = {"y_train_price": TABLE["price"], "y_train_mark": TABLE["red"]}
    test = {"y_test_price": TABLE["price"][:20], "y_test_mark": TABLE["red"][:20]}
    np.savez(path / "parts.npz", **train, **parts, **heads, **test)
    return path


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def load(source: str, **values: Any) -> Dataset:
    return load_dataset(DataSpec(source=source, **values), load_settings())


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_columns_of_numbers_of_marks_and_of_both(ending: str) -> None:
    values = load(f"t.{ending}:price,rooms")
    assert (values.task, values.outputs) == ("regression", 2)
    assert values.target_column.values == ("price", "rooms")
    assert values.train.y.shape == (85, 2)
    trained = values.target_scaling.apply(values.train.y)
    np.testing.assert_allclose(trained.std(axis=0), 1, rtol=1e-5)
    labels = load(f"t.{ending}:red,big")
    assert (labels.task, labels.labels) == ("multilabel", ("red", "big"))
    assert set(np.unique(labels.train.y)) == {0.0, 1.0}
    heads = load(f"t.{ending}:price,kind", weights="weight")
    assert [(head.name, head.task) for head in heads.heads] == [
        ("price", "regression"),
        ("kind", "classes"),
    ]
    assert heads.outputs == {"price": 1, "kind": 3}
    assert heads.train.weights is not None
    assert len(heads.train.weights) == len(heads.train)
    assert "weight" not in (heads.features or ())


def test_targets_are_named_with_their_tasks_and_weights() -> None:
    said = {"rooms": TargetSpec(task="classes", weight=0.5), "price": TargetSpec()}
    data = load("t.csv", targets=said)
    assert [(h.task, h.weight) for h in data.heads] == [("classes", 0.5), ("regression", 1.0)]
    heavier = load("t.csv", targets=said | {"price": TargetSpec(weight=2)})
    assert heavier.fingerprint != data.fingerprint


def test_inputs_are_prepared_each_by_itself_and_kept(tmp_path: Path) -> None:
    spec = {"inputs": {"person": ("age", "town"), "time": ("stamp",)}}
    data = load("t.csv:red", **spec)
    assert data.input_shape == {"person": (3,), "time": (1,)}
    assert data.inputs["time"].shift is not None  # float32 would lose seconds
    assert data.inputs["person"].shift is None
    save_dataset(data, tmp_path / "data")
    again = open_dataset(tmp_path / "data")
    assert again.input_shape == data.input_shape
    assert again.inputs["person"].columns == data.inputs["person"].columns
    for name, rows in data.train.x.parts.items():
        np.testing.assert_array_equal(again.train.x.parts[name], rows)
    whole = again.for_test().train
    split = (data.train, data.validation)
    np.testing.assert_array_equal(whole.y, np.concatenate([part.y for part in split]))
    for name, rows in whole.x.parts.items():
        expected = np.concatenate([part.x.parts[name] for part in split])
        np.testing.assert_array_equal(np.asarray(rows), expected)


def test_later_rows_become_what_the_network_was_trained_on() -> None:
    spec = {"inputs": {"person": ("age", "town"), "time": ("stamp",)}}
    data = load("t.csv:price,kind", **spec)
    network = describe_network(data, "val_loss", StudyOrigin("s", "u"), 0, {})
    network = NetworkDescription.from_json(network.to_json(), "file")
    opened = partial(
        open_rows,
        preparation=network.preparation,
        settings=load_settings(),
        task=network.task,
        labels=(),
        targets=network.targets,
    )
    with pytest.raises(DatasetError, match="by their names, price, kind: leave 'price' out"):
        opened("t.csv:price")
    (block,) = opened("t.csv:price,kind").blocks()
    (unnamed,) = opened("t.csv").blocks()
    assert block.target is not None and unnamed.target is not None
    np.testing.assert_array_equal(block.target["price"], unnamed.target["price"])
    prepared = network.preparation.prepare(block.rows)
    train = network_inputs(data, data.train.x)
    for name, of_input in train.items():
        # The splits hold the same rows in another order.
        assert {tuple(row) for row in of_input.tolist()} <= {
            tuple(row) for row in prepared.inputs[name].tolist()
        }
    np.testing.assert_allclose(block.target["price"], TABLE["price"])
    labels = np.asarray(network.heads[1].labels)[block.target["kind"]]
    assert labels.tolist() == TABLE["kind"].tolist()
    assert network.seen is not None
    assert network.seen.compare(prepared.inputs).seen == len(data.train) + len(data.validation)
    outputs = {"price": np.zeros((2, 1)), "kind": np.eye(3)[[2, 0]]}
    assert list(predict_columns(outputs, network.targets)) == [
        "price_prediction",
        "kind_prediction",
        *(f"kind_probability_{label}" for label in ("boat", "flat", "house")),
    ]


def test_archives_name_inputs_and_targets() -> None:
    data = load("named.npz")
    assert data.input_shape == {"a": (3,), "b": (2,)}
    # Whole numbers may be ids: only those of floats are scaled.
    assert data.inputs["a"].scaling.method == "standardize"
    assert data.inputs["b"].scaling.method == "none"
    parts = load("parts.npz")
    assert [head.name for head in parts.heads] == ["price", "mark"]
    assert len(parts.test) == 20


def test_heads_are_told_apart_by_name_in_every_part(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "x = np.arange(40.0).reshape(-1, 1)\n"
        "high, low = 1000 + x[:, 0], x[:, 0] / 1000\n"
        "def load():\n"
        "    train = x, {'high': high, 'low': low}\n"
        "    return train, (x, {'low': low, 'high': high})\n"
    )
    data = load(f"{tmp_path / 'mine.py'}:load")
    for split in data.splits.values():
        for head in data.heads:
            y = split.y.parts[head.name] + head.shift
            expected = np.asarray(split.x)[:, 0]
            expected = 1000 + expected if head.name == "high" else expected / 1000
            np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_each_value_has_a_shift_of_its_own() -> None:
    data = load("t.csv:stamp,price")
    stamp, price = data.target_shift
    assert stamp > 1.6e9
    assert price == 0
    assert data.train.y.shape[1] == 2
    trained = data.target_scaling.apply(data.train.y)
    np.testing.assert_allclose(trained.mean(axis=0), 0, atol=1e-4)
    given = np.concatenate([split.y for split in data.splits.values()])
    given = given + np.array([stamp, price])
    np.testing.assert_allclose(
        given[np.argsort(given[:, 1])], TABLE.sort_values("price")[["stamp", "price"]], rtol=1e-6
    )


def test_a_label_of_a_row_that_has_several() -> None:
    data = load("t.csv:red,big")
    network = describe_network(data, "val_loss", StudyOrigin("s", "u"), 0, {})
    outputs = np.array([[0.9, 0.8], [0.1, 0.2], [0.3, 0.6]])
    columns = predict_columns(outputs, network.targets)
    assert columns["prediction"].tolist() == ["red|big", "", "big"]
    assert columns["probability_big"].tolist() == [0.8, 0.2, 0.6]


@pytest.mark.parametrize("name", ["f1_macro", "f1_micro", "r2", "mape"])
def test_metrics_of_many_weightings_equal_those_of_repeated_rows(name: str) -> None:
    draw, metric = np.random.default_rng(1), METRICS[name]
    task = metric.tasks[0]
    y = draw.integers(0, 2, (40, 3)) if task == "multilabel" else draw.normal(5, 1, (40, 3))
    predictions = (0.3 * y + 0.7 * draw.random((40, 3))).astype(np.float32)
    assert len({metric.function(y[:, [k]], predictions[:, [k]], task) for k in range(3)}) > 1
    weights = draw.integers(0, 3, (4, 40)).astype(np.float64)
    assert metric.weighted is not None and metric.function is not None
    values = metric.weighted(WeightedRows(ScoredRows(y, predictions, task), weights))
    for value, times in zip(values, weights.astype(int), strict=True):
        rows = np.repeat(np.arange(40), times)
        assert value == pytest.approx(metric.function(y[rows], predictions[rows], task))


@pytest.mark.parametrize(
    ("source", "spec", "message"),
    [
        ("t.csv:price,price", {}, "the target 'price' is named twice"),
        ("t.csv:price,rums", {}, "no column 'rums' .did you mean 'rooms'"),
        ("t.csv:red", {"inputs": {"a": ("age", "red")}}, "column 'red' is a target"),
        ("t.csv:red", {"inputs": {"a": ("agee",)}}, "no column 'agee' .did you mean 'age'"),
        ("named.npz", {"inputs": {"a": ("age",)}}, "holds no table; inputs group the columns"),
        ("t.csv:price,kind", {"task": "multilabel"}, "'kind' must hold numbers, or 0 and 1"),
        ("t.csv:price,rooms", {"task": "multilabel"}, "multilabel needs columns of 0 and 1"),
        ("t.csv:price,rooms", {"task": "classes"}, "classes needs one target a row"),
        ("t.csv:red", {"task": "several"}, "several needs several targets, the data have one"),
        (
            "t.csv:price,kind",
            {"targets": {"price": TargetSpec(), "knd": TargetSpec()}},
            "no target 'knd' .did you mean 'kind'",
        ),
    ],
)
def test_what_cannot_be(source: str, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        load(source, **spec)
    assert "\n" not in str(caught.value)


def test_a_gap_in_one_target_is_named(tmp_path: Path) -> None:
    table = TABLE.copy()
    table.loc[[6, 9], "price"] = np.nan
    table.to_csv(tmp_path / "gaps.csv", index=False)
    with pytest.raises(DatasetError, match=r"target 'price' is missing in 2 rows .first: row 7"):
        load(f"{tmp_path / 'gaps.csv'}:price,rooms")


def test_arrays_that_do_not_belong_together(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x_a=np.ones((9, 2)), x_b=np.ones((8, 2)), y=np.arange(9))
    with pytest.raises(DatasetError, match="inputs of train differ in length: a 9, b 8"):
        load(str(tmp_path / "rows.npz"))


def test_a_target_that_one_part_lacks_is_named(tmp_path: Path) -> None:
    x, y = np.ones((60, 2)), np.arange(60.0)
    file = tmp_path / "rows.npz"
    np.savez(file, x_train=x, y_train_a=y, y_train_b=y, x_test=x, y_test_a=y)
    with pytest.raises(DatasetError, match=r"test: lacks the target b$"):
        load(str(file))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inputs": {"a b": ("x",)}}, "an input cannot be named 'a b'"),
        ({"inputs": {"a": ()}}, "input a needs at least one column"),
        ({"inputs": {"a": ("x",), "b": ("x",)}}, "column 'x' is named twice"),
        ({"targets": {"a": {"weight": 0}}}, "weight of a target must be above 0"),
    ],
)
def test_names_that_no_spec_takes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DataSpec(**values)
