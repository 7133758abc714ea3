"""Several inputs, values, labels and heads: what training makes of them, against plain Keras."""

import os
from collections.abc import Callable
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from sklearn.metrics import f1_score, r2_score
from tensorflow_helpers import make_request

from tuner.data import Dataset, Split
from tuner.data.dataset import InputPart, TargetPart
from tuner.data.named_rows import NamedRows
from tuner.data.scaling import IDENTITY, fit_scaling
from tuner.networks.custom import CustomNetwork
from tuner.study.messages import Ended, Goal, Report
from tuner.training.engines.fit import FitProgram
from tuner.training.trial import Trainer, epoch_order

pytestmark = pytest.mark.tensorflow

ROWS = 50
NETWORK = """
import keras

def build(params, input_shape, outputs):
    # In another order than the data, and by the names alone.
    b = keras.Input(input_shape["b"], name="b")
    a = keras.Input(input_shape["a"], name="a")
    both = keras.layers.Concatenate()([a, keras.layers.Flatten()(b)])
    hidden = keras.layers.Dense(5, "tanh")(both)
    heads = {"kind": "softmax", "price": "linear", "tags": "sigmoid"}
    return keras.Model(
        [b, a],
        {name: keras.layers.Dense(outputs[name], heads[name], name=name)(hidden) for name in heads},
    )
"""
MLP = {"optimizer": "sgd", "learning_rate": 0.3, "batch_size": 16, "epochs": 1}


def matrix_dataset(task: str) -> Dataset:
    """Six columns; three values of sizes that differ much, or three labels."""
    draw = np.random.default_rng(0)
    splits = {}
    for part, rows in (("train", ROWS), ("validation", 17), ("test", 5)):
        x = draw.normal(size=(rows, 6)).astype(np.float32)
        signal = x[:, :3] - 0.5 * x[:, 3:] + 0.1 * draw.normal(size=(rows, 3))
        y = signal * [1, 50, 0.01] + [0, 900, 3] if task == "regression" else signal > 0.2
        splits[part] = Split(x, y.astype(np.float32))
    y = splits["train"].y
    return Dataset(
        name="several",
        task=task,  # type: ignore[arg-type]
        **splits,
        scaling=fit_scaling(splits["train"].x),
        target_scaling=fit_scaling(y, "standardize") if task == "regression" else IDENTITY,
        labels=() if task == "regression" else ("red", "green", "blue"),
        fingerprint="0" * 64,
    )


def named_dataset() -> Dataset:
    """Two inputs, three heads, weighed rows."""
    draw = np.random.default_rng(1)
    splits = {}
    for part, rows in (("train", ROWS), ("validation", 17), ("test", 5)):
        a, b = draw.normal(3, 2, (rows, 2)), draw.integers(0, 256, (rows, 2, 2))
        x = NamedRows({"a": a.astype(np.float32), "b": b.astype(np.uint8)})
        y = {
            "price": (100 + 20 * a[:, 0]).astype(np.float32),
            "kind": np.digitize(a[:, 1], [2, 4]).astype(np.int32),
            "tags": (b.reshape(rows, 4)[:, :2] > 128).astype(np.float32),
        }
        weights = None if part == "test" else draw.random(rows).astype(np.float32)
        splits[part] = Split(x, NamedRows(y), weights)
    train = splits["train"]
    price = fit_scaling(train.y.parts["price"][:, np.newaxis], "standardize")
    price = type(price)("standardize", price.scale.reshape(()), price.offset.reshape(()))
    return Dataset(
        name="named",
        task="several",
        **splits,
        scaling=IDENTITY,
        target_scaling=IDENTITY,
        labels=(),
        fingerprint="0" * 64,
        inputs={name: InputPart(fit_scaling(rows)) for name, rows in train.x.parts.items()},
        heads=(
            TargetPart("price", "regression", 1, scaling=price, weight=0.5),
            TargetPart("kind", "classes", 3, ("x", "y", "z")),
            TargetPart("tags", "multilabel", 2, ("p", "q"), weight=2.0),
        ),
    )


