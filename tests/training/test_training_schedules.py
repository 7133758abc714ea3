"""Learning rates over the steps of a trial, as numbers, against Keras' schedules and callback."""

import os
from types import SimpleNamespace
from typing import Any, Literal

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.search_space.parameters import SCHEDULES
from tuner.training import schedules
from tuner.training.schedules import learning_rates

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "schedule": "test_no_rate_jumps_or_vanishes",
    "warmup_epochs": "test_warmup_rises_in_a_line_and_the_schedule_begins_behind_it",
    "plateau_factor": "test_plateau_is_reduce_lr_on_plateau",
    "plateau_patience": "test_plateau_is_reduce_lr_on_plateau",
    "plateau_min_delta": "test_plateau_is_reduce_lr_on_plateau",
    "cosine_floor": "test_cosine_is_that_of_keras",
    "decay": "test_exponential_is_that_of_keras",
    "cycle_rise": "test_one_cycle_rises_and_falls_in_half_waves",
}

RATE, STEPS, EPOCHS = 0.3, 7, 9
TOTAL = STEPS * EPOCHS
DEFAULTS: dict[str, Any] = {
    "learning_rate": RATE, "epochs": EPOCHS, "plateau_factor": 0.5, "plateau_patience": 1,
    "plateau_min_delta": 0.0, "cosine_floor": 0.0, "decay": 0.9, "cycle_rise": 0.3,
}  # fmt: skip

# Keras compares in float32: in sixteenths no comparison depends on rounding.
SIXTEENTHS = st.integers(-16, 16).map(lambda n: n / 16)


def rates(steps: int = STEPS, **params: Any) -> np.ndarray:
    """The rates of all epochs, one after the other."""
    complete = DEFAULTS | params
    epochs = range(1, int(complete["epochs"]) + 1)
    return np.concatenate([learning_rates(complete, epoch, steps) for epoch in epochs])


def of_keras(schedule: Any, count: int = TOTAL) -> np.ndarray:
    return np.array([float(schedule(step)) for step in range(count)])


class Plateau:
    """Keras' callback, driven by hand."""

    def __init__(self, rate: float, params: dict[str, Any], direction: str) -> None:
        self._callback = keras.callbacks.ReduceLROnPlateau(
            "value", params["plateau_factor"], params["plateau_patience"],
            mode="max" if direction == "maximize" else "min",
            min_delta=params["plateau_min_delta"], min_lr=0.0,
        )  # fmt: skip
        self._optimizer = SimpleNamespace(learning_rate=rate)
        self._callback.set_model(SimpleNamespace(optimizer=self._optimizer))
        self._callback.on_train_begin()

    def after(self, value: float) -> float:
        self._callback.on_epoch_end(0, {"value": value})
        return float(self._optimizer.learning_rate)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(SIXTEENTHS, max_size=25),
    st.sampled_from(["minimize", "maximize"]),
    st.sampled_from([0.0, 1 / 16, 1 / 4]),
    st.integers(1, 4),
    st.sampled_from([0.1, 0.5, 0.9]),
)
def test_plateau_is_reduce_lr_on_plateau(
    values: list[float],
    direction: Literal["maximize", "minimize"],
    min_delta: float,
    patience: int,
    factor: float,
) -> None:
    params = DEFAULTS | {
        "schedule": "plateau", "plateau_min_delta": min_delta, "plateau_patience": patience,
        "plateau_factor": factor,
    }  # fmt: skip
    theirs = Plateau(RATE, params, direction)
    expected = [RATE, *(theirs.after(value) for value in values)]
    for known, rate in enumerate(expected):
        found = learning_rates(params, known + 1, STEPS, values[:known], direction)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.full(STEPS, rate), rtol=1e-5)


@pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])
def test_cosine_is_that_of_keras(floor: float) -> None:
    expected = of_keras(keras.optimizers.schedules.CosineDecay(RATE, TOTAL, alpha=floor))
    found = rates(schedule="cosine", cosine_floor=floor)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("decay", [0.2, 0.95, 1.0])
def test_exponential_is_that_of_keras(decay: float) -> None:
    expected = of_keras(keras.optimizers.schedules.ExponentialDecay(RATE, STEPS, decay))
    np.testing.assert_allclose(rates(schedule="exponential", decay=decay), expected, rtol=1e-5)


