"""What a loop and its workers say to each other: plain data that crosses processes and machines.

The loop submits a TrialRequest. After each event the worker waits for a Reply: so a pruned trial
never trains on.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tuner.search_space.function_kinds import FunctionKind
from tuner.search_space.parameter_types import Params, read_whole
from tuner.study.artifacts import Artifact, Artifacts
from tuner.study.ends import TrialEnd
from tuner.study.engines import Engine
from tuner.system.logs import LogFormat
from tuner.values import Scalar

Direction = Literal["maximize", "minimize"]
HeldOut = Literal["val", "test"]

# A worker process keeps this many programs of each kind, the latest. The loop counts with it too.
KEPT_PROGRAMS = 8


class WorkerPlace(NamedTuple):
    """Where a worker trains: the machine's name, and the node's id in its cluster. As text with as
    much of the id as tells nodes apart: vm/6c414144. Several nodes may run on one machine."""

    host: str
    node: str

    def __str__(self) -> str:
        return f"{self.host}/{self.node[:8]}" if self.node else self.host


@dataclass(frozen=True)
class Report:
    """What a worker sends at each pruning opportunity.

    `step` counts reports as the pruner does. `epoch` is the one that it belongs to, from 1; `whole`
    says whether that epoch is over. `metrics` holds train values (running means over the epoch so
    far, as Keras shows them) and `val_` values, in the units of the data. `seconds`: what the trial
    has spent so far, by kind of work. `engine`: what trains it (study/engines.py). `advisory`: the
    trial's own code decides whether it goes on: the pruner's decision is only told to it.
    `own_step`: what that code calls the step, where it counts from 0; then Optuna is told that
    step, and the value as it is.
    """

    step: int
    epoch: int
    whole: bool
    metrics: dict[str, float]
    seconds: dict[str, float] = field(default_factory=dict)
    engine: str = ""
    advisory: bool = False
    own_step: int | None = None


@dataclass(frozen=True)
class Distribution:
    """The values that a trial which defines its own space may be given for a parameter.

    A number from `low` to `high`, both included, of the form low + k * `step`, drawn on a
    logarithmic scale where `log`; or one of `choices`. The loop makes Optuna's distribution of it.
    """

    kind: Literal["float", "int", "categorical"]
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    choices: tuple[Scalar | None, ...] = ()


@dataclass(frozen=True)
class Suggest:
    """A trial that defines its own space asks for the value of a parameter: `Reply.value`. The same
    name has the same value throughout a trial, in its later attempts too."""

    name: str
    distribution: Distribution


# User attributes of trials that tuner itself writes.
OWN_ATTRIBUTES = ("end", "best_epoch", "parameter_count", "retry_of")


@dataclass(frozen=True)
class Noted:
    """What a trial's own code says of itself, to be kept with the trial: values that JSON can
    hold, by name. `constraints`: a number above 0 says that the trial is not feasible."""

    attributes: dict[str, Any] = field(default_factory=dict)
    constraints: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Resumed:
    """Training goes on after `epoch` whole epochs of an earlier attempt."""

    epoch: int


@dataclass(frozen=True)
class Ended:
    """Training is over. `end`: a TrialEnd, or its word. `score` is the best epoch's objective
    value, None where there is none. `best_epoch` counts from 1; `epochs`: those begun. `values`:
    of all objectives, the score first, where a study has several. `network`: the suffix of the
    network that can be saved, "" where there is none. A trial's own code may also end it as
    PRUNED."""

    end: TrialEnd
    score: float | None
    best_epoch: int | None
    epochs: int
    parameter_count: int
    seconds: dict[str, float] = field(default_factory=dict)
    engine: str = ""
    values: tuple[float, ...] = ()
    network: str = ".keras"

    def __post_init__(self) -> None:
        object.__setattr__(self, "end", TrialEnd(self.end))


def rank(value: float, direction: Direction) -> float:
    """A number to sort scores by: the better the score, the smaller it is."""
    return -value if direction == "maximize" else value


@dataclass(frozen=True)
class Goal:
    """What early stopping and the score look at. Training ends once `target` is reached."""

    metric: str
    direction: Direction
    target: float | None = None

    def better(self, value: float, than: float | None) -> bool:
        return than is None or rank(value, self.direction) < rank(than, self.direction)

    def reached(self, value: float | None) -> bool:
        """Whether `value` meets the target, if there is one."""
        if self.target is None or value is None:
            return False
        return not self.better(self.target, than=value)


@dataclass(frozen=True)
class Checkpoints:
    """Where a trial keeps what its next attempt needs. `artifacts`: the trial's own part of the
    store. `attempt`: from 1. `known_epochs`: whole epochs of earlier attempts whose reports are in
    SQL; a checkpoint of a later epoch is not used. `every_s`: at least this many seconds from one
    to the next. `parent`: where the trial's parent has left its last one, if it has a parent."""

    artifacts: Artifacts
    attempt: int
    known_epochs: int = 0
    every_s: float = 10.0
    parent: "Checkpoints | None" = None

    def pause_after(self, writing_s: float) -> float:
        """Seconds from one to the next, after one that took `writing_s`: longer where the store is
        slow, so that writing takes a tenth of the time."""
        return max(self.every_s, min(9 * writing_s, 20 * self.every_s))


