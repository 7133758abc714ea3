"""Exported networks: Keras' own layers, raw inputs, the same predictions."""

import os
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from tensorflow_helpers import make_dataset, make_plan, train, weights

from tuner.networks import export_network
from tuner.training.exact import ExactProgram
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
    dataset, plan = make_dataset(task, images=images), make_plan(engine="exact", **params)
    trainer = Trainer(dataset)
    intervals, ended = train(trainer, plan)
    assert isinstance(trainer.program, ExactProgram)
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

    model = export_network("mlp", plan.params, dataset, weights(trainer))
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.input_shape == (None, *dataset.input_shape)
    for layer in loaded._flatten_layers():
        assert type(layer).__module__.startswith("keras."), layer
