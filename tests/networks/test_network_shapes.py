"""The layers of shipped networks: their order, their sizes, and how many weights they have."""

import os
from itertools import pairwise
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from tensorflow_helpers import make_request

from tuner.networks import build_network, dropout_rates
from tuner.networks.layers import CompiledLayers, KerasLayers
from tuner.search_space.parameters import NETWORKS
from tuner.training.ops.scalars import Scalars

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "depth": "test_widths_taper_from_layer_to_layer",
    "width": "test_widths_taper_from_layer_to_layer",
    "taper": "test_widths_taper_from_layer_to_layer",
    "batch_norm": "test_the_order_of_a_hidden_layers_parts",
    "layer_norm": "test_the_order_of_a_hidden_layers_parts",
    "norm_position": "test_the_order_of_a_hidden_layers_parts",
    "blocks": "test_blocks_of_convolutions",
    "convolutions": "test_blocks_of_convolutions",
    "filters": "test_filters_grow_from_block_to_block",
    "filter_growth": "test_filters_grow_from_block_to_block",
    "kernel": "test_maps_shrink_by_kernel_padding_and_pool",
    "padding": "test_maps_shrink_by_kernel_padding_and_pool",
    "pool": "test_maps_shrink_by_kernel_padding_and_pool",
}
LAYERS = keras.layers


def mlp(shape: Any = (6,), **params: Any) -> Any:
    return build_network("mlp", make_request(**params).params, shape, 3, "classes", KerasLayers())


def cnn(shape: Any = (8, 8, 1), **params: Any) -> Any:
    complete = make_request(network="cnn", **params).params
    return build_network("cnn", complete, shape, 3, "classes", KerasLayers())


def order(model: Any) -> list[str]:
    """All operations but the input, in the order of the computation."""
    return [type(operation).__name__ for operation in model.operations[1:]]


def layers(model: Any, kind: Any) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize(
    ("params", "widths"),
    [
        ({"depth": 3, "width": 12}, [12, 12, 12]),
        ({"depth": 3, "width": 12, "taper": 0.5}, [12, 6, 3]),
        ({"depth": 3, "width": 5, "taper": 1.5}, [5, 8, 11]),  # 7.5 and 11.25, rounded
        ({"depth": 4, "width": 4, "taper": 0.1}, [4, 1, 1, 1]),
        ({"depth": 3, "width": [9, 7, 5]}, [9, 7, 5]),
        ({"depth": 2, "width": [10, 10], "taper": 2.0}, [10, 20]),
        ({"depth": 0, "width": 4}, []),
    ],
)
def test_widths_taper_from_layer_to_layer(params: dict[str, Any], widths: list[int]) -> None:
    for model, inputs in ((mlp(**params), 6), (cnn(blocks=0, shape=(2, 3), **params), 6)):
        dense = layers(model, LAYERS.Dense)
        assert [layer.units for layer in dense] == [*widths, 3]
        sizes = [inputs, *widths, 3]
        count = sum((one + 1) * two for one, two in pairwise(sizes))
        assert model.count_params() == count


BATCH, LAYER = "BatchNormalization", "LayerNormalization"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["Dense", "Tanh", "Dropout"]),
        ({"batch_norm": True}, ["Dense", BATCH, "Tanh", "Dropout"]),
        ({"layer_norm": True}, ["Dense", LAYER, "Tanh", "Dropout"]),
        ({"batch_norm": True, "layer_norm": True}, ["Dense", BATCH, LAYER, "Tanh", "Dropout"]),
        (
            {"batch_norm": True, "norm_position": "before"},
            ["Dense", BATCH, "Tanh", "Dropout"],
        ),
        ({"batch_norm": True, "norm_position": "after"}, ["Dense", "Tanh", BATCH, "Dropout"]),
        ({"layer_norm": True, "norm_position": "after"}, ["Dense", "Tanh", LAYER, "Dropout"]),
        ({"norm_position": "after"}, ["Dense", "Tanh", "Dropout"]),
    ],
)
def test_the_order_of_a_hidden_layers_parts(params: dict[str, Any], expected: list[str]) -> None:
    model = mlp(depth=2, dropout=0.1, input_dropout=0.2, **params)
    assert order(model) == ["Dropout", *expected, *expected, "Dense"]
    # A bias right before a normalisation, which takes the mean away, would do nothing.
    has_bias = expected[1] == "Tanh"
    assert [layer.use_bias for layer in layers(model, LAYERS.Dense)] == [has_bias, has_bias, True]
    convolved = cnn(dropout=0.1, input_dropout=0.2, block_dropout=0.3, **params)
    parts = ["Conv2D", *expected[1:-1], "MaxPooling2D", "Dropout", "Flatten"]
    assert order(convolved) == ["Dropout", *parts, *expected, "Dense"]


def test_normalisation_normalises() -> None:
    x = np.random.default_rng(0).normal(3, 5, (50, 6)).astype(np.float32)
    for params, axis in (({"batch_norm": True}, 0), ({"layer_norm": True}, 1)):
        model = mlp(width=40, activation="relu", norm_position="after", **params)
        hidden = keras.Model(model.input, model.layers[-2].output)(x, training=True).numpy()
        np.testing.assert_allclose(hidden.mean(axis), 0, atol=1e-5)
        spread = hidden.std(axis)
        assert (np.isclose(spread, 1, atol=0.02) | (spread < 1e-5)).all()  # or a dead unit
        assert np.isclose(spread, 1, atol=0.02).mean() > 0.9


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3)])
def test_blocks_of_convolutions(shape: tuple[int, ...]) -> None:
    model = cnn(shape, blocks=2, convolutions=3, depth=1, width=7)
    block = ["Conv2D", "Tanh"] * 3 + ["MaxPooling2D"]
    reshaped = ["Reshape"] if len(shape) == 2 else []
    assert order(model) == [*reshaped, *block, *block, "Flatten", "Dense", "Tanh", "Dense"]
    assert model.input_shape == (None, *shape)
    channels = shape[2] if len(shape) == 3 else 1
    inputs = [channels, 4, 4, 4, 8, 8]
    convolutions = sum(
        (9 * i + 1) * o for i, o in zip(inputs, [4, 4, 4, 8, 8, 8], strict=True)
    )  # a window of 3 x 3 and a bias
    assert model.count_params() == convolutions + (2 * 2 * 8 + 1) * 7 + (7 + 1) * 3


