"""A residual network against one written by hand with Keras' own layers, and its shapes."""

import os
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras_reference import compare, fitted
from tensorflow_helpers import make_dataset, make_request, weights

from tuner.networks import build_network, export_network
from tuner.networks.layers import KerasLayers
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "pre_activation": "test_an_epoch_is_that_of_keras",
    "stage_blocks": "test_the_layers_of_each_stage",
    "stage_dropout": "test_the_layers_of_each_stage",
    "stage_filters": "test_an_epoch_is_that_of_keras",
    "stage_growth": "test_an_epoch_is_that_of_keras",
    "stages": "test_the_layers_of_each_stage",
    "stem": "test_a_large_stem_quarters_the_sides",
}

LAYERS = keras.layers


def convolved(x: Any, filters: int, window: int = 3, stride: int = 1, bias: bool = False) -> Any:
    layer = LAYERS.Conv2D(filters, window, strides=stride, padding="same", use_bias=bias)
    return layer(x)


def activated(x: Any) -> Any:
    return LAYERS.Activation("tanh")(LAYERS.BatchNormalization()(x))


def post_activation(image: Any) -> Any:
    """Two stages of one block, normalised behind each convolution (He et al., 2016)."""
    x = activated(convolved(image, 3))
    inner = LAYERS.BatchNormalization()(convolved(activated(convolved(x, 3)), 3))
    x = LAYERS.Activation("tanh")(inner + x)
    inner = LAYERS.BatchNormalization()(convolved(activated(convolved(x, 6, stride=2)), 6))
    shortcut = LAYERS.BatchNormalization()(convolved(x, 6, window=1, stride=2))
    return LAYERS.Activation("tanh")(inner + shortcut)


def pre_activation(image: Any) -> Any:
    """The same with activations before the convolutions, and no normalisation."""

    def ahead(x: Any) -> Any:
        return LAYERS.Activation("tanh")(x)

    x = convolved(image, 3, bias=True)
    x = convolved(ahead(convolved(ahead(x), 3, bias=True)), 3, bias=True) + x
    active = ahead(x)
    shortcut = convolved(active, 6, window=1, stride=2, bias=True)
    x = convolved(ahead(convolved(active, 6, stride=2, bias=True)), 6, bias=True) + shortcut
    return ahead(x)


@pytest.mark.parametrize(
    ("blocks", "params"),
    [
        (post_activation, {"batch_norm": True}),
        (pre_activation, {"batch_norm": False, "pre_activation": True}),
    ],
    ids=["post", "pre"],
)
def test_an_epoch_is_that_of_keras(blocks: Any, params: dict[str, Any]) -> None:
    dataset = make_dataset(images=True)
    request = make_request(network="resnet", learning_rate=0.02, **params)
    inputs = keras.Input((3, 4))
    means = LAYERS.GlobalAveragePooling2D()(blocks(LAYERS.Reshape((3, 4, 1))(inputs)))
    network = keras.Model(inputs, LAYERS.Dense(3, activation="softmax")(means))
    start = export_network("resnet", request.params, dataset, network.get_weights())
    assert [w.shape for w in start.weights] == [w.shape for w in network.weights]
    expected = fitted(dataset, request, network, keras.optimizers.SGD(0.02))
    trainer = Trainer(dataset)
    compare(trainer, request, expected)
    assert trainer.program is not None
    assert trainer.program.engine == "keras"
    model = export_network("resnet", request.params, dataset, weights(trainer))
    x = dataset.validation.x
    np.testing.assert_allclose(model(x), network(dataset.scaling.apply(x)), rtol=0, atol=1e-5)


def build(shape: tuple[int, ...], **params: Any) -> Any:
    complete = make_request(network="resnet", batch_norm=True, **params).params
    return build_network("resnet", complete, shape, 3, "classes", KerasLayers())


def test_the_layers_of_each_stage() -> None:
    model = build(
        (16, 16, 3), stages=3, stage_blocks=2, stage_filters=[2, 3, 5], stage_growth=1.0,
        stage_dropout=[0.1, 0.0, 0.3],
    )  # fmt: skip
    sums = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, LAYERS.Add)]
    assert sums == [(16, 16, 2)] * 2 + [(8, 8, 3)] * 2 + [(4, 4, 5)] * 2
    assert [x.rate for x in model.layers if isinstance(x, LAYERS.Dropout)] == [0.1, 0.3]
    assert model.get_layer("output").input.shape == (None, 5)


def test_a_large_stem_quarters_the_sides() -> None:
    model = build((33, 20, 1), stages=1, stem="large")
    first = next(layer for layer in model.layers if isinstance(layer, LAYERS.Conv2D))
    assert first.kernel_size == (7, 7)
    total = next(layer for layer in model.layers if isinstance(layer, LAYERS.Add))
    assert total.output.shape == (None, 9, 5, 3)
