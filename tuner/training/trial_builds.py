"""What the process that tries a user's own network is asked, and what it answers. Plain data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.data import Dataset


@dataclass(frozen=True)
class TrialBuilds:
    """What is to be tried.

    `code`: the network as `CustomNetwork` takes it. `dataset`: a few rows of each split, of a study
    that trains on `train_rows`. `described`: what a network is given, for a person.
    `configurations`: parameters of trials, tried in this order. `more`: further ones, built only
    where a parameter was not read yet. `varying`: the parameters that a message names a
    configuration by. `own`: the space's parameters that the training does not know. `until`: of
    `time.monotonic()`, which all processes share: no further configuration is begun after it.
    `folder`: for the saved network.
    """

    code: tuple[Any, ...]
    dataset: Dataset
    train_rows: int
    described: str
    configurations: list[dict[str, Any]]
    more: list[dict[str, Any]]
    varying: list[str]
    own: list[str]
    until: float
    folder: Path


@dataclass(frozen=True)
class Step:
    """What is being done now."""

    text: str


@dataclass(frozen=True)
class Refused:
    """Why the network does not fit, in one line."""

    text: str


@dataclass(frozen=True)
class Tried:
    """All is well. `tried`: so many of the configurations. `warnings`: a line each."""

    tried: int
    warnings: tuple[str, ...] = ()


Answer = Step | Refused | Tried
