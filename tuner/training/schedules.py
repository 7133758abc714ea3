"""Learning rates over the steps of a trial, as plain NumPy.

A program is given each step's rate, so no schedule is compiled into it. Every function is a pure
one of the params and, for `plateau`, of the objective's values so far: a trial that goes on from a
checkpoint has the rates that it would have had.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Params = dict[str, Any]
Rates = npt.NDArray[np.float64]

# One cycle's first and last rates, as shares of its largest.
_CYCLE_START = 1 / 25
_CYCLE_END = 1e-4 / 25


def learning_rates(
    params: Params,
    epoch: int,
    steps: int,
    values: Sequence[float] = (),
    direction: Literal["maximize", "minimize"] = "minimize",
) -> npt.NDArray[np.float32]:
    """The rate of each of the `steps` steps of `epoch` (from 1), float32 (steps,).

    `values`: the objective after each epoch before this one.
    """
    at = np.arange(steps) + (epoch - 1) * steps
    warmup = params.get("warmup_epochs", 0.0) * steps
    total = int(params["epochs"]) * steps
    schedule = params.get("schedule", "constant")
    if schedule == "plateau":
        shares = np.full(steps, plateau_share(params, values, direction))
    else:
        shares = _SHARES[schedule](params, np.maximum(at - warmup, 0), total - warmup, steps)
    if warmup > 0:
        # Goyal et al. (2017): large batches need it.
        shares = np.where(at < warmup, np.minimum((at + 1) / warmup, 1.0), shares)
    return (params["learning_rate"] * shares).astype(np.float32)


def plateau_share(
    params: Params, values: Sequence[float], direction: Literal["maximize", "minimize"]
) -> float:
    """What Keras' ReduceLROnPlateau would have made of the rate after these values."""
    sign = 1.0 if direction == "maximize" else -1.0
    share, best, waited = 1.0, -np.inf, 0
    for value in values:
        if sign * value > best + params["plateau_min_delta"]:
            best, waited = sign * value, 0
            continue
        waited += 1
        if waited >= params["plateau_patience"]:
            share, waited = share * params["plateau_factor"], 0
    return share


def _constant(params: Params, at: Rates, total: float, steps: int) -> Rates:
    return np.ones(len(at))


def _cosine(params: Params, at: Rates, total: float, steps: int) -> Rates:
    """Loshchilov and Hutter (2017), without restarts."""
    floor = params["cosine_floor"]
    return floor + (1 - floor) * _half_wave(at / max(total, 1))


def _exponential(params: Params, at: Rates, total: float, steps: int) -> Rates:
    """Smoothly, a factor `decay` an epoch."""
    return np.asarray(params["decay"] ** (at / steps))


def _one_cycle(params: Params, at: Rates, total: float, steps: int) -> Rates:
    """Smith and Topin (2018): up, then down to almost nothing, each half a cosine wave. A warm-up
    takes the place of the rise."""
    top = 0.0 if params.get("warmup_epochs", 0.0) > 0 else params["cycle_rise"] * total
    rise = _CYCLE_START + (1 - _CYCLE_START) * (1 - _half_wave(at / max(top, 1)))
    fall = _CYCLE_END + (1 - _CYCLE_END) * _half_wave((at - top) / max(total - top, 1))
    return np.where(at < top, rise, fall)


def _half_wave(done: Rates) -> Rates:
    """From 1 at 0 to 0 at 1, flat at both ends."""
    return np.asarray(0.5 * (1 + np.cos(np.pi * np.clip(done, 0.0, 1.0))))


_SHARES: dict[str, Callable[[Params, Rates, float, int], Rates]] = {
    "constant": _constant,
    "cosine": _cosine,
    "exponential": _exponential,
    "one_cycle": _one_cycle,
}
