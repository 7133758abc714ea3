"""The statistics of dropout masks: all seeds are fixed, so a test that passes always passes."""

import os
from collections.abc import Callable

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from scipy import stats

from tuner.networks.layers import CompiledLayers
from tuner.training.ops.dropout import (
    DropoutClock,
    FastDropout,
    draw_masks,
    multipliers,
    steps_at_once,
)
from tuner.training.ops.scalars import Scalars

pytestmark = pytest.mark.tensorflow

BATCH, UNITS = 64, 256
RATES = [0.05, 0.3, 0.5, 0.9]

# Correlations are compared in standard deviations. About 100 are looked at, of which the largest
# is beyond 4.5 once in 1500 times.
FAR = 4.5


def mask(rate: float = 0.5, layer: int = 0, seed: int = 1, step: int = 0) -> np.ndarray:
    """Which units are kept (BATCH, UNITS)."""
    scalars = tf.constant(seed, tf.uint32), tf.constant(step, tf.uint32)
    positions = tf.reshape(tf.cast(tf.range(BATCH * UNITS), tf.uint32), (BATCH, UNITS))
    return np.asarray(multipliers(positions, tf.constant(rate), layer, *scalars).numpy() > 0)


def many(rate: float, steps: int = 50) -> np.ndarray:
    """Masks of consecutive steps (steps, BATCH, UNITS)."""
    return np.stack([mask(rate, step=step) for step in range(steps)])


def deviations(first: np.ndarray, second: np.ndarray) -> float:
    """The correlation of two sets of draws, in standard deviations of independent ones."""
    return abs(float(np.corrcoef(first.ravel(), second.ravel())[0, 1])) * np.sqrt(first.size)


def layer_at(rate: float, seed: int = 1) -> FastDropout:
    clock = DropoutClock()
    clock.reset(seed)
    layer = FastDropout(0, clock)
    layer.rate.assign(rate)
    return layer


def plausible(p_value: float) -> bool:
    """Neither too far from independence nor too close to it."""
    return 1e-4 < p_value < 1 - 1e-4


@pytest.mark.parametrize("rate", RATES)
def test_keep_rate(rate: float) -> None:
    stays = many(rate)
    keep = 1 - rate
    assert abs(stays.mean() - keep) < 4 * np.sqrt(keep * rate / stays.size)
    for axes in [(1, 2), (0, 2), (0, 1), (0,)]:  # by step, by row, by unit, by row and unit
        counts = stays.sum(axis=axes)
        n = stays.size / counts.size
        spread = np.square(counts - n * keep).sum() / (n * keep * rate)
        assert plausible(stats.chi2.sf(spread, counts.size)), axes


@pytest.mark.parametrize("rate", RATES)
def test_scale(rate: float) -> None:
    layer = layer_at(rate)
    inputs = np.linspace(0.5, 2, BATCH * UNITS, dtype=np.float32).reshape(BATCH, UNITS)
    total, steps = np.zeros_like(inputs), 40
    for _ in range(steps):
        outputs = layer(inputs, training=True).numpy()
        np.testing.assert_allclose(outputs[outputs > 0], (inputs / (1 - rate))[outputs > 0], 1e-6)
        total += outputs
        layer.clock.tick()
    ratio = (total / steps / inputs).mean()
    assert abs(ratio - 1) < 4 * np.sqrt(rate / (1 - rate) / (steps * inputs.size))


@pytest.mark.parametrize("rate", [0.3, 0.5])
@pytest.mark.parametrize(
    "other",
    [
        *({"step": 2**power} for power in range(0, 20, 3)),
        *({"layer": layer} for layer in (1, 2, 7)),
        *({"seed": seed} for seed in (0, 2, 3, 2**16 + 1, 2**31 + 1, 2**32 - 1)),
        {"layer": 1, "step": 1},
        {"seed": 2, "layer": 1},
    ],
    ids=str,
)
def test_steps_layers_and_seeds_are_independent(rate: float, other: dict[str, int]) -> None:
    first, second = mask(rate), mask(rate, **other)
    assert deviations(first, second) < FAR
    for shift in (1, 2, 16, UNITS - 1, UNITS, UNITS + 1):  # nor is one a shifted copy of the other
        assert deviations(first.ravel()[shift:], second.ravel()[:-shift]) < FAR
        assert deviations(first.ravel()[:-shift], second.ravel()[shift:]) < FAR


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_units_and_rows_are_independent(rate: float) -> None:
    flat = many(rate, steps=8).reshape(8, -1)
    for shift in [1, 2, 3, 4, 7, 8, 16, 32, 64, 100, 128, UNITS, UNITS + 1, 2 * UNITS, 32 * UNITS]:
        assert deviations(flat[:, shift:], flat[:, :-shift]) < FAR, shift


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    "groups",
    [
        lambda stays: stays.reshape(-1, 6),  # neighbouring units
        lambda stays: stays.reshape(-1, 6, 64).swapaxes(1, 2).reshape(-1, 6),  # every 64th unit
        lambda stays: stays.reshape(-1, 6, UNITS).swapaxes(1, 2).reshape(-1, 6),  # rows of a batch
        lambda stays: stays.reshape(6, -1).T,  # the same unit in several steps
    ],
    ids=["neighbours", "strided", "rows", "steps"],
)
def test_joint_counts_of_six_draws(rate: float, groups: Callable[[np.ndarray], np.ndarray]) -> None:
    joint = groups(many(rate, steps=12))
    patterns = joint @ (1 << np.arange(6))
    counts = np.bincount(patterns, minlength=64)
    staying = np.array([bin(pattern).count("1") for pattern in range(64)])
    expected = len(joint) * (1 - rate) ** staying * rate ** (6 - staying)
    often = expected >= 5  # rarer patterns are counted together
    observed = [*counts[often], counts[~often].sum()]
    wanted = [*expected[often], max(expected[~often].sum(), 1e-9)]
    assert plausible(stats.chisquare(observed, wanted).pvalue)