def trained(trainer: Trainer, **params: Any) -> tuple[list[np.ndarray], Report, Any]:
    """First weights, the last report, and the program after an epoch."""
    host = params.pop("host", ())
    request = make_request(goal=Goal("val_loss", "minimize"), **MLP, **params)
    request = type(request)(**{**vars(request), "host_metrics": host})
    program, _ = trainer.prepare(request)
    program.start(request.params, request.seed)
    first = program.weights()
    events = list(trainer.run(request))
    assert isinstance(events[-1], Ended)
    (report,) = (event for event in events if isinstance(event, Report))
    assert trainer.program is not None
    return first, report, trainer.program


def dense(dataset: Dataset, activation: str) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, "tanh"), layers.Dense(dataset.outputs, activation)]
    )


@pytest.fixture(scope="module")
def reference() -> Callable[[str], Any]:
    """By task what Keras' `fit` makes of the first weights: model and history."""

    def fit(task: str, first: list[np.ndarray]) -> tuple[Any, Any]:
        dataset = matrix_dataset(task)
        is_numbers = task == "regression"
        model = dense(dataset, "linear" if is_numbers else "sigmoid")
        model.set_weights(first)
        loss = "mean_squared_error" if is_numbers else "binary_crossentropy"
        model.compile(keras.optimizers.SGD(0.3), loss)
        order = epoch_order(1, 1, ROWS)
        x, y = (
            scaling.apply(np.asarray(rows))
            for scaling, rows in (
                (dataset.scaling, dataset.train.x),
                (dataset.target_scaling, dataset.train.y),
            )
        )
        model.fit(x[order], y[order], batch_size=16, shuffle=False, verbose=0)
        return model, dataset

    return fit


