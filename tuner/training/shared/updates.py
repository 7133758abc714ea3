"""Optimizers as TensorFlow's own fused updates: one pass over a weight and its slots.

Each does what Keras' optimizer of its name does (tested against them). All numbers come from
outside, those that change from step to step as a row of a schedule.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

Params = Mapping[str, Any]
Update = Callable[[Any, tf.Tensor, dict[str, Any], tf.Tensor, tf.Tensor, tf.Tensor], None]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
RHO = 0.9
FACTORS = 3
_ADAGRAD_START = 0.1
_NADAM_DECAY = 0.96


@dataclass(frozen=True)
class Form:
    """One way to change a weight. `slots`: what it keeps beside each weight, and its first value.
    `update(weight, gradient, slots, rate, momentum, factors)`; `factors` is the schedule's row."""

    slots: dict[str, float]
    update: Update


def form_of(params: Params) -> str:
    """The name of the form that `params` ask for."""
    if params["optimizer"] == "sgd" and params.get("momentum", 0.0) > 0:
        return "nesterov" if params.get("nesterov") else "momentum"
    return str(params["optimizer"])


def factors(form: str, done: int, steps: int) -> np.ndarray:
    """What the form's numbers are in each of `steps` steps, `done` having been taken before:
    (steps, FACTORS) float32."""
    at = np.arange(done + 1, done + steps + 1, dtype=np.float64)
    columns = np.zeros((steps, FACTORS))
    if form in ("adam", "adamw"):
        columns[:, 0], columns[:, 1] = BETA_1**at, BETA_2**at
    if form == "nadam":
        columns[:] = _nadam(at, done, steps)
    return columns.astype(np.float32)


def _nadam(at: np.ndarray, done: int, steps: int) -> np.ndarray:
    """Dozat (2016): shares of the mean gradient and of the gradient, and of their squares."""
    every = np.arange(1, done + steps + 2, dtype=np.float64)
    momentums = BETA_1 * (1.0 - 0.5 * _NADAM_DECAY**every)
    products = np.cumprod(momentums)
    now, after = momentums[done:-1], momentums[done + 1 :]
    of_mean = after / (1.0 - products[done + 1 :])
    of_gradient = (1.0 - now) / (1.0 - products[done:-1])
    return np.stack([of_mean, of_gradient, 1.0 / (1.0 - BETA_2**at)], axis=1)


def _sgd(weight: Any, gradient: Any, slots: Any, rate: Any, momentum: Any, factors: Any) -> None:
    tf.raw_ops.ResourceApplyGradientDescent(var=weight.handle, alpha=rate, delta=gradient)


def _with_momentum(nesterov: bool) -> Update:
    def update(weight: Any, gradient: Any, slots: Any, rate: Any, momentum: Any, _: Any) -> None:
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=weight.handle, accum=slots["mean"].handle, lr=rate, grad=gradient,
            momentum=momentum, use_nesterov=nesterov,
        )  # fmt: skip

    return update


def _adam(weight: Any, gradient: Any, slots: Any, rate: Any, momentum: Any, factors: Any) -> None:
    tf.raw_ops.ResourceApplyAdam(
        var=weight.handle, m=slots["mean"].handle, v=slots["square"].handle, grad=gradient, lr=rate,
        beta1_power=factors[0], beta2_power=factors[1],
        beta1=BETA_1, beta2=BETA_2, epsilon=EPSILON,
    )  # fmt: skip


def _nadam_step(weight: Any, gradient: Any, slots: Any, rate: Any, _: Any, factors: Any) -> None:
    mean, square = slots["mean"].value(), slots["square"].value()
    mean = mean + (gradient - mean) * (1.0 - BETA_1)
    square = square + (tf.square(gradient) - square) * (1.0 - BETA_2)
    slots["mean"].assign(mean)
    slots["square"].assign(square)
    ahead = mean * factors[0] + gradient * factors[1]
    weight.assign_sub(ahead * rate / (tf.sqrt(square * factors[2]) + EPSILON))


def _rmsprop(weight: Any, gradient: Any, slots: Any, rate: Any, _: Any, factors: Any) -> None:
    square = slots["square"].value()
    square = square * RHO + tf.square(gradient) * (1.0 - RHO)
    slots["square"].assign(square)
    weight.assign_sub(gradient * rate * tf.math.rsqrt(square + EPSILON))


def _adagrad(weight: Any, gradient: Any, slots: Any, rate: Any, _: Any, factors: Any) -> None:
    square = slots["square"].value() + tf.square(gradient)
    slots["square"].assign(square)
    weight.assign_sub(gradient * rate * tf.math.rsqrt(square + EPSILON))


_MEAN_AND_SQUARE = {"mean": 0.0, "square": 0.0}
FORMS: dict[str, Form] = {
    "sgd": Form({}, _sgd),
    "momentum": Form({"mean": 0.0}, _with_momentum(nesterov=False)),
    "nesterov": Form({"mean": 0.0}, _with_momentum(nesterov=True)),
    "adam": Form(_MEAN_AND_SQUARE, _adam),
    "adamw": Form(_MEAN_AND_SQUARE, _adam),
    "nadam": Form(_MEAN_AND_SQUARE, _nadam_step),
    "rmsprop": Form({"square": 0.0}, _rmsprop),
    "adagrad": Form({"square": _ADAGRAD_START}, _adagrad),
}