@pytest.mark.parametrize("rise", [0.1, 0.25, 0.5, 0.9])
def test_one_cycle_rises_and_falls_in_half_waves(rise: float) -> None:
    """Of 200 steps: from a 25th of the rate to all of it, then to almost nothing."""
    found = rates(20, epochs=10, schedule="one_cycle", cycle_rise=rise) / RATE
    top = round(200 * rise)
    assert found[0] == pytest.approx(1 / 25)
    assert int(found.argmax()) == top
    assert found[top] == pytest.approx(1)
    assert (np.diff(found[: top + 1]) > 0).all()
    assert (np.diff(found[top:]) < 0).all()
    assert found[top // 2] == pytest.approx((1 + 1 / 25) / 2)
    assert found[(top + 200) // 2] == pytest.approx((1 + 1 / 250_000) / 2, rel=1e-5)
    if top % 4 == 0:
        quarter = (1 - np.cos(np.pi / 4)) / 2
        assert found[top // 4] == pytest.approx(1 / 25 + 24 / 25 * quarter)
    assert found[-1] < np.pi**2 / 4 / (200 - top) ** 2 + 1 / 100_000


def test_constant_is_constant() -> None:
    np.testing.assert_array_equal(rates(), np.full(TOTAL, np.float32(RATE)))
    np.testing.assert_array_equal(rates(schedule="constant"), np.full(TOTAL, np.float32(RATE)))


@pytest.mark.parametrize("warmup", [1.0, 3.0, 0.5, 20.0])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warmup_rises_in_a_line_and_the_schedule_begins_behind_it(
    schedule: str, warmup: float
) -> None:
    found = rates(20, schedule=schedule, warmup_epochs=warmup)
    behind = min(int(warmup * 20), len(found))
    np.testing.assert_allclose(
        found[:behind], RATE * np.arange(1, behind + 1) / (warmup * 20), 1e-6
    )
    if warmup == int(warmup) < EPOCHS:
        left = (EPOCHS - int(warmup)) * 20
        rest = rates(20, schedule=schedule, epochs=EPOCHS - int(warmup))
        if schedule == "one_cycle":  # which has risen already
            half_wave = (1 + np.cos(np.pi * np.arange(left) / left)) / 2
            rest = RATE * (1 / 250_000 + (1 - 1 / 250_000) * half_wave)
        np.testing.assert_allclose(found[behind:], rest, rtol=1e-6)


def test_warmup_with_cosine_is_that_of_keras() -> None:
    """Keras' first step has no rate at all; here its warmup is one step ahead."""
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, TOTAL - 14, alpha=0.2, warmup_target=RATE, warmup_steps=14
    )
    expected = of_keras(schedule, TOTAL)
    found = rates(schedule="cosine", cosine_floor=0.2, warmup_epochs=2.0)
    np.testing.assert_allclose(found[:14], expected[1:15], rtol=1e-5)
    np.testing.assert_allclose(found[14:], expected[14:], rtol=1e-5)


@settings(deadline=None)
@given(
    st.sampled_from(SCHEDULES), st.integers(1, 12), st.integers(1, 30),
    st.sampled_from([0.0, 0.3, 1.0, 2.5, 40.0]), st.floats(0.5, 1), st.floats(0, 1),
    st.floats(0.01, 0.99),
)  # fmt: skip
def test_no_rate_jumps_or_vanishes(
    schedule: str, epochs: int, steps: int, warmup: float, decay: float, floor: float, rise: float
) -> None:
    params: dict[str, Any] = {
        "schedule": schedule, "epochs": epochs, "warmup_epochs": warmup, "decay": decay,
        "cosine_floor": floor, "cycle_rise": rise,
    }  # fmt: skip
    found = rates(steps, **params) / RATE
    assert found.shape == (epochs * steps,)
    assert np.isfinite(found).all()
    assert (found > 0).all()
    assert (found <= 1 + 1e-6).all()
    left = max(epochs - warmup, 0) * steps
    wave = np.pi / 2 * max(1 / max(left * rise, 1), 1 / max(left * (1 - rise), 1))
    largest = {
        "cosine": np.pi / 2 / max(left, 1),
        "exponential": 1 - decay ** (1 / steps),
        "one_cycle": wave,
    }.get(schedule, 0.0)
    jumps, first = np.abs(np.diff(found)), np.arange(len(found) - 1)
    risen = warmup * steps
    slope = 1 / max(risen, 1)
    assert (jumps[first + 1 < risen] <= slope + 1e-6).all()
    assert (jumps[first >= risen] <= largest + 1e-6).all()
    assert (jumps <= slope * (warmup > 0) + largest + 1e-6).all()


def test_every_schedule_of_the_catalogue_has_its_function() -> None:
    assert tuple(schedules.SCHEDULES) == SCHEDULES
