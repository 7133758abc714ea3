"""Which worker holds which programs, so that a trial goes where its own is compiled already."""

from collections.abc import Sequence

from tuner.study.messages import KEPT_PROGRAMS


class Affinity:
    """The programs that each of `count` workers was given, by program key. The empty key, of a
    program that no other trial can use, is not remembered. `lanes` workers in a row share a
    process, and so its programs. `most_programs`: a process keeps so many, the latest."""

    def __init__(self, count: int, lanes: int = 1, most_programs: int = KEPT_PROGRAMS) -> None:
        # By key, when a process was given the program last, counted in trials; the latest is last.
        by_process: list[dict[str, int]] = [{} for _ in range(count // lanes)]
        self._programs = [by_process[worker // lanes] for worker in range(count)]
        self._most, self._trials = most_programs, 0

    def choose(self, free: Sequence[int], key: str) -> int:
        """Of the free workers, in order, the one that was given this program last. Otherwise the
        one with the fewest programs, so that a study's first trials spread them; the first of
        several."""
        holding = [worker for worker in free if key in self._programs[worker]]
        if holding:
            return max(holding, key=lambda worker: self._programs[worker][key])
        return min(free, key=lambda worker: len(self._programs[worker]))

    def gave(self, worker: int, key: str) -> None:
        """The worker was given a trial of this program."""
        if not key:
            return
        self._trials += 1
        programs = self._programs[worker]
        programs.pop(key, None)
        programs[key] = self._trials
        if len(programs) > self._most:
            del programs[next(iter(programs))]

    def forget(self, worker: int) -> None:
        """The worker's process is gone, with all its programs."""
        self._programs[worker].clear()
