"""How weights start: variances and bounds from the literature, biases, seeds."""

import os
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from tensorflow_helpers import make_request

from tuner.networks import build_network, initialise
from tuner.networks.layers import KerasLayers
from tuner.search_space.parameters import ACTIVATIONS, INITIALIZERS

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "initializer": "test_variance_and_bounds_of_each_initializer",
    "init_sigma": "test_the_deviation_of_normal",
    "bias": "test_a_constant_input_is_drawn_with_the_kernel",
}

# What `auto` is for hidden layers: He et al. (2015), Klambauer et al. (2017), else Glorot.
AUTO = dict.fromkeys(ACTIVATIONS, "glorot_uniform") | {
    **dict.fromkeys(("relu", "leaky_relu", "elu", "gelu", "swish"), "he_normal"),
    "selu": "lecun_normal",
}
CONVOLUTIONS: dict[str, Any] = {"blocks": 2, "filters": 60, "filter_growth": 1.0}


def weights(name: str, shape: Any = (300,), seed: int = 5, **params: Any) -> list[np.ndarray]:
    """The weights of that name in a network whose weights were drawn."""
    network = "cnn" if "blocks" in params else "mlp"
    complete = make_request(
        network=network, **{"depth": 2, "width": [200, 100], "leaky_slope": 0.1} | params
    ).params
    model = build_network(network, complete, shape, 40, "classes", KerasLayers())
    initialise(model, complete, seed)
    return [w.numpy() for w in model.weights if w.name == name]


def agrees(kernel: np.ndarray, initializer: str, extra_input: int = 0) -> bool:
    """Whether the kernel's mean, variance and largest value are the initializer's."""
    window = int(np.prod(kernel.shape[:-2]))
    fan_in = window * kernel.shape[-2] + extra_input
    fan_out = window * kernel.shape[-1]
    family, form = initializer.split("_")
    fans = {"he": fan_in / 2, "lecun": fan_in, "glorot": (fan_in + fan_out) / 2}
    deviation = np.sqrt(1 / fans[family])
    # A normal distribution is cut at two of its deviations and widened to keep its variance.
    bound = deviation * (np.sqrt(3) if form == "uniform" else 2 / 0.87962566103423978)
    largest = float(np.abs(kernel).max())
    return (
        abs(kernel.mean()) < 5 * deviation / np.sqrt(kernel.size)
        and abs(kernel.std() / deviation - 1) < 0.04
        and 0.96 * bound < largest <= bound * (1 + 1e-6)
    )


@pytest.mark.parametrize("initializer", sorted({*INITIALIZERS} - {"auto", "normal", "orthogonal"}))
def test_variance_and_bounds_of_each_initializer(initializer: str) -> None:
    dense = weights("kernel", initializer=initializer)
    assert len(dense) == 3  # the output layer's too
    assert all(agrees(kernel, initializer) for kernel in dense)
    first, second, *_ = weights("kernel", (8, 8, 40), initializer=initializer, **CONVOLUTIONS)
    assert (first.shape, second.shape) == ((3, 3, 40, 60), (3, 3, 60, 60))
    assert agrees(first, initializer)
    assert agrees(second, initializer)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("named", [{}, {"initializer": "auto"}])
def test_auto_fits_the_activation_and_the_output_layer(
    activation: str, named: dict[str, str]
) -> None:
    *hidden, output = weights("kernel", activation=activation, **named)
    assert all(agrees(kernel, AUTO[activation]) for kernel in hidden)
    assert agrees(output, "glorot_uniform")


def test_the_deviation_of_normal() -> None:
    for sigma in (0.01, 2.0):
        kernels = weights("kernel", initializer="normal", init_sigma=sigma)
        for kernel in kernels:
            assert kernel.std() == pytest.approx(sigma, rel=0.04)
            assert abs(kernel.mean()) < 5 * sigma / np.sqrt(kernel.size)
            assert np.abs(kernel).max() > 3 * sigma  # it is not cut
            assert np.mean(np.abs(kernel) < sigma) == pytest.approx(0.6827, abs=0.03)


def test_orthogonal_kernels() -> None:
    convolutions = weights("kernel", (8, 8, 40), initializer="orthogonal", **CONVOLUTIONS)
    for kernel in weights("kernel", initializer="orthogonal") + convolutions[:2]:
        matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
        assert matrix.shape[0] > matrix.shape[1]
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), atol=1e-5)


