"""What the simulator asks of a search method, and what it tells it.

A method is built for one run from a `Setting`. The simulator calls `ask` for each free worker,
`report` after each epoch, and `finished` when a trial has ended by itself. Values are always to be
minimised, and raw: a method that wants the best so far keeps it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from benchmarks.search.spaces import Params, TableSpace

if TYPE_CHECKING:
    from benchmarks.search.tables import CurveTable


class Answer(StrEnum):
    """What becomes of a trial after a report. A paused trial keeps what it has learnt, and its
    worker is free; `ask` may go on with it later."""

    GO_ON = "go on"
    STOP = "stop"
    PAUSE = "pause"


@dataclass(frozen=True)
class NewTrial:
    """Start a trial. `trial`: a number that the method has not used yet."""

    trial: int
    params: Params


@dataclass(frozen=True)
class PausedTrial:
    """Go on with a trial that was paused, from the epoch at which it was."""

    trial: int


@dataclass(frozen=True)
class Setting:
    """What a method is built from. `max_epochs`: those of a whole trial. `table`: the name of the
    table, for methods that have learnt from other tables. `priors`: configurations by name, for
    methods that take one: `default` (what a person would try), `good` (among the table's best
    10 %), `wrong` (among its worst 25 %). `others`: the tables of the same kind on other data, for
    methods that learn from those. Other methods must not read the last three fields."""

    space: TableSpace
    max_epochs: int
    seed: int
    workers: int
    table: str = ""
    priors: Mapping[str, Params] = field(default_factory=dict)
    others: "tuple[CurveTable, ...]" = ()


class Method(Protocol):
    """One search. Equal settings and equal calls give equal answers."""

    def ask(self) -> NewTrial | PausedTrial | None:
        """What a free worker does next. None: nothing now; asked again after the next report."""

    def report(self, trial: int, epoch: int, value: float) -> Answer:
        """A trial's value after an epoch, from 1 to `max_epochs`; finite. After the last epoch the
        answer does not matter. A trial that is told STOP has ended: the method is not told again.
        """

    def finished(self, trial: int, value: float) -> None:
        """A trial has ended by itself: after the report of its last epoch, with the best value of
        its epochs; or it has diverged, with NaN, and there was no report of that epoch."""