@pytest.mark.parametrize("task", ["regression", "multilabel"])
@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_several_values_and_labels_train_as_in_keras(
    reference: Any, task: str, engine: str
) -> None:
    host = ("r2",) if task == "regression" else ("f1_macro", "f1_micro")
    trainer = Trainer(matrix_dataset(task))
    first, report, program = trained(trainer, engine=engine, host=host)
    model, dataset = reference(task, first)
    for ours, theirs in zip(program.weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
    assert report.engine == ("graph" if engine == "auto" else "keras")
    held = dataset.validation
    outputs = model.predict(dataset.scaling.apply(held.x), verbose=0)
    if task == "regression":
        values = dataset.target_scaling.invert(outputs)  # in the units of the data
        error = values - held.y
        assert report.metrics["val_mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
        assert report.metrics["val_rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
        assert report.metrics["val_r2"] == pytest.approx(r2_score(held.y, values), rel=1e-3)
    else:
        right = (outputs > 0.5) == held.y
        assert report.metrics["val_subset_accuracy"] == pytest.approx(right.all(axis=1).mean())
        for average in ("macro", "micro"):
            expected = f1_score(held.y, outputs > 0.5, average=average)
            assert report.metrics[f"val_f1_{average}"] == pytest.approx(expected)


def test_a_lane_of_xla_trains_several_values_as_the_graph() -> None:
    dataset = matrix_dataset("regression")
    trainer = Trainer(dataset)
    _, report, program = trained(trainer)
    request = make_request(**MLP)
    lane = trainer.lane_program(request)
    lane.start(0, request.params, request.seed)
    order, rates = epoch_order(1, 1, ROWS), np.full(4, 0.3, np.float32)
    sums = lane.train([order], [rates], [0], 4)[0]
    for ours, theirs in zip(lane.store.weights(0), program.weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
    assert sums[1] / ROWS == pytest.approx(report.metrics["mae"], rel=1e-4)


def test_inputs_and_heads_by_name_train_as_in_keras() -> None:
    dataset, network = named_dataset(), CustomNetwork("net.py", "build", NETWORK)
    trainer = Trainer(dataset, network=network)
    first, report, program = trained(trainer, network="net.py:build", host=("kind_f1",))
    model = network.build({}, dataset.input_shape, dataset.outputs)
    model.set_weights(first)
    losses = {
        "price": "mean_squared_error",
        "kind": "sparse_categorical_crossentropy",
        "tags": "binary_crossentropy",
    }
    weights = {head.name: head.weight for head in dataset.heads}
    model.compile(keras.optimizers.SGD(0.3), losses, loss_weights=weights)
    order, train = epoch_order(1, 1, ROWS), dataset.train
    x = {n: dataset.inputs[n].scaling.apply(v)[order] for n, v in train.x.parts.items()}
    y = {n: v[order] for n, v in train.y.parts.items()}
    price = dataset.heads[0].scaling
    y["price"] = price.apply(y["price"])[:, np.newaxis]
    assert train.weights is not None
    of_rows = train.weights[order]
    for start in range(0, ROWS, 16):
        rows = slice(start, start + 16)
        batch = [{n: v[rows] for n, v in each.items()} for each in (x, y)]
        model.train_on_batch(*batch, sample_weight=dict.fromkeys(y, of_rows[rows]))
    for ours, theirs in zip(program.weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=3e-6)
    held = dataset.validation
    scaled = {n: dataset.inputs[n].scaling.apply(v) for n, v in held.x.parts.items()}
    outputs = model.predict(scaled, verbose=0)
    prices = price.invert(outputs["price"])[:, 0]
    error = np.abs(prices - held.y.parts["price"]).mean()
    assert report.metrics["val_price_mae"] == pytest.approx(error, rel=1e-4)
    chosen, kinds = outputs["kind"].argmax(axis=1), held.y.parts["kind"]
    assert report.metrics["val_kind_accuracy"] == pytest.approx((chosen == kinds).mean())
    expected = f1_score(kinds, chosen, average="macro")
    assert report.metrics["val_kind_f1"] == pytest.approx(expected)
    parts = [report.metrics[f"val_{h.name}_loss"] * h.weight for h in dataset.heads]
    assert report.metrics["val_loss"] == pytest.approx(sum(parts), rel=1e-5)


def compiled_heads() -> Any:
    """Heads whose losses take targets in different forms; `kind` comes before its softmax."""
    inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((2, 2), name="b")}
    both = keras.layers.Concatenate()([inputs["a"], keras.layers.Flatten()(inputs["b"])])
    units = {"price": (1, None), "kind": (3, None), "tags": (2, "sigmoid")}
    heads = {n: keras.layers.Dense(k, act, name=n)(both) for n, (k, act) in units.items()}
    losses = {
        "price": "mse",
        "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "tags": "binary_crossentropy",
    }
    model = keras.Model(inputs, heads)
    model.compile("sgd", losses, run_eagerly=True)
    return model


def test_a_compiled_model_has_the_targets_and_predictions_of_each_head() -> None:
    dataset, model = named_dataset(), compiled_heads()
    program = FitProgram(model, dataset, None)
    x, y, *_ = next(iter(program.training_batches(lambda: np.arange(ROWS, dtype=np.int32), 1, 16)))
    assert {name: tuple(of_head.shape) for name, of_head in y.items()} == {
        "price": (16, 1),
        "kind": (16,),
        "tags": (16, 2),
    }
    assert np.isfinite(model.train_on_batch(x, y)).all()
    scaled = {
        name: part.scaling.apply(np.asarray(dataset.validation.x.parts[name]))
        for name, part in dataset.input_parts.items()
    }
    outputs = {name: np.asarray(of_head) for name, of_head in model(scaled).items()}
    exponentials = np.exp(outputs["kind"])
    expected = outputs | {
        "price": outputs["price"][:, 0],
        "kind": exponentials / exponentials.sum(axis=1, keepdims=True),
    }
    exported = program.exported()(dataset.validation.x.parts)
    for name, predictions in program.predictions().items():
        np.testing.assert_allclose(predictions, expected[name], rtol=1e-4, atol=1e-6)
        of_export = np.asarray(exported[name]).reshape(predictions.shape)
        np.testing.assert_allclose(of_export, predictions, rtol=1e-4, atol=1e-5)