@pytest.mark.parametrize(("bias", "count"), [("all", 3), ("input", 1), ("none", 0)])
def test_which_layers_have_a_bias(bias: str, count: int) -> None:
    assert len(weights("bias", bias=bias)) == count
    convolved = weights("bias", (8, 8), bias=bias, **CONVOLUTIONS | {"convolutions": 2})
    assert len(convolved) == (7 if count == 3 else count)
    assert [len(w) for w in weights("bias", bias=bias, depth=0, width=[])] == [40] * (count > 0)
    # The normalisation's shift stands in for it, where it comes right behind.
    assert len(weights("bias", bias=bias, batch_norm=True)) == (1 if count == 3 else 0)
    after = {"norm_position": "after", "layer_norm": True}
    assert len(weights("bias", bias=bias, **after)) == count


def test_biases_start_at_zero_but_for_a_constant_input() -> None:
    assert all((bias == 0).all() for bias in weights("bias", bias="all", initializer="he_normal"))


def test_a_constant_input_is_drawn_with_the_kernel() -> None:
    wide = {"bias": "input", "width": [3000, 4], "shape": (20,)}
    for sigma in (0.05, 0.7):
        (bias,) = weights("bias", initializer="normal", init_sigma=sigma, **wide)
        assert bias.shape == (3000,)
        assert bias.std() == pytest.approx(sigma, rel=0.05)
        assert abs(bias.mean()) < 5 * sigma / np.sqrt(3000)
        kernel = weights("kernel", initializer="normal", init_sigma=sigma, **wide)[0]
        correlations = [np.corrcoef(row, bias)[0, 1] for row in kernel]
        assert np.abs(correlations).max() < 4.5 / np.sqrt(3000)
    # It counts as an input: one more in the fan.
    (bias,) = weights("bias", initializer="lecun_normal", **wide)
    kernel = weights("kernel", initializer="lecun_normal", **wide)[0]
    assert agrees(np.vstack([kernel, bias]), "lecun_normal")
    assert bias.std() == pytest.approx(np.sqrt(1 / 21), rel=0.05)
    # As a row of an orthogonal matrix it is as long as the others.
    narrow = wide | {"width": [10, 4]}
    (bias,) = weights("bias", initializer="orthogonal", **narrow)
    kernel = weights("kernel", initializer="orthogonal", **narrow)[0]
    together = np.vstack([kernel, bias])
    np.testing.assert_allclose(together.T @ together, np.eye(10), atol=1e-5)


@pytest.mark.parametrize("initializer", sorted({*INITIALIZERS} - {"auto", "orthogonal"}))
def test_a_constant_input_of_convolutions(initializer: str) -> None:
    """Its weights are as large as the kernel's, which is as large as with any other bias."""
    shape = (8, 8, 5)
    params = CONVOLUTIONS | {"filters": 400, "initializer": initializer, "init_sigma": 0.3}
    (bias,) = weights("bias", shape, bias="input", **params)
    kernel = weights("kernel", shape, bias="input", **params)[0]
    assert (kernel.shape, bias.shape) == ((3, 3, 5, 400), (400,))
    assert bias.std() == pytest.approx(kernel.std(), rel=0.12)
    assert abs(bias.mean()) < 5 * kernel.std() / np.sqrt(400)
    for place in kernel.reshape(45, 400):
        assert abs(np.corrcoef(place, bias)[0, 1]) < 4.5 / np.sqrt(400)
    usual = weights("kernel", shape, bias="all", **params)[0]
    assert kernel.std() == pytest.approx(usual.std(), rel=0.04)
    assert np.abs(kernel).max() == pytest.approx(np.abs(usual).max(), rel=0.2)


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_the_seed_alone_decides(initializer: str) -> None:
    params = {"initializer": initializer, "init_sigma": 0.1, "bias": "input", "width": [9, 9]}
    once, again, other = (
        weights("kernel", (9,), seed=seed, **params) + weights("bias", (9,), seed=seed, **params)
        for seed in (2**62, 2**62, 2**62 + 1)
    )
    assert [w.tobytes() for w in once] == [w.tobytes() for w in again]
    for one, two in zip(once, other, strict=True):
        assert not np.intersect1d(one, two).size
    assert not np.intersect1d(once[0], once[1]).size