@pytest.mark.parametrize(
    ("filters", "growth", "expected"),
    [
        (4, 1.0, [4, 4, 4]),
        (4, 2.0, [4, 8, 16]),
        (4, 0.1, [4, 1, 1]),
        ([5, 3, 9], 1.0, [5, 3, 9]),
        ([5, 3, 2], 1.5, [5, 4, 4]),  # 4.5, rounded to even, and 4.5
    ],
)
def test_filters_grow_from_block_to_block(filters: Any, growth: float, expected: list[int]) -> None:
    model = cnn(blocks=3, convolutions=2, filters=filters, filter_growth=growth)
    found = [layer.filters for layer in layers(model, LAYERS.Conv2D)]
    assert found == [count for count in expected for _ in range(2)]


@pytest.mark.parametrize(
    ("params", "sides"),
    [
        # After each convolution and pooling, from 8 x 8.
        ({}, [8, 4, 4, 2]),
        ({"padding": "valid"}, [6, 3, 1, 1]),
        ({"padding": "valid", "kernel": 5}, [4, 2, 2, 1]),  # 2 < 5: padded
        ({"padding": "valid", "kernel": 9}, [8, 4, 4, 2]),  # 8 < 9: padded
        ({"padding": "valid", "kernel": 8}, [1, 1, 1, 1]),
        ({"padding": "valid", "kernel": 1}, [8, 4, 4, 2]),
        ({"pool": 3}, [8, 3, 3, 1]),
        ({"pool": 16}, [8, 1, 1, 1]),
    ],
)
def test_maps_shrink_by_kernel_padding_and_pool(params: dict[str, Any], sides: list[int]) -> None:
    model = cnn(blocks=2, **params)
    shrinking = layers(model, (LAYERS.Conv2D, LAYERS.MaxPooling2D))
    assert [layer.output.shape[1:3] for layer in shrinking] == [(side, side) for side in sides]
    kernel = params.get("kernel", 3)
    assert {layer.kernel_size for layer in layers(model, LAYERS.Conv2D)} == {(kernel, kernel)}


def test_a_pool_of_one_pools_nothing() -> None:
    model = cnn(blocks=2, pool=1)
    assert not layers(model, LAYERS.MaxPooling2D)
    assert layers(model, LAYERS.Flatten)[0].input.shape == (None, 8, 8, 8)


def test_a_map_narrower_than_the_window_on_one_side_is_padded() -> None:
    model = cnn((2, 9, 1), padding="valid")
    assert layers(model, LAYERS.Conv2D)[0].output.shape == (None, 2, 9, 4)


def test_pooling_takes_the_largest_of_each_window() -> None:
    model = cnn((3, 4, 1), kernel=1, activation="linear", filters=1)
    conv = layers(model, LAYERS.Conv2D)[0]
    conv.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    pooled = keras.Model(model.input, layers(model, LAYERS.MaxPooling2D)[0].output)
    image = -np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    np.testing.assert_array_equal(pooled(image)[0, :, :, 0], [[0, -2], [-8, -10]])


@pytest.mark.parametrize(
    ("network", "params"),
    [
        ("mlp", {"depth": 3, "width": 4, "dropout": 0.2}),
        ("mlp", {"depth": 3, "width": 4, "dropout": [0.1, 0.0, 0.3], "input_dropout": 0.4}),
        ("mlp", {"depth": 0, "dropout": 0.5, "input_dropout": 0.4}),
        ("cnn", {"blocks": 2, "block_dropout": [0.0, 0.6], "input_dropout": 0.4, "dropout": 0.2}),
        ("cnn", {"blocks": 3, "block_dropout": 0.6, "depth": 2, "dropout": [0.1, 0.2]}),
        ("cnn", {"blocks": 0, "block_dropout": [], "depth": 1, "dropout": [0.3]}),
        ("cnn", {"blocks": 2, "block_dropout": 0.0}),
    ],
)
def test_dropout_layers_come_in_the_order_of_their_rates(
    network: str, params: dict[str, Any]
) -> None:
    complete = make_request(network=network, **params).params
    rates, every = dropout_rates(network, complete), NETWORKS[network].dropout_rates(complete)
    assert rates == [rate for rate in every if rate > 0]
    args = ((8, 8), 3, "classes")
    plain = build_network(network, complete, *args, KerasLayers())
    assert [layer.rate for layer in layers(plain, LAYERS.Dropout)] == rates
    parts = CompiledLayers(Scalars())
    model = build_network(network, complete, *args, parts)
    parts.reset(1, rates)
    found = [layer for layer in model.layers if layer.name.startswith("dropout_")]
    # Which bits a dropout draws does not depend on which others there are.
    assert [layer.index for layer in found] == [n for n, rate in enumerate(every) if rate > 0]
    assert [float(layer.rate) for layer in found] == pytest.approx(rates)
    shapes = [layer.output.shape for layer in found]
    assert shapes == [layer.output.shape for layer in layers(plain, LAYERS.Dropout)]
