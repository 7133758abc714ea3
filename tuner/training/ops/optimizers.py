"""Optimizers: one object each, with its Keras form and the two forms of the shared programs.

- `keras` makes Keras' optimizer, for programs of the Keras engine.
- `SharedUpdate.fused` changes a weight in a graph, in one pass over the weight and its slots.
- `SharedUpdate.coefficients` are what it puts into the lanes' formula (`Coefficients`), so that
  trials side by side in one XLA program may each have another optimizer.

All three take the same steps (tested against each other and against Keras). To add an optimizer:
its name in search_space/parameters.py, its entry here. Without `shared` it trains in the Keras
engine.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tuner.training.ops.scalars import Numbers

Params = Mapping[str, Any]
Column = float | npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

# Keras' defaults.
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7
_RHO = 0.9
_ADAGRAD_START = 0.1
_NADAM_DECAY = 0.96

# Numbers besides the learning rate that an update may need anew in each step.
FACTORS = 3


class StepNumbers(NamedTuple):
    """What a fused update reads in one step, scalar tensors; `factors`: (FACTORS,)."""

    rate: tf.Tensor
    momentum: tf.Tensor
    factors: tf.Tensor


class Coefficients(NamedTuple):
    """The numbers of one step of any optimizer, in the formula that lanes share:

    m' = mean_keep m + mean_add g
    v' = square_keep v + square_add g²
    w' = w - (by_mean m' + by_gradient g) / (root_scale sqrt(v' + root_offset) + divisor)
    """

    mean_keep: Any = 0.0
    mean_add: Any = 0.0
    square_keep: Any = 0.0
    square_add: Any = 0.0
    by_mean: Any = 0.0
    by_gradient: Any = 0.0
    root_scale: Any = 0.0
    root_offset: Any = 0.0
    divisor: Any = 1.0


def _no_factors(done: int, steps: int) -> npt.NDArray[np.float64]:
    return np.zeros((steps, FACTORS))


@dataclass(frozen=True)
class SharedUpdate:
    """How the shared programs change a weight. `slots`: the arrays kept beside each weight, and
    what they start with. `fused(weight, gradient, slots, numbers)` assigns weight and slots.
    `factors(done, steps)`: numbers of each of `steps` steps, `done` having been taken before,
    (steps, FACTORS). `coefficients(rates, momentum, factors)`: columns (steps,) or numbers."""

    fused: Callable[[Any, tf.Tensor, Mapping[str, Any], StepNumbers], None]
    coefficients: Callable[[Column, float, npt.NDArray[np.float64]], Coefficients]
    slots: Mapping[str, float] = field(default_factory=dict)
    factors: Callable[[int, int], npt.NDArray[np.float64]] = _no_factors


@dataclass(frozen=True)
class Optimizer:
    """`keras(numbers)` makes Keras' optimizer; its learning rate comes with each step.
    `shared`: see SharedUpdate; None: every trial trains in the Keras engine."""

    keras: Callable[[Numbers], Any]
    shared: SharedUpdate | None = None


class NumberedSGD(keras.optimizers.SGD):
    """SGD with momentum in a variable. Keras' own has the number as a constant in the program, so
    that two trials which differ in momentum alone would compile twice."""

    def __init__(self, numbers: Numbers, nesterov: bool) -> None:
        super().__init__(momentum=0.5, nesterov=nesterov)
        # In a tuple: Keras would track a mapping's values.
        self._held = (numbers,)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        velocity = self.momentums[self._get_variable_index(variable)]
        momentum, step = self._held[0]["momentum"], gradient * learning_rate
        self.assign(velocity, velocity * momentum - step)
        self.assign_add(variable, velocity * momentum - step if self.nesterov else velocity)


def _fused_sgd(weight: Any, gradient: Any, _: Any, numbers: StepNumbers) -> None:
    tf.raw_ops.ResourceApplyGradientDescent(var=weight.handle, alpha=numbers.rate, delta=gradient)


def _sgd_coefficients(rates: Column, _momentum: float, _factors: Any) -> Coefficients:
    return Coefficients(by_gradient=rates)


def _momentum(nesterov: bool) -> SharedUpdate:
    def fused(weight: Any, gradient: Any, slots: Any, numbers: StepNumbers) -> None:
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=weight.handle, accum=slots["mean"].handle, lr=numbers.rate, grad=gradient,
            momentum=numbers.momentum, use_nesterov=nesterov,
        )  # fmt: skip

    def coefficients(rates: Column, momentum: float, _: Any) -> Coefficients:
        # The slot is Keras' velocity, which points downhill.
        velocity = Coefficients(mean_keep=momentum, mean_add=-rates)
        if nesterov:
            return velocity._replace(by_mean=-momentum, by_gradient=rates)
        return velocity._replace(by_mean=-1.0)

    return SharedUpdate(fused, coefficients, slots={"mean": 0.0})


def _fused_adam(weight: Any, gradient: Any, slots: Any, numbers: StepNumbers) -> None:
    tf.raw_ops.ResourceApplyAdam(
        var=weight.handle, m=slots["mean"].handle, v=slots["square"].handle, grad=gradient,
        lr=numbers.rate, beta1_power=numbers.factors[0], beta2_power=numbers.factors[1],
        beta1=_BETA_1, beta2=_BETA_2, epsilon=_EPSILON,
    )  # fmt: skip


def _adam_factors(done: int, steps: int) -> npt.NDArray[np.float64]:
    at = np.arange(done + 1, done + steps + 1, dtype=np.float64)
    return np.stack([_BETA_1**at, _BETA_2**at, np.zeros(steps)], axis=1)


_ADAM_MOMENTS = Coefficients(
    mean_keep=_BETA_1, mean_add=1 - _BETA_1, square_keep=_BETA_2, square_add=1 - _BETA_2,
    divisor=_EPSILON,
)  # fmt: skip


def _adam_coefficients(rates: Column, _: float, factors: Any) -> Coefficients:
    corrected = rates * np.sqrt(1 - factors[:, 1]) / (1 - factors[:, 0])
    return _ADAM_MOMENTS._replace(by_mean=corrected, root_scale=1.0)


def _fused_nadam(weight: Any, gradient: Any, slots: Any, numbers: StepNumbers) -> None:
    mean, square = slots["mean"].value(), slots["square"].value()
    mean = mean + (gradient - mean) * (1.0 - _BETA_1)
    square = square + (tf.square(gradient) - square) * (1.0 - _BETA_2)
    slots["mean"].assign(mean)
    slots["square"].assign(square)
    ahead = mean * numbers.factors[0] + gradient * numbers.factors[1]
    root = tf.sqrt(square * numbers.factors[2])
    weight.assign_sub(ahead * numbers.rate / (root + _EPSILON))


def _nadam_factors(done: int, steps: int) -> npt.NDArray[np.float64]:
    """Dozat (2016): weights of the mean gradient, of the gradient, and of the squares' mean."""
    at = np.arange(done + 1, done + steps + 1, dtype=np.float64)
    every = np.arange(1, done + steps + 2, dtype=np.float64)
    momentums = _BETA_1 * (1.0 - 0.5 * _NADAM_DECAY**every)
    products = np.cumprod(momentums)
    now, after = momentums[done:-1], momentums[done + 1 :]
    of_mean = after / (1.0 - products[done + 1 :])
    of_gradient = (1.0 - now) / (1.0 - products[done:-1])
    return np.stack([of_mean, of_gradient, 1.0 / (1.0 - _BETA_2**at)], axis=1)


def _nadam_coefficients(rates: Column, _: float, factors: Any) -> Coefficients:
    return _ADAM_MOMENTS._replace(
        by_mean=rates * factors[:, 0],
        by_gradient=rates * factors[:, 1],
        root_scale=np.sqrt(factors[:, 2]),
    )


def _squares(keep: float, add: float, start: float) -> SharedUpdate:
    """Steps divided by the root of the squared gradients' sum or moving average."""

    def fused(weight: Any, gradient: Any, slots: Any, numbers: StepNumbers) -> None:
        square = _scaled(slots["square"].value(), keep) + _scaled(tf.square(gradient), add)
        slots["square"].assign(square)
        weight.assign_sub(gradient * numbers.rate * tf.math.rsqrt(square + _EPSILON))

    def coefficients(rates: Column, _momentum: float, _factors: Any) -> Coefficients:
        return Coefficients(
            square_keep=keep, square_add=add, by_gradient=rates,
            root_scale=1.0, root_offset=_EPSILON, divisor=0.0,
        )  # fmt: skip

    return SharedUpdate(fused, coefficients, slots={"square": start})


def _scaled(x: tf.Tensor, factor: float) -> tf.Tensor:
    return x if factor == 1.0 else x * factor


_MOMENTS = {"mean": 0.0, "square": 0.0}
_ADAM = Optimizer(
    lambda numbers: keras.optimizers.Adam(),
    SharedUpdate(_fused_adam, _adam_coefficients, _MOMENTS, _adam_factors),
)

# By name, and `momentum` and `nesterov`: what sgd is where a trial has momentum.
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(
        lambda numbers: keras.optimizers.SGD(), SharedUpdate(_fused_sgd, _sgd_coefficients)
    ),
    "momentum": Optimizer(
        lambda numbers: NumberedSGD(numbers, nesterov=False), _momentum(nesterov=False)
    ),
    "nesterov": Optimizer(
        lambda numbers: NumberedSGD(numbers, nesterov=True), _momentum(nesterov=True)
    ),
    # Kingma and Ba (2015). adamw is the same: any optimizer may decay weights (regularizers.py).
    "adam": _ADAM,
    "adamw": _ADAM,
    "nadam": Optimizer(
        lambda numbers: keras.optimizers.Nadam(),
        SharedUpdate(_fused_nadam, _nadam_coefficients, _MOMENTS, _nadam_factors),
    ),
    "rmsprop": Optimizer(
        lambda numbers: keras.optimizers.RMSprop(), _squares(_RHO, 1.0 - _RHO, start=0.0)
    ),
    # Duchi et al. (2011)
    "adagrad": Optimizer(
        lambda numbers: keras.optimizers.Adagrad(), _squares(1.0, 1.0, start=_ADAGRAD_START)
    ),
}


def optimizer_variant(params: Params) -> str:
    """The entry of OPTIMIZERS that a trial's `params` ask for."""
    if params["optimizer"] == "sgd" and params.get("momentum", 0.0) > 0:
        return "nesterov" if params.get("nesterov") else "momentum"
    return str(params["optimizer"])


def optimizer_variants(names: Iterable[str], momentum: bool) -> tuple[str, ...]:
    """The entries that trials may need whose optimizer is one of `names`; `momentum`: whether
    those of sgd may have it."""
    variants: list[str] = []
    for name in names:
        variants += [name, "momentum", "nesterov"] if name == "sgd" and momentum else [name]
    return tuple(variants)


def shared_update(variant: str) -> SharedUpdate:
    """For a program key that has only optimizers with a shared form."""
    update = OPTIMIZERS[variant].shared
    assert update is not None, f"{variant} trains in the Keras engine alone"
    return update


def build_optimizer(params: Params, numbers: Numbers) -> Any:
    """Keras' optimizer. Its learning rate comes with each step."""
    return OPTIMIZERS[optimizer_variant(params)].keras(numbers)


def graph_schedule(params: Params, rates: npt.NDArray[Any], done: int) -> Float32:
    """What a graph reads in each step: learning rate and factors, (steps, 1 + FACTORS). `done`:
    steps taken before."""
    factors = shared_update(optimizer_variant(params)).factors(done, len(rates))
    return np.column_stack([rates.astype(np.float32), factors.astype(np.float32)])


def lane_schedule(params: Params, rates: npt.NDArray[Any], done: int) -> Float32:
    """What a lane reads in each step: the coefficients, (steps, 9)."""
    update = shared_update(optimizer_variant(params))
    factors = update.factors(done, len(rates)).astype(np.float32).astype(np.float64)
    columns = update.coefficients(rates, float(params.get("momentum", 0.0)), factors)
    table = np.empty((len(rates), len(columns)), np.float32)
    for number, column in enumerate(columns):
        table[:, number] = column
    return table


def lane_update(
    weight: tf.Tensor, gradient: tf.Tensor, slots: Mapping[str, tf.Tensor], numbers: Coefficients
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The weight and its slots after a step; `numbers` broadcast against them. Without the slot
    `square` no optimizer of the program divides by a root."""
    after = {}
    step = numbers.by_gradient * gradient
    if "mean" in slots:
        after["mean"] = numbers.mean_keep * slots["mean"] + numbers.mean_add * gradient
        step += numbers.by_mean * after["mean"]
    if "square" not in slots:
        return weight - step / numbers.divisor, after
    squares = numbers.square_keep * slots["square"] + numbers.square_add * tf.square(gradient)
    after["square"] = squares
    root = numbers.root_scale * tf.sqrt(squares + numbers.root_offset)
    return weight - step / (root + numbers.divisor), after