class Generation(NamedTuple):
    """A part of a trial's training that another trial has done: with these params, up to the end of
    `last_epoch`."""

    params: Params
    last_epoch: int


@dataclass(frozen=True)
class TrialRequest:
    """All that defines one trial's training besides the data: equal requests give equal weights,
    whatever their `checkpoints` are.

    `first_epoch_reports`: how many reports the first epoch has; the others have one. `held_out`:
    which split the trial is scored on. "val": it is read for each report, and the best epoch is
    kept. "test": it is read once, after the last epoch, and nothing is selected: that epoch's value
    is the score.

    `host_metrics`: names of metrics, without the split's prefix, that are computed from
    predictions (study/metrics.py) and added to each report on that split; of the user's own ones
    WorkerSetup has the code.

    `further_goals`: of a study with several objectives, those after `goal`.

    `choices`: values that the study's other trials may have, by parameter: all values of a
    categorical one, both ends of a range. A shared program leaves room for them. A parameter
    without an entry has the value of `params` in all trials. `engine`: "keras" asks for a program
    of the trial's own structure. `number`: the trial's, for the saved network; it decides nothing.

    `earlier`: the generations that the trial goes on from, the first one first, with its own seed
    and structure; only numbers differ. Without the checkpoint of the last of them it trains them
    all. `last_epoch`: a generation ends behind it, and never stops early; None for a trial of its
    own. The score is the best of the trial's own epochs.
    """

    network: str
    params: Params
    seed: int
    goal: Goal
    first_epoch_reports: int = 1
    held_out: HeldOut = "val"
    host_metrics: tuple[str, ...] = ()
    further_goals: tuple[Goal, ...] = ()
    choices: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    engine: Engine = "auto"
    checkpoints: Checkpoints | None = field(default=None, compare=False)
    number: int | None = field(default=None, compare=False)
    earlier: tuple[Generation, ...] = ()
    last_epoch: int | None = None

    @property
    def ends_after(self) -> int:
        """The epoch behind which training ends, unless something ends it before."""
        return read_whole(self.params, "epochs") if self.last_epoch is None else self.last_epoch

    @property
    def begins_after(self) -> int:
        """The epochs that other trials have trained before."""
        return self.earlier[-1].last_epoch if self.earlier else 0

    def ancestors(self) -> "list[TrialRequest]":
        """The requests of the earlier generations, the first one first. They meet no target."""
        goal = replace(self.goal, target=None)
        return [
            replace(
                self,
                params=generation.params,
                goal=goal,
                earlier=self.earlier[:count],
                last_epoch=generation.last_epoch,
                checkpoints=None,
            )
            for count, generation in enumerate(self.earlier)
        ]


@dataclass(frozen=True)
class Failed:
    """The training raised. `kind`: USER_ERROR, OUT_OF_MEMORY or ERROR, or its word. `message`: one
    line; `detail`: the traceback."""

    kind: TrialEnd
    message: str
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", TrialEnd(self.kind))


