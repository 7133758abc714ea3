"""Activations against formulas in NumPy: alone, in a network, and in an exported network."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from scipy import special, stats
from tensorflow_helpers import make_dataset, make_request

from tuner.networks import export_network
from tuner.search_space.parameters import ACTIVATIONS
from tuner.training.engines.keras import KerasProgram
from tuner.training.ops.activations import activation_curve

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "activation": "test_each_activation_in_a_network_and_in_the_exported_one",
    "leaky_slope": "test_the_slope_of_leaky_relu_below_zero",
}

SLOPE = 0.3
# Klambauer et al. (2017)
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
Function = Callable[[np.ndarray], np.ndarray]
# Values and derivatives.
FORMULAS: dict[str, tuple[Function, Function]] = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, 1.0, 0.0)),
    "leaky_relu": (
        lambda x: np.where(x > 0, x, SLOPE * x),
        lambda x: np.where(x > 0, 1.0, SLOPE),
    ),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: np.where(x > 0, 1.0, np.exp(x))),
    "selu": (
        lambda x: SCALE * np.where(x > 0, x, ALPHA * np.expm1(x)),
        lambda x: SCALE * np.where(x > 0, 1.0, ALPHA * np.exp(x)),
    ),
    "gelu": (
        lambda x: x * stats.norm.cdf(x),
        lambda x: stats.norm.cdf(x) + x * stats.norm.pdf(x),
    ),
    "swish": (
        lambda x: x * special.expit(x),
        lambda x: special.expit(x) * (1 + x * special.expit(-x)),
    ),
    "softplus": (lambda x: np.log1p(np.exp(x)), special.expit),
    "sigmoid": (special.expit, lambda x: special.expit(x) * special.expit(-x)),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "arctan": (np.arctan, lambda x: 1 / (1 + x**2)),
    "linear": (lambda x: x, np.ones_like),
}
POINTS = np.linspace(-6, 6, 100)  # none of them 0, where some have no derivative


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_and_derivatives(activation: str) -> None:
    values, derivatives = activation_curve(activation, POINTS, {"leaky_slope": SLOPE})
    value, derivative = FORMULAS[activation]
    np.testing.assert_allclose(values, value(POINTS), rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(derivatives, derivative(POINTS), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.9])
def test_the_slope_of_leaky_relu_below_zero(slope: float) -> None:
    values, derivatives = activation_curve("leaky_relu", POINTS, {"leaky_slope": slope})
    np.testing.assert_allclose(values, np.where(POINTS > 0, POINTS, slope * POINTS), rtol=1e-6)
    np.testing.assert_allclose(derivatives, np.where(POINTS > 0, 1, slope), rtol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation_in_a_network_and_in_the_exported_one(
    activation: str, tmp_path: Path
) -> None:
    dataset = make_dataset(images=True)
    params = make_request(depth=2, width=[7, 5], activation=activation, leaky_slope=SLOPE).params
    program = started(params, dataset, "mlp")
    expected = by_hand(program.weights(), FORMULAS[activation][0], dataset)
    trained = program.model(dataset.scaling.apply(dataset.validation.x), training=False)
    np.testing.assert_allclose(trained, expected, rtol=0, atol=2e-6)
    loaded = exported("mlp", params, dataset, program, tmp_path)
    np.testing.assert_allclose(loaded(dataset.validation.x), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("activation", ["leaky_relu", "arctan", "gelu"])
@pytest.mark.parametrize("norm_position", ["before", "after"])
def test_an_exported_convolutional_network_predicts_the_same(
    activation: str, norm_position: str, tmp_path: Path
) -> None:
    dataset = make_dataset(images=True)
    params = make_request(
        network="cnn", blocks=2, activation=activation, leaky_slope=SLOPE,
        norm_position=norm_position, batch_norm=True, layer_norm=True,
        dropout=0.3, input_dropout=0.2, block_dropout=0.4,
    ).params  # fmt: skip
    program = started(params, dataset, "cnn")
    trained = program.model(dataset.scaling.apply(dataset.validation.x), training=False)
    loaded = exported("cnn", params, dataset, program, tmp_path)
    np.testing.assert_allclose(loaded(dataset.validation.x), trained, rtol=0, atol=2e-6)


def started(params: dict[str, Any], dataset: Any, network: str) -> KerasProgram:
    """A trial's program before its first step, its biases moved away from zero."""
    program = KerasProgram(network, params, dataset)
    program.start(params, seed=5)
    draw = np.random.default_rng(0)
    program.set_weights([w + draw.uniform(0, 0.5, w.shape) for w in program.weights()])
    return program


def by_hand(weights: list[np.ndarray], activation: Function, dataset: Any) -> np.ndarray:
    """Class probabilities for the validation rows, in float64."""
    x = np.asarray(dataset.validation.x, np.float64) * dataset.scaling.scale
    hidden = (x + dataset.scaling.offset).reshape(len(x), -1)
    *layers, (kernel, bias) = zip(weights[::2], weights[1::2], strict=True)
    for kernel_, bias_ in layers:
        hidden = activation(hidden @ kernel_ + bias_)
    return np.asarray(special.softmax(hidden @ kernel + bias, axis=1))


def exported(
    network: str, params: dict[str, Any], dataset: Any, program: KerasProgram, folder: Path
) -> Any:
    model = export_network(network, params, dataset, program.weights())
    model.save(folder / "network.keras")
    return keras.saving.load_model(folder / "network.keras", safe_mode=True)
