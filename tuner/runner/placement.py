"""Which worker holds which programs, so that a trial goes where its own is compiled already."""

from collections import defaultdict
from collections.abc import Sequence

from tuner.study.messages import KEPT_PROGRAMS


class Affinity:
    """The programs that each worker was given, by program key. The empty key, of a program that no
    other trial can use, is not remembered. `lanes` workers in a row share a process, and so its
    programs. `most_programs`: a process keeps so many, the latest."""

    def __init__(self, lanes: int = 1, most_programs: int = KEPT_PROGRAMS) -> None:
        # Of each process, by key, when it was given the program last, counted in trials; the latest
        # is last.
        self._by_process: defaultdict[int, dict[str, int]] = defaultdict(dict)
        self._lanes, self._most, self._trials = lanes, most_programs, 0

    def _programs(self, worker: int) -> dict[str, int]:
        return self._by_process[worker // self._lanes]

    def choose(self, free: Sequence[int], key: str) -> int:
        """Of the free workers, in order, the one that was given this program last. Otherwise the
        one with the fewest programs, so that a study's first trials spread them; the first of
        several."""
        holding = [worker for worker in free if key in self._programs(worker)]
        if holding:
            return max(holding, key=lambda worker: self._programs(worker)[key])
        return min(free, key=lambda worker: len(self._programs(worker)))

    def gave(self, worker: int, key: str) -> None:
        """The worker was given a trial of this program."""
        if not key:
            return
        self._trials += 1
        programs = self._programs(worker)
        programs.pop(key, None)
        programs[key] = self._trials
        if len(programs) > self._most:
            del programs[next(iter(programs))]

    def forget(self, worker: int) -> None:
        """The worker's process is gone, with all its programs."""
        self._programs(worker).clear()
