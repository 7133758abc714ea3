"""Which worker holds which programs, so that a trial goes where its own is compiled already."""

from collections.abc import Sequence


class Affinity:
    """What each of `count` workers was given, by program key, the latest last. So many as share a
    process, `population` in a row, share their programs."""

    def __init__(self, count: int, population: int = 1) -> None:
        by_process: list[list[str]] = [[] for _ in range(count // population)]
        self._held = [by_process[worker // population] for worker in range(count)]

    def choose(self, free: Sequence[int], key: str) -> int:
        """Of the free workers the one that was given this program last of all, or else the one with
        the fewest programs: so the first trials of a study spread them. Of equals the first."""
        holding = [worker for worker in free if key and key in self._held[worker]]
        if holding:
            return min(holding, key=lambda worker: self._since(worker, key))
        return min(free, key=lambda worker: len(self._held[worker]))

    def _since(self, worker: int, key: str) -> int:
        """How many other programs the worker was given after this one."""
        return len(self._held[worker]) - 1 - self._held[worker].index(key)

    def gave(self, worker: int, key: str, fresh: bool = False) -> None:
        """The worker was given a trial of this program; `fresh`: it is a new process."""
        if fresh:
            self.forget(worker)
        held = self._held[worker]
        if key in held:
            held.remove(key)
        if key:
            held.append(key)

    def forget(self, worker: int) -> None:
        """The worker's process is gone, with all its programs."""
        self._held[worker].clear()
