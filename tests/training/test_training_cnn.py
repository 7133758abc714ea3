"""An epoch of a convolutional network against Keras' own layers and `fit`, and how it is run."""

import os
from textwrap import dedent
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras_reference import compare, fitted
from tensorflow_helpers import make_dataset, make_request, on_disk, own_network, train, weights

from tuner.networks import export_network
from tuner.networks.custom import CustomNetwork
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "blocks": "test_an_epoch_is_that_of_keras",
    "filters": "test_an_epoch_is_that_of_keras",
    "padding": "test_an_epoch_is_that_of_keras",
    "norm_position": "test_an_epoch_is_that_of_keras",
}

LAYERS = keras.layers
# Images (3, 4); the functions make what comes behind the channel's axis.
CASES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "same, two blocks": (
        "classes",
        {"blocks": 2, "filters": 3, "activation": "relu", "depth": 1, "width": 5},
        lambda: [
            LAYERS.Conv2D(3, 3, padding="same", activation="relu"),
            LAYERS.MaxPooling2D(2, padding="same"),
            LAYERS.Conv2D(6, 3, padding="same", activation="relu"),
            LAYERS.MaxPooling2D(2, padding="same"),
            LAYERS.Flatten(),
            LAYERS.Dense(5, activation="relu"),
            LAYERS.Dense(3, activation="softmax"),
        ],
    ),
    "valid, normalised, leaky": (
        "binary",
        {
            "convolutions": 2, "kernel": 2, "padding": "valid", "pool": 1, "depth": 0,
            "activation": "leaky_relu", "leaky_slope": 0.3, "batch_norm": True,
        },
        lambda: [
            LAYERS.Conv2D(4, 2, use_bias=False),
            LAYERS.BatchNormalization(),
            LAYERS.LeakyReLU(negative_slope=0.3),
            LAYERS.Conv2D(4, 2, use_bias=False),
            LAYERS.BatchNormalization(),
            LAYERS.LeakyReLU(negative_slope=0.3),
            LAYERS.Flatten(),
            LAYERS.Dense(1, activation="sigmoid"),
        ],
    ),
    "normalised behind, selu": (
        "regression",
        {
            "kernel": 2, "activation": "selu", "layer_norm": True, "norm_position": "after",
            "width": 4, "learning_rate": 0.03,
        },
        lambda: [
            LAYERS.Conv2D(4, 2, padding="same", activation="selu"),
            LAYERS.LayerNormalization(),
            LAYERS.MaxPooling2D(2, padding="same"),
            LAYERS.Flatten(),
            LAYERS.Dense(4, activation="selu"),
            LAYERS.LayerNormalization(),
            LAYERS.Dense(1),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("xla")  # which convolutions do not follow
def test_an_epoch_is_that_of_keras(case: str) -> None:
    task, params, layers = CASES[case]
    dataset = make_dataset(task, images=True)
    request = make_request(network="cnn", **params)
    network = keras.Sequential([keras.Input((3, 4)), LAYERS.Reshape((3, 4, 1)), *layers()])
    expected = fitted(
        dataset, request, network, keras.optimizers.SGD(request.params["learning_rate"])
    )
    trainer = Trainer(dataset)
    compare(trainer, request, expected)
    assert trainer.prepare(request)[0].engine == "keras"
    model = export_network("cnn", request.params, dataset, weights(trainer))
    scaled = dataset.scaling.apply(dataset.validation.x)
    theirs = network(scaled).numpy()
    if task == "regression":
        theirs = dataset.target_scaling.invert(theirs)
    np.testing.assert_allclose(model(dataset.validation.x), theirs, rtol=0, atol=1e-4)


NESTED = dedent("""
    import keras

    class Wrapper(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Conv2D(2, 2)

        def call(self, x):
            return self.inner(x)

    def nested(params, input_shape, outputs):
        eyes = keras.Sequential([
            keras.Input(input_shape),
            keras.layers.Reshape((*input_shape, 1)),
            keras.Sequential([keras.layers.SeparableConv2D(2, 2), keras.layers.Flatten()]),
        ])
        return keras.Sequential([eyes, keras.layers.Dense(outputs, activation="softmax")])

    def wrapped(params, input_shape, outputs):
        return keras.Sequential([
            keras.Input(input_shape),
            keras.layers.Reshape((*input_shape, 1)),
            Wrapper(),
            keras.layers.Flatten(),
            keras.layers.Dense(outputs, activation="softmax"),
        ])

    def dense(params, input_shape, outputs):
        return keras.Sequential([
            keras.Input(input_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(outputs, activation="softmax"),
        ])
""")


@pytest.mark.parametrize(
    ("function", "engine"), [("nested", "keras"), ("wrapped", "keras"), ("dense", "keras, xla")]
)
@pytest.mark.usefixtures("xla")
def test_the_engine_of_a_users_network_follows_its_convolutions(function: str, engine: str) -> None:
    trainer = Trainer(make_dataset(images=True), network=CustomNetwork("nets.py", function, NESTED))
    assert train(trainer, own_network(make_request()))[1].engine == engine


@pytest.mark.usefixtures("xla")
def test_the_engine_of_shipped_networks() -> None:
    trainer = Trainer(make_dataset(images=True))
    assert trainer.prepare(make_request(network="cnn"))[0].engine == "keras"
    assert trainer.prepare(make_request(network="cnn", blocks=0))[0].engine == "keras, xla"
    assert trainer.prepare(make_request(engine="keras"))[0].engine == "keras, xla"
    assert trainer.prepare(make_request())[0].engine == "graph"


def test_streamed_images_train_as_resident_ones(tmp_path: Any) -> None:
    request = make_request(network="cnn", block_dropout=0.3)
    found = [
        train(trainer, request)[0][0].metrics
        for trainer in (
            Trainer(make_dataset(images=True)),
            Trainer(on_disk(make_dataset(images=True), tmp_path), budget_bytes=0),
        )
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-5)
