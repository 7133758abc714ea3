"""Shipped networks: how they are built, how their weights start, which may share a program."""

import os
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from tensorflow_helpers import make_request

from tuner.networks import build_network, initialise
from tuner.networks.custom import CustomNetwork
from tuner.networks.layers import CompiledLayers, KerasLayers
from tuner.search_space.parameters import ACTIVATIONS, NETWORKS
from tuner.training.ops.scalars import Scalars
from tuner.training.program_key import structure_key

pytestmark = pytest.mark.tensorflow

TANH = {"activation": "tanh"}


def build(task: str = "classes", outputs: int = 3, shape: Any = (6,), **params: Any) -> Any:
    complete = make_request(**params).params
    return build_network("mlp", complete, shape, outputs, task, KerasLayers())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_of_the_catalogue(activation: str) -> None:
    model = build(activation=activation, leaky_slope=0.1)
    x = np.linspace(-3, 3, 60, dtype=np.float32).reshape(10, 6)
    assert np.isfinite(model(x)).all()


@pytest.mark.parametrize(
    ("task", "outputs", "activation"),
    [("classes", 3, "softmax"), ("binary", 1, "sigmoid"), ("regression", 1, "linear")],
)
def test_the_head_of_each_task(task: str, outputs: int, activation: str) -> None:
    model = build(task, outputs)
    assert model.output_shape == (None, outputs)
    assert model.layers[-1].activation is keras.activations.get(activation)


@pytest.mark.parametrize("empty", [{}, {"width": [], "dropout": []}])
def test_depth_zero_is_the_head_alone(empty: dict[str, Any]) -> None:
    model = build(shape=(3, 4), depth=0, **empty)
    assert [tuple(w.shape) for w in model.weights] == [(12, 3), (3,)]


def test_width_and_dropout_of_each_layer() -> None:
    model = build(depth=3, width=[9, 7, 5], dropout=[0.1, 0.0, 0.4], batch_norm=True)
    kinds = keras.layers.Dense, keras.layers.Dropout
    found = [
        (type(layer).__name__, layer.units if isinstance(layer, kinds[0]) else layer.rate)
        for layer in model.layers
        if isinstance(layer, kinds)
    ]
    assert found == [
        ("Dense", 9), ("Dropout", 0.1), ("Dense", 7), ("Dense", 5), ("Dropout", 0.4), ("Dense", 3),
    ]  # fmt: skip


def test_weights_start_within_the_bounds_of_glorot() -> None:
    model = build(shape=(300,), depth=2, width=[200, 100], outputs=10)
    initialise(model, TANH, seed=5)
    *kernels, _ = weights_of(model, "kernel")
    for kernel in kernels:
        bound = np.sqrt(6 / sum(kernel.shape))  # Glorot and Bengio, 2010
        assert 0.99 * bound < np.abs(kernel).max() <= bound
        assert abs(kernel.mean()) < 4 * kernel.std() / np.sqrt(kernel.size)
        assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    assert all((bias == 0).all() for bias in weights_of(model, "bias"))


def test_batch_normalisation_starts_as_keras_starts_it() -> None:
    model = build(batch_norm=True)
    fresh = model.get_weights()
    for weight in model.weights:
        weight.assign(weight + 7)
    initialise(model, TANH, seed=5)
    for weight, before in zip(model.weights, fresh, strict=True):
        if weight.name != "kernel":
            np.testing.assert_array_equal(weight.numpy(), before)


def test_weights_depend_on_the_seed_alone() -> None:
    first, second = build(depth=2, width=8), build(depth=2, width=8)
    for model, global_seed in ((first, 1), (second, 2)):
        keras.utils.set_random_seed(global_seed)
        initialise(model, TANH, seed=2**62)
    assert [w.tobytes() for w in first.get_weights()] == [w.tobytes() for w in second.get_weights()]
    kernels = weights_of(first, "kernel")
    initialise(first, TANH, seed=2**62 + 1)
    for kernel, other in zip(kernels, weights_of(first, "kernel"), strict=True):
        assert not np.intersect1d(kernel, other).size
    square = build(depth=3, width=6)
    initialise(square, TANH, seed=1)
    one, two, three, _ = weights_of(square, "kernel")
    assert not np.intersect1d(one, two).size
    assert not np.intersect1d(two, three).size


def weights_of(model: Any, name: str) -> list[np.ndarray]:
    return [w.numpy() for w in model.weights if w.name == name]


@pytest.mark.parametrize("name", sorted({*NETWORKS["mlp"].parameters, *NETWORKS["cnn"].parameters}))
def test_a_users_network_is_given_its_own_parameters_whatever_their_names(name: str) -> None:
    """Those of the shipped networks are no words of the training's."""
    text = (
        "import keras\n"
        "def build(params, input_shape, outputs):\n"
        f"    units = params[{name!r}]\n"
        "    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(units),\n"
        "                             keras.layers.Dense(outputs)])\n"
    )
    own = CustomNetwork("nets.py", "build", text)
    built = build_network(own, {name: 7}, (6,), 3, "classes", KerasLayers())
    assert built.layers[0].units == 7
    assert structure_key(own.identity, {name: 7}) != structure_key(own.identity, {name: 8})


def test_the_training_form_has_the_weights_of_the_exported_form() -> None:
    params = make_request(depth=3, dropout=0.5, batch_norm=True).params
    forms = [
        build_network("mlp", params, (6,), 3, "classes", parts)
        for parts in (CompiledLayers(Scalars()), KerasLayers())
    ]
    names = [[(w.name, tuple(w.shape)) for w in form.weights] for form in forms]
    assert names[0] == names[1]
