"""Trials that were run elsewhere, as whoever reads them hands them on: plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuner.study.messages import Direction, Distribution
from tuner.values import Scalar

# What a trial's objective is called where the source does not name it.
UNNAMED = "value"


@dataclass(frozen=True)
class PastTrial:
    """A trial that has ended with a result. `key`: what the source calls it; no other of its trials
    is called so. `values`: its result by metric. `curve`: metrics by whole epoch, from 1; it may
    lack epochs. `pruned`: it was ended early, and its value is that of its last epoch. Times are
    seconds since 1970."""

    key: str
    params: Mapping[str, Scalar | list[Scalar]]
    values: Mapping[str, float]
    curve: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    pruned: bool = False
    started_at: float | None = None
    ended_at: float | None = None
    distributions: Mapping[str, Distribution] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """What a source holds. `name`: the source in words, the same each time. `objective`: the metric
    that its trials were run for, UNNAMED where it does not say. `direction`: None if unknown.
    `left_out`: how many of its trials have no result, by the reason."""

    name: str
    trials: tuple[PastTrial, ...]
    objective: str = UNNAMED
    direction: Direction | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