class FunctionCode(NamedTuple):
    """A function of a user's file as a study keeps it. `modules`: path and text of the modules that
    the file imports from its folder; None if the study stored none. `file`: see
    `user_modules.stored_surroundings`. `local_files`: path and SHA-256 of other files that it
    reads (system/user_files.py)."""

    path: str
    function: str
    text: str
    modules: tuple[tuple[str, str], ...] | None = None
    file: str = ""
    local_files: tuple[tuple[str, str], ...] = ()


class StudyOrigin(NamedTuple):
    """The study that a saved network says it is from."""

    name: str = ""
    uuid: str = ""


@dataclass(frozen=True)
class WorkerSetup:
    """What a training session opens with. `data`: a folder of prepared arrays, None for a study
    without data. `budget_bytes`: the
    memory that they may take; larger data are streamed. `code`: the user's own network.
    `function_kind`: what its function is.
    `metrics`: the user's own metrics, by name.
    `artifacts`: where networks are saved. `gpu`: the index of the one to use, None for the CPU with
    one thread. `memory_bytes`: with more resident memory than this the worker ends itself, and all
    that it trains. `lanes`: how many trials the process trains at once. `threads`: CPU threads
    beside a GPU. `study`: saved networks name it. `log_format`: of what the worker logs."""

    data: Path | None
    budget_bytes: float = math.inf
    code: FunctionCode | None = None
    function_kind: FunctionKind = FunctionKind.BUILD
    metrics: Mapping[str, FunctionCode] = field(default_factory=dict)
    artifacts: Artifacts | None = None
    gpu: int | None = None
    memory_bytes: float | None = None
    lanes: int = 1
    threads: int = 1
    study: StudyOrigin = field(default_factory=StudyOrigin)
    log_format: LogFormat = "text"


# A worker's exit code when it ends itself for holding more memory than it may.
OUT_OF_MEMORY = 117


@dataclass(frozen=True)
class Reply:
    """The loop's answer to an event. `save_to`: after Ended, the network's new name. `checkpoint`:
    with a stop, whether to write a checkpoint first. `prune`: after an advisory report, whether the
    pruner would end the trial. `value`: after Suggest, the parameter's; `problem`: why it has none,
    in one line, which is the fault of the trial's own code."""

    stop: bool = False
    save_to: str | None = None
    checkpoint: bool = False
    prune: bool = False
    value: Scalar | None = None
    problem: str | None = None


class Stopped(BaseException):
    """Leaves the user's code at once where the search has stopped its trial. No Exception, so that
    code which catches those does not go on."""


@dataclass(frozen=True)
class Saved:
    """The trial's best network is stored."""

    artifact: Artifact


@dataclass(frozen=True)
class Checkpointed:
    """The trial has stopped. Its checkpoint is written, where that was possible."""


@dataclass(frozen=True)
class Opened:
    """A worker's first message. `problem`: why its session cannot be opened, None if it is open."""

    problem: str | None = None


@dataclass(frozen=True)
class Lost:
    """The worker process is gone; another takes its number. `beside`: how many other trials it was
    training; any of them may be the cause. `restarted`: the loop itself ended the process, because
    of another of its trials. `last_words`: the end of its log; where workers share a log it may
    come from another worker. `gone`: what became of a worker on another machine, where the process
    did not end by itself."""

    exit_code: int | None
    beside: int = 0
    restarted: bool = False
    last_words: str = field(default="", compare=False)
    gone: str = field(default="", compare=False)

    @property
    def out_of_memory(self) -> bool:
        return self.exit_code == OUT_OF_MEMORY

    @property
    def how(self) -> str:
        if self.restarted:
            return "its worker process was ended for another trial that it was training"
        if self.gone:
            what = self.gone
        elif self.out_of_memory:
            what = "held more memory than a trial may take (--trial-memory)"
        else:
            what = f"ended with exit code {self.exit_code}"
        also = f" while it trained {self.beside + 1} trials" if self.beside else ""
        has_log = self.last_words and not self.out_of_memory
        log = f"; the workers' log ends: {self.last_words}" if has_log else ""
        return f"its worker {what}{also}{log}"


# What a session says of a running trial. It goes on when it has the loop's Reply.
Event = Resumed | Report | Suggest | Noted | Ended
Tell = Callable[[Event], Reply]
Message = Event | Saved | Checkpointed | Failed | Lost
