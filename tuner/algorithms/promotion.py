"""Pause and promote: which trials stop at a rung, and which go on later.

Asynchronous successive halving by promotion (Li et al., 2020, "A System for Massively Parallel
Hyperparameter Tuning"): a trial that reaches a rung is paused unless it is among the best 1/n
there, n being the reduction factor. As more trials reach the rung, more may go on: the best paused
one does, and the highest rung is served first. The first trial of a rung goes on: a search that is
ended early has a network then. Nothing here knows Optuna, SQL or a clock.
"""

from bisect import bisect_left, insort
from collections.abc import Collection, Mapping, Sequence


class PromotionRule:
    """Decides from what trials have reported. It may be told everything again: a trial counts once
    at each rung, with the value that it was told first.

    `rungs`: the steps at which trials are compared, rising. `reduction_factor`: 1 of so many may go
    on, at least 2."""

    def __init__(self, rungs: Sequence[int], reduction_factor: int = 3, *, maximize: bool) -> None:
        self.rungs = tuple(rungs)
        self._factor = reduction_factor
        self._sign = -1.0 if maximize else 1.0
        # Of each rung: the trials that have reached it, best first.
        self._ranked: list[list[tuple[float, int]]] = [[] for _ in self.rungs]
        self._reached: dict[int, list[float]] = {}

    def observe(self, trial: int, reports: Mapping[int, float]) -> None:
        """What a trial has reported: its running best by step. At each rung counts its first report
        at this step or a later one."""
        known = self._reached.setdefault(trial, [])
        if len(known) == len(self.rungs) or not reports:
            return
        last = max(reports)
        while len(known) < len(self.rungs) and last >= self.rungs[len(known)]:
            step = min(step for step in reports if step >= self.rungs[len(known)])
            value = self._sign * reports[step]
            insort(self._ranked[len(known)], (value, trial))
            known.append(value)

    def pauses(self, trial: int, step: int) -> bool:
        """Whether a trial that has just reported this step is to be paused. Its reports must have
        been observed."""
        if step not in self.rungs:
            return False
        rung = self.rungs.index(step)
        if len(self._reached.get(trial, ())) != rung + 1:
            return False  # it was further already: it repeats what was lost with its checkpoint
        reached = len(self._ranked[rung])
        return reached > 1 and self._rank(trial, rung) >= reached // self._factor

    def choose(self, paused: Collection[int], *, is_closing: bool = False) -> int | None:
        """Which paused trial goes on now; None for none. `is_closing`: no new trial will come, so
        that the best of each rung goes on, however few there are: at least one trial ends."""
        if not paused:
            return None
        for rung in reversed(range(len(self.rungs))):
            ranked = self._ranked[rung]
            most = len(ranked) // self._factor
            if is_closing and ranked:
                most = max(most, 1)
            for _, trial in ranked[:most]:
                if trial in paused and len(self._reached[trial]) == rung + 1:
                    return trial
        return None

    def _rank(self, trial: int, rung: int) -> int:
        return bisect_left(self._ranked[rung], (self._reached[trial][rung], trial))


def first_rung(longest: int) -> int:
    """The first step at which trials of `longest` steps are compared, unless a study says
    otherwise: a 27th of them. What curves begin with says little of long trials, and much of short
    ones (docs/decisions/search-methods.md)."""
    return max(1, round(longest / 27))


def promotion_rungs(first: int, reduction_factor: int, longest: int) -> list[int]:
    """The steps at which trials of `longest` steps are compared: first, first * factor, and so on.
    The last step is not among them: a trial that has made it is complete."""
    rungs = []
    while first < longest:
        rungs.append(first)
        first *= reduction_factor
    return rungs
