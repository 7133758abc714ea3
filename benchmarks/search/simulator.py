"""Runs a search method on a table with n workers, an epoch at a time, and counts epochs."""

import heapq
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.contract import Answer, Method, NewTrial, PausedTrial
from benchmarks.search.lookup import Lookup

# To be raised with any change upon which a stored course would be another.
SIMULATION = 2


class ContractError(Exception):
    """A method has answered what the contract does not allow."""


@dataclass
class Course:
    """How a search went. `epochs` and `scores`: the epochs spent by all trials together when each
    new best value was reported. `complete`: trials that trained all epochs. `stuck`: the method had
    nothing to do before the budget was spent. `asks`: calls that started or continued a trial.
    `method_s`: CPU seconds inside the method."""

    epochs: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    spent: int = 0
    trials: int = 0
    complete: int = 0
    diverged: int = 0
    stuck: bool = False
    asks: int = 0
    method_s: float = 0.0

    def add(self, value: float) -> None:
        if not self.scores or value < self.scores[-1]:
            self.epochs.append(self.spent)
            self.scores.append(value)

    def best_at(self, epochs: int) -> float:
        """The best value of the first `epochs` epochs; inf before the first report."""
        index = int(np.searchsorted(self.epochs, epochs, side="right"))
        return self.scores[index - 1] if index else float("inf")

    def epochs_to(self, target: float) -> int | None:
        """The epochs spent when a value of at most `target` was reported; None if never."""
        for epochs, score in zip(self.epochs, self.scores, strict=True):
            if score <= target:
                return epochs
        return None


@dataclass
class _Trial:
    number: int
    curve: NDArray[np.float64]
    seconds: float
    epoch: int = 0
    best: float = float("inf")


class Simulator:
    """One run. The workers' clock decides who reports next; what counts is epochs, not seconds."""

    def __init__(self, method: Method, lookup: Lookup, workers: int, budget: int) -> None:
        self._method, self._lookup = method, lookup
        self._workers, self._budget = workers, budget
        self._course = Course()
        self._known: set[int] = set()
        self._paused: dict[int, _Trial] = {}
        # (when its epoch ends, order of starting, trial): equal times in the order of starting.
        self._events: list[tuple[float, int, _Trial]] = []
        self._order = 0
        self._now = 0.0

    def run(self) -> Course:
        """Until the budget is spent or nobody has anything to do. Raises ContractError."""
        course = self._course
        self._give_work()
        while self._events and course.spent < self._budget:
            self._now, _, trial = heapq.heappop(self._events)
            if self._end_epoch(trial):
                self._train(trial)
            self._give_work()
        course.stuck = course.spent < self._budget
        return course

    def _give_work(self) -> None:
        while len(self._events) < self._workers:
            started = time.process_time()
            work = self._method.ask()
            self._course.method_s += time.process_time() - started
            if work is None:
                return
            self._course.asks += 1
            self._train(self._begin(work))

    def _begin(self, work: NewTrial | PausedTrial) -> _Trial:
        if isinstance(work, PausedTrial):
            if work.trial not in self._paused:
                raise ContractError(f"trial {work.trial} is not paused")
            return self._paused.pop(work.trial)
        if work.trial in self._known:
            raise ContractError(f"trial {work.trial} was started before")
        self._known.add(work.trial)
        self._course.trials += 1
        curve = self._lookup.curve(work.params)
        return _Trial(work.trial, curve, self._lookup.seconds(work.params))

    def _train(self, trial: _Trial) -> None:
        self._order += 1
        heapq.heappush(self._events, (self._now + trial.seconds, self._order, trial))

    def _end_epoch(self, trial: _Trial) -> bool:
        """Whether the trial trains another epoch now."""
        course = self._course
        course.spent += 1
        value = float(trial.curve[trial.epoch])
        trial.epoch += 1
        started = time.process_time()
        if not np.isfinite(value):
            course.diverged += 1
            self._method.finished(trial.number, float("nan"))
            course.method_s += time.process_time() - started
            return False
        trial.best = min(trial.best, value)
        course.add(value)
        answer = self._method.report(trial.number, trial.epoch, value)
        last = trial.epoch == len(trial.curve)
        if last:
            course.complete += 1
            self._method.finished(trial.number, trial.best)
        course.method_s += time.process_time() - started
        if answer == Answer.PAUSE and not last:
            self._paused[trial.number] = trial
        return answer == Answer.GO_ON and not last
