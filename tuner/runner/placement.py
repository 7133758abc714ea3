"""Which worker holds which programs, so that a trial goes where its own is compiled already."""

from collections.abc import Sequence

from tuner.study.engines import KEPT_PROGRAMS


class Affinity:
    """What each of `count` workers was given, by program key; the empty key, of a program that no
    other trial can use, is not kept. So many as share a process, `population` in a row, share their
    programs. `kept`: how many programs a process keeps, the latest."""

    def __init__(self, count: int, lanes: int = 1, kept: int = KEPT_PROGRAMS) -> None:
        # When each key was given last, in trials given; a process's latest stands last.
        by_process: list[dict[str, int]] = [{} for _ in range(count // lanes)]
        self._held = [by_process[worker // lanes] for worker in range(count)]
        self._kept, self._given = kept, 0

    def choose(self, free: Sequence[int], key: str) -> int:
        """Of the free workers, in order, the one that was given this program last; or else the one
        with the fewest, so that a study's first trials spread them; of equals the first."""
        holding = [worker for worker in free if key in self._held[worker]]
        if holding:
            return max(holding, key=lambda worker: self._held[worker][key])
        return min(free, key=lambda worker: len(self._held[worker]))

    def gave(self, worker: int, key: str) -> None:
        """The worker was given a trial of this program."""
        if not key:
            return
        self._given += 1
        held = self._held[worker]
        held.pop(key, None)
        held[key] = self._given
        if len(held) > self._kept:
            del held[next(iter(held))]

    def forget(self, worker: int) -> None:
        """The worker's process is gone, with all its programs."""
        self._held[worker].clear()
