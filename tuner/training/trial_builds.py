"""Messages to and from the process that tries a user's own network. Plain data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.data import Dataset
from tuner.search_space.function_kinds import FunctionKind
from tuner.search_space.parameter_types import Params
from tuner.study.messages import Goal


@dataclass(frozen=True)
class TrialBuilds:
    """What to try.

    `code`: the network as `CustomNetwork` takes it. `dataset`: a few rows of each split, of a study
    that trains on `train_rows`. `described`: the network's inputs in words.
    `configurations`: parameters of trials, tried in this order. `more`: further ones, built only
    while a parameter has not been read yet. `varying`: the parameters by which a message names a
    configuration. `own`: the space's parameters that the training does not know; `declared`: all of
    them. `goal`: the study's objective. `until`: a time of `time.monotonic()`, which all processes
    share; no configuration begins after it. `folder`: for the saved network. `function_kind`: what
    the code's function is.
    """

    code: tuple[Any, ...]
    dataset: Dataset
    train_rows: int
    described: str
    configurations: list[Params]
    more: list[Params]
    varying: list[str]
    own: list[str]
    declared: list[str]
    goal: Goal
    until: float
    folder: Path
    function_kind: FunctionKind = FunctionKind.BUILD


@dataclass(frozen=True)
class Step:
    """The current step, in words."""

    text: str


@dataclass(frozen=True)
class Refused:
    """Why the network does not fit, in one line."""

    text: str


@dataclass(frozen=True)
class Tried:
    """The network fits. `tried`: how many configurations were tried. `warnings`: a line each.
    `compiles`: all of them gave compiled models, which Keras' fit trains."""

    tried: int
    warnings: tuple[str, ...] = ()
    compiles: bool = False


Answer = Step | Refused | Tried
