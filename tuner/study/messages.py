"""What a loop and its workers say to each other.

The loop submits a plan; the worker answers each Interval and the Ended it sends with waiting for
a Reply, so a pruned trial never trains past its verdict. All of it is plain picklable data.

What a trial says while it trains. Plain data: it crosses processes and machines.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tuner.study.artifacts import Artifact, Artifacts

End = Literal["complete", "early_stopped", "target", "diverged"]
Engine = Literal["auto", "exact"]
Failure = Literal["user_error", "out_of_memory", "error"]


@dataclass(frozen=True)
class Report:
    """One report interval has ended.

    `step` counts intervals as the pruner sees them; `epoch` is the epoch it belongs to, from 1;
    `whole` says whether that epoch is over. `metrics` holds train values (running means over the
    epoch so far, as Keras shows them) and `val_` values, in the units of the data. `seconds`:
    what the trial has spent so far, by kind of work. `engine`: the kind of program that trains it.
    """

    step: int
    epoch: int
    whole: bool
    metrics: dict[str, float]
    seconds: dict[str, float] = field(default_factory=dict)
    engine: str = ""


@dataclass(frozen=True)
class Resumed:
    """Training goes on behind `epoch` whole epochs of an earlier attempt."""

    epoch: int


@dataclass(frozen=True)
class Ended:
    """Training is over. `score` is the best epoch's objective value, None where there is none."""

    end: End
    score: float | None
    best_epoch: int | None
    epochs: int
    parameter_count: int
    seconds: dict[str, float] = field(default_factory=dict)
    engine: str = ""


@dataclass(frozen=True)
class Goal:
    """What early stopping and the score look at; training ends once `target` is reached."""

    metric: str
    direction: Literal["maximize", "minimize"]
    target: float | None = None

    def better(self, value: float, than: float | None) -> bool:
        if than is None:
            return True
        return value > than if self.direction == "maximize" else value < than

    def reached(self, value: float | None) -> bool:
        """Whether `value` meets the target, if there is one."""
        if self.target is None or value is None:
            return False
        return not self.better(self.target, than=value)


@dataclass(frozen=True)
class Checkpoints:
    """Where a trial keeps what its next attempt needs. `artifacts`: the trial's own part of the
    store. `attempt`: from 1. `known_epochs`: whole epochs of earlier attempts whose reports are
    kept elsewhere: a checkpoint beyond them is not used. `every_s`: seconds from one to the next at
    least."""

    artifacts: Artifacts
    attempt: int
    known_epochs: int = 0
    every_s: float = 10.0


@dataclass(frozen=True)
class TrialRequest:
    """All that defines one trial's training besides the data: equal plans give equal weights.
    `checkpoints` have no say in that.

    `held_out`: what the split that is not trained on is to the trial. "val": it is read after each
    interval, and the best epoch is kept. "test": it is read once, after the last epoch, and nothing
    is selected: that epoch's value is the score.

    `choices`: what the study's other trials may have, by parameter: all values of a categorical
    one, the ends of a range. A program that is shared leaves room for them; what is not in it has
    the value of `params` in all trials. `engine`: "exact" forces a program of the trial's own
    structure.
    """

    network: str
    params: dict[str, Any]
    seed: int
    goal: Goal
    intervals: int = 1
    held_out: Literal["val", "test"] = "val"
    choices: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    engine: Engine = "auto"
    checkpoints: Checkpoints | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Failed:
    """The training raised; `detail` is the traceback."""

    kind: Failure
    message: str
    detail: str


class NetworkCode(NamedTuple):
    """A user's own network as a study keeps it: see `networks.custom.CustomNetwork`."""

    path: str
    function: str
    text: str
    modules: tuple[tuple[str, str], ...] | None = None
    file: str = ""


@dataclass(frozen=True)
class WorkerSetup:
    """What a training session opens with. `data`: a folder of prepared arrays. `budget_bytes`:
    the memory they may take before they are streamed. `code`: the user's own network. `artifacts`:
    where networks are saved. `gpu`: the index of the one to use; None trains on one CPU thread.
    `memory_bytes`: the resident memory past which the worker ends itself, with all it trains.
    `lanes`: how many trials the process trains at once. `threads`: of the CPU, beside a GPU."""

    data: Path
    budget_bytes: float = math.inf
    code: NetworkCode | None = None
    artifacts: Artifacts | None = None
    gpu: int | None = None
    memory_bytes: float | None = None
    lanes: int = 1
    threads: int = 1


# A worker's exit code when it ends itself for holding more memory than it may.
OUT_OF_MEMORY = 117


@dataclass(frozen=True)
class Reply:
    """The loop's answer to an event: go on or stop. `save_to`: after Ended, the name under which to
    save the network. `checkpoint`: with a stop after an epoch, whether to write one first."""

    stop: bool = False
    save_to: str | None = None
    checkpoint: bool = False


@dataclass(frozen=True)
class Saved:
    """The trial's best network is stored."""

    artifact: Artifact


@dataclass(frozen=True)
class Checkpointed:
    """The trial has stopped, and its checkpoint is written, where that was possible."""


@dataclass(frozen=True)
class Opened:
    """A worker's first word: its session is open, or the problem it has with that."""

    problem: str | None = None


@dataclass(frozen=True)
class Lost:
    """The worker process is gone; another takes its number. `beside`: how many other trials it was
    training: any of them may be the cause. `restarted`: the loop itself ended the process, for
    another of its trials. `last_words`: what its log got last while it trained; where workers share
    a log it may be another one's."""

    exit_code: int | None
    beside: int = 0
    restarted: bool = False
    last_words: str = field(default="", compare=False)

    @property
    def out_of_memory(self) -> bool:
        return self.exit_code == OUT_OF_MEMORY

    @property
    def how(self) -> str:
        if self.restarted:
            return "its worker process was ended for another trial that it was training"
        if self.out_of_memory:
            what = "held more memory than a trial may take (--trial-memory)"
        else:
            what = f"ended with exit code {self.exit_code}"
        also = f" while it trained {self.beside + 1} trials" if self.beside else ""
        tells = self.last_words and not self.out_of_memory
        log = f"; the workers' log ends: {self.last_words}" if tells else ""
        return f"its worker {what}{also}{log}"


Message = Resumed | Report | Ended | Saved | Checkpointed | Failed | Lost
