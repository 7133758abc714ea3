"""Exported networks: Keras' own layers, raw inputs, the same predictions."""

import os
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from tensorflow_helpers import make_dataset, make_request, train, weights

from tuner.data import load_dataset
from tuner.networks import export_network
from tuner.settings import load_settings
from tuner.study.artifacts import input_of
from tuner.study.engines import Engine
from tuner.study.spec import DataSpec
from tuner.training.engines.keras import KerasProgram
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize(
    ("task", "images", "params"),
    [
        ("classes", True, {"depth": 2, "width": [9, 4], "dropout": [0.3, 0.0], "batch_norm": True}),
        ("binary", False, {"dropout": 0.5, "activation": "gelu"}),
        ("regression", False, {"batch_norm": True, "optimizer": "adam", "epochs": 20}),
        ("regression", True, {"depth": 0}),
    ],
)
def test_predictions_on_raw_inputs(
    task: str, images: bool, params: dict[str, Any], tmp_path: Path
) -> None:
    dataset, request = make_dataset(task, images=images), make_request(engine="keras", **params)
    trainer = Trainer(dataset)
    intervals, ended = train(trainer, request)
    assert isinstance(trainer.program, KerasProgram)
    assert ended.best_epoch is not None
    x = dataset.validation.x
    expected = trainer.program.model(dataset.scaling.apply(x), training=False).numpy()
    if task == "regression":
        expected = dataset.target_scaling.invert(expected)
        best = intervals[ended.best_epoch - 1]
        errors = expected[:, 0] - dataset.validation.y
        mae, rmse = np.abs(errors).mean(), np.sqrt(np.square(errors).mean())
        assert best.metrics["val_mae"] == pytest.approx(mae, rel=1e-5)
        assert best.metrics["val_rmse"] == pytest.approx(rmse, rel=1e-5)

    model = export_network("mlp", request.params, dataset, weights(trainer))
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.input_shape == (None, *dataset.input_shape)
    for layer in loaded._flatten_layers():
        assert type(layer).__module__.startswith("keras."), layer


@pytest.mark.parametrize("engine", ["keras", "auto"])
def test_large_numbers_that_differ_by_little(engine: Engine, tmp_path: Path) -> None:
    draws, rows = np.random.default_rng(0), 150
    seconds, metres = 1.7e9 + draws.random(rows) * 60, -4.5e6 + draws.normal(size=rows)
    x = np.column_stack([seconds, metres, draws.normal(size=rows)])
    y = 1e9 + (seconds - 1.7e9) / 60 + metres + 4.5e6
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)
    settings = load_settings({})
    dataset = load_dataset(DataSpec(source=str(tmp_path / "d.npz")), settings)
    assert dataset.shift is not None and dataset.target_shift
    request = make_request(
        engine=engine, epochs=30, patience=30, optimizer="adam", learning_rate=0.02
    )
    trainer = Trainer(dataset)
    intervals, ended = train(trainer, request)
    assert ended.best_epoch is not None

    export_network("mlp", request.params, dataset, weights(trainer)).save(tmp_path / "n.keras")
    loaded = keras.models.load_model(tmp_path / "n.keras", safe_mode=True)
    assert input_of(tmp_path / "n.keras") == ((3,), "float64")
    predicted = loaded.predict_on_batch(x)[:, 0]
    spread = y.std()
    mae = np.abs(predicted - y).mean()
    assert intervals[ended.best_epoch - 1].metrics["val_mae"] == pytest.approx(mae, abs=1e-5)
    assert mae < 0.3 * spread

    # The same by hand, in float64.
    hidden, bias, out, out_bias = (w.astype(np.float64) for w in weights(trainer))
    scaled = (x - dataset.shift) * dataset.scaling.scale + dataset.scaling.offset
    values = np.tanh(scaled @ hidden + bias) @ out + out_bias
    target = dataset.target_scaling
    by_hand = (values[:, 0] - target.offset) / target.scale + dataset.target_shift
    np.testing.assert_allclose(predicted, by_hand, rtol=0, atol=1e-5 * spread)
    assert len(np.unique(predicted)) == rows


def test_what_float32_holds_is_taken_as_float32(tmp_path: Path) -> None:
    """Keras' predict() makes NumPy arrays float32, so a network takes float64 only if it must."""
    draws, rows = np.random.default_rng(0), 90
    years, hectopascals = draws.integers(1990, 2020, rows), 1000 + draws.random(rows) * 40
    x = np.column_stack([years, hectopascals])
    y = (x[:, 0] > 2004).astype(int)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)
    dataset = load_dataset(DataSpec(source=str(tmp_path / "d.npz")), load_settings({}))
    assert dataset.shift is not None and not dataset.float64_inputs
    request = make_request(engine="keras", epochs=3)
    trainer = Trainer(dataset)
    train(trainer, request)
    assert isinstance(trainer.program, KerasProgram)
    expected = trainer.program.model(dataset.scaling.apply(dataset.train.x), training=False)
    model = export_network("mlp", request.params, dataset, weights(trainer))
    assert model.input.dtype == "float32"
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ["keras", "auto"])
def test_series_are_scaled_by_channel(engine: Engine, tmp_path: Path) -> None:
    draws, rows = np.random.default_rng(0), 90
    y = np.arange(rows) % 2
    x = draws.normal(size=(rows, 8, 3)) * [5, 300, 0.1] + [1.7e9, 101_325, 0.5]
    x[:, :, 2] += 0.05 * y[:, np.newaxis]
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)
    dataset = load_dataset(DataSpec(source=str(tmp_path / "d.npz")), load_settings({}))
    assert dataset.scaling.scale.shape == (3,) and dataset.float64_inputs
    request = make_request(engine=engine, epochs=5, optimizer="adam", learning_rate=0.02)
    trainer = Trainer(dataset)
    intervals, ended = train(trainer, request)
    assert ended.best_epoch is not None
    model = export_network("mlp", request.params, dataset, weights(trainer))
    predicted = model.predict_on_batch(x)[:, 0]
    loss = -np.log(np.where(y == 1, predicted, 1 - predicted)).mean()
    assert intervals[ended.best_epoch - 1].metrics["val_loss"] == pytest.approx(loss, rel=1e-4)
    assert np.mean((predicted > 0.5) == (y == 1)) > 0.7
