"""Optimizers as TensorFlow's own fused updates: one pass over a weight and its slots.

Each does what Keras' optimizer of its name does (tested against them). All numbers come from
outside, those that change from step to step as a row of a schedule.

Keras optimizers whose scalars are inputs of the compiled program instead of constants in it.

All optimizers as one formula, its coefficients an input: trials side by side in one XLA program
may each have another.

    m' = a m + b g        v' = c v + d g²        w' = w - (e m' + f g) / (h sqrt(v' + i) + j)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tuner.training.ops.scalars import Scalars

KerasParams = dict[str, Any]


class ScalarSGD(keras.optimizers.SGD):
    """SGD with momentum in a variable. Keras' own bakes the number into the program, so that two
    trials that differ in momentum alone would compile twice. Same update as Keras' (tested)."""

    def __init__(self, scalars: Scalars, nesterov: bool) -> None:
        super().__init__(momentum=0.5, nesterov=nesterov)
        self._scalars = scalars

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        velocity = self.momentums[self._get_variable_index(variable)]
        momentum, step = self._scalars["momentum"], gradient * learning_rate
        self.assign(velocity, velocity * momentum - step)
        self.assign_add(variable, velocity * momentum - step if self.nesterov else velocity)


def _keras_sgd(params: KerasParams, scalars: Scalars) -> keras.optimizers.Optimizer:
    if params.get("momentum", 0.0) > 0:
        return ScalarSGD(scalars, params.get("nesterov", False))
    return keras.optimizers.SGD()


# adamw is adam: the decay of weights is the same for all of them (weights.py).
OPTIMIZERS: dict[str, Callable[[KerasParams, Scalars], keras.optimizers.Optimizer]] = {
    "sgd": _keras_sgd,
    "adam": lambda params, scalars: keras.optimizers.Adam(),
    "adamw": lambda params, scalars: keras.optimizers.Adam(),
    "nadam": lambda params, scalars: keras.optimizers.Nadam(),
    "rmsprop": lambda params, scalars: keras.optimizers.RMSprop(),
    "adagrad": lambda params, scalars: keras.optimizers.Adagrad(),
}


def build_optimizer(params: KerasParams, scalars: Scalars) -> keras.optimizers.Optimizer:
    """The optimizer's structure. Its learning rate comes with each step."""
    return OPTIMIZERS[params["optimizer"]](params, scalars)


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


COEFFICIENTS = 10


def coefficients(params: Mapping[str, Any], rates: np.ndarray, done: int) -> np.ndarray:
    """(steps, 10) float32 for steps with learning rates `rates` (steps,), `done` steps having been
    taken before: a to j of the optimizer that `params` ask for."""
    form, momentum = form_of(params), float(params.get("momentum", 0.0))
    known = factors(form, done, len(rates)).astype(np.float64)
    columns: dict[str, Any] = {"j": 1.0, "f": rates}
    if form in ("momentum", "nesterov"):
        nesterov = form == "nesterov"
        # The slot is Keras' velocity, which points downhill.
        columns = {"a": momentum, "b": -rates, "j": 1.0}
        columns |= {"e": -momentum, "f": rates} if nesterov else {"e": -1.0}
    elif form in ("adam", "adamw", "nadam"):
        columns = {"a": BETA_1, "b": 1 - BETA_1, "c": BETA_2, "d": 1 - BETA_2, "j": EPSILON}
        if form == "nadam":
            columns |= {"e": rates * known[:, 0], "f": rates * known[:, 1]}
            columns["h"] = np.sqrt(known[:, 2])
        else:
            columns |= {"e": rates * np.sqrt(1 - known[:, 1]) / (1 - known[:, 0]), "h": 1.0}
    elif form in ("rmsprop", "adagrad"):
        sums = form == "adagrad"
        columns = {"c": 1.0 if sums else RHO, "d": 1.0 if sums else 1 - RHO, "f": rates}
        columns |= {"h": 1.0, "i": EPSILON}
    table = np.zeros((len(rates), COEFFICIENTS))
    for letter, column in columns.items():
        table[:, ord(letter) - ord("a")] = column
    return table.astype(np.float32)


def updated(
    weight: tf.Tensor, gradient: tf.Tensor, slots: dict[str, tf.Tensor], row: list[tf.Tensor]
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The weight and its slots after a step; `row`: the coefficients, broadcast against it. Without
    the slot `square` no optimizer of the program adapts its steps, and h is 0."""
    a, b, c, d, e, f, h, i, j = (row[at] for at in (0, 1, 2, 3, 4, 5, 7, 8, 9))
    after = {}
    step = f * gradient
    if "mean" in slots:
        after["mean"] = a * slots["mean"] + b * gradient
        step += e * after["mean"]
    if "square" not in slots:
        return weight - step / j, after
    after["square"] = c * slots["square"] + d * tf.square(gradient)
    return weight - step / (h * tf.sqrt(after["square"] + i) + j), after
