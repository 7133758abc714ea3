"""Learning rates over the steps of a trial, as plain NumPy.

A program is given each step's rate, so no schedule is compiled into it. A schedule is a pure
function of the params and of the objective's values so far: a trial that continues from a
checkpoint has the rates that it would have had.

To add one: its name and numbers in search_space/parameters.py, its function in SCHEDULES here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tuner.search_space.parameter_types import Params, read_number, read_whole, read_word
from tuner.study.messages import Direction, rank

Floats = npt.NDArray[np.float64]

# One cycle's first and last rates, as shares of its largest.
_CYCLE_START = 1 / 25
_CYCLE_END = 1e-4 / 25


@dataclass(frozen=True)
class EpochSteps:
    """The steps of one epoch, as a schedule sees them.

    `steps` (n,): their numbers, counted from the end of the warm-up (0 within it). `total`: all
    steps of the trial after the warm-up. `values`: the objective after each earlier epoch.
    """

    params: Params
    steps: Floats
    steps_an_epoch: int
    total: float
    values: Sequence[float]
    direction: Direction


# Shares of `learning_rate`, float64, one a step.
Schedule = Callable[[EpochSteps], Floats]


def learning_rates(
    params: Params,
    epoch: int,
    steps: int,
    values: Sequence[float] = (),
    direction: Direction = "minimize",
) -> npt.NDArray[np.float32]:
    """The rate of each of the `steps` steps of `epoch` (from 1), float32 (steps,).

    `values`: the objective after each epoch before this one.
    """
    numbers = np.arange(steps) + (epoch - 1) * steps
    warmup = read_number(params, "warmup_epochs", 0.0) * steps
    schedule = SCHEDULES[read_word(params, "schedule", "constant")]
    shares = schedule(
        EpochSteps(
            params=params,
            steps=np.maximum(numbers - warmup, 0),
            steps_an_epoch=steps,
            total=read_whole(params, "epochs") * steps - warmup,
            values=values,
            direction=direction,
        )
    )
    if warmup > 0:
        # Goyal et al. (2017): large batches need it.
        shares = np.where(numbers < warmup, np.minimum((numbers + 1) / warmup, 1.0), shares)
    return (read_number(params, "learning_rate") * shares).astype(np.float32)


def _constant(epoch: EpochSteps) -> Floats:
    return np.ones(len(epoch.steps))


def _plateau(epoch: EpochSteps) -> Floats:
    share = plateau_share(epoch.params, epoch.values, epoch.direction)
    return np.full(len(epoch.steps), share)


def plateau_share(params: Params, values: Sequence[float], direction: Direction) -> float:
    """By how much Keras' ReduceLROnPlateau would have multiplied the rate after these values."""
    share, best, epochs_without_gain = 1.0, np.inf, 0
    for value in values:
        if rank(value, direction) < best - read_number(params, "plateau_min_delta"):
            best, epochs_without_gain = rank(value, direction), 0
            continue
        epochs_without_gain += 1
        if epochs_without_gain >= read_whole(params, "plateau_patience"):
            share, epochs_without_gain = share * read_number(params, "plateau_factor"), 0
    return share


def _cosine(epoch: EpochSteps) -> Floats:
    """Loshchilov and Hutter (2017), without restarts."""
    floor = read_number(epoch.params, "cosine_floor")
    return np.asarray(floor + (1 - floor) * _half_wave(epoch.steps / max(epoch.total, 1)))


def _exponential(epoch: EpochSteps) -> Floats:
    """Smoothly, a factor `decay` an epoch."""
    return np.asarray(read_number(epoch.params, "decay") ** (epoch.steps / epoch.steps_an_epoch))


def _one_cycle(epoch: EpochSteps) -> Floats:
    """Smith and Topin (2018): up, then down to almost nothing, each half a cosine wave. A warm-up
    takes the place of the rise."""
    params, steps = epoch.params, epoch.steps
    top = (
        0.0
        if read_number(params, "warmup_epochs", 0.0) > 0
        else read_number(params, "cycle_rise") * epoch.total
    )
    rise = _CYCLE_START + (1 - _CYCLE_START) * (1 - _half_wave(steps / max(top, 1)))
    fall_share = (steps - top) / max(epoch.total - top, 1)
    fall = _CYCLE_END + (1 - _CYCLE_END) * _half_wave(fall_share)
    return np.where(steps < top, rise, fall)


def _half_wave(share: Floats) -> Floats:
    """From 1 at 0 to 0 at 1, flat at both ends."""
    return np.asarray(0.5 * (1 + np.cos(np.pi * np.clip(share, 0.0, 1.0))))


SCHEDULES: dict[str, Schedule] = {
    "constant": _constant,
    "plateau": _plateau,
    "cosine": _cosine,
    "exponential": _exponential,
    "one_cycle": _one_cycle,
}