def test_no_mask_comes_twice() -> None:
    masks = {mask(layer=layer, step=step).tobytes() for layer in (0, 1) for step in range(200)}
    assert len(masks) == 400


def test_rate_zero_keeps_everything() -> None:
    inputs = np.random.default_rng(0).normal(size=(BATCH, UNITS)).astype(np.float32)
    layer = layer_at(0.0)
    for _ in range(20):
        np.testing.assert_array_equal(layer(inputs, training=True), inputs)
        layer.clock.tick()


def test_evaluation_is_the_identity() -> None:
    inputs = tf.random.stateless_normal((BATCH, UNITS), [1, 2])
    np.testing.assert_array_equal(layer_at(0.9)(inputs, training=False), inputs)


def test_gradients_flow_through_kept_units_alone() -> None:
    layer = layer_at(0.3)
    inputs = tf.ones((BATCH, UNITS))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
    gradient = tape.gradient(outputs, inputs).numpy()
    expected = np.where(mask(0.3), 1 / 0.7, 0.0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    np.testing.assert_allclose(outputs.numpy(), expected, rtol=1e-6)


def test_both_compilers_draw_the_same_mask() -> None:
    layer = layer_at(0.3, seed=2**40 + 5)
    inputs = tf.ones((BATCH, UNITS))
    compiled = tf.function(lambda x: layer(x, training=True), jit_compile=True, autograph=False)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(inputs) > 0, layer(inputs, training=True) > 0)
        layer.clock.tick()


def test_each_layer_of_a_network_has_its_own_rate() -> None:
    parts = CompiledLayers(Scalars())
    layers = [parts.dropout(0.5), parts.dropout(0.5)]
    parts.reset(seed=4, rates=[0.1, 0.6])
    inputs = tf.ones((BATCH, UNITS))
    shares = [float(np.mean(layer(inputs, training=True) == 0)) for layer in layers]
    assert shares == pytest.approx([0.1, 0.6], abs=0.02)
    drawn = [layer(inputs, training=True).numpy() for layer in layers]
    parts.clock.tick()
    assert not np.array_equal(layers[0](inputs, training=True), drawn[0])
    parts.reset(seed=4, rates=[0.1, 0.6])
    for layer, before in zip(layers, drawn, strict=True):
        np.testing.assert_array_equal(layer(inputs, training=True), before)


def test_masks_drawn_in_advance_are_those_of_the_layers() -> None:
    """Of several steps and places at once, in tiles: each is what the place would draw alone."""
    shapes = [(BATCH, UNITS), (0, 3), (BATCH, 7), (1, 1), (2, 5)]
    rates = [0.3, 0.5, 0.6, 0.2, 0.0]
    masks = draw_masks(shapes, rates, steps=3, seed=1, first=4)
    assert [tuple(m.shape) for m in masks] == [
        (3, BATCH, UNITS), (1, 0, 0), (3, BATCH, 7), (3, 1, 1), (3, 2, 5)
    ]  # fmt: skip
    at = tf.constant(1, tf.uint32), tf.constant(4, tf.uint32)
    alone = multipliers(tf.cast(tf.range(10), tf.uint32), tf.constant(0.0), 4, *at)
    np.testing.assert_array_equal(tf.reshape(masks[4][0], [-1]), alone)  # not drawn: all are 1
    for step in range(3):
        np.testing.assert_array_equal(masks[0][step] > 0, mask(0.3, layer=0, step=4 + step))
        flat = mask(0.6, layer=2, step=4 + step).ravel()[: BATCH * 7]
        np.testing.assert_array_equal(tf.reshape(masks[2][step], [-1]) > 0, flat)
    np.testing.assert_allclose(masks[2][masks[2] > 0], 1 / 0.4, rtol=1e-6)
    again = draw_masks(shapes, rates, steps=3, seed=1, first=4)
    for first, second in zip(masks, again, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_masks_drawn_in_advance_have_their_rate_and_are_independent(rate: float) -> None:
    first, second = (
        np.asarray(part) > 0 for part in draw_masks([(40, 50)] * 2, [rate] * 2, 20, 7, 0)
    )
    for part in (first, second):
        assert abs(part.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / part.size)
    assert deviations(first, second) < FAR
    for shift in (1, 50, 2000):  # the next unit, row and step
        assert deviations(first.ravel()[shift:], first.ravel()[:-shift]) < FAR
    other = np.asarray(draw_masks([(40, 50)], [rate], 20, seed=8, first=0)[0]) > 0
    assert deviations(first, other) < FAR


def test_how_many_steps_are_drawn_at_once() -> None:
    assert steps_at_once([(32, 32)], 100) == 100
    assert steps_at_once([(32, 64), (32, 32)], 10_000) == 1024 // 3
    assert steps_at_once([(5000, 5000)], 10) == 1  # never none
    assert steps_at_once([(0, 64)], 77) == 77  # where nothing is dropped
