"""All optimizers as one formula, its coefficients an input: trials side by side in one XLA program
may each have another.

    m' = a m + b g        v' = c v + d g²        w' = w - (e m' + f g) / (h sqrt(v' + i) + j)
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tuner.training.shared.updates import BETA_1, BETA_2, EPSILON, RHO, factors, form_of

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
