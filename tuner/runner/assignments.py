"""Which worker trains which trial, and which can be given one now."""

from tuner.runner.placement import Affinity
from tuner.runner.trial_writer import RunningTrial
from tuner.workers import Workers


class Assignments:
    """The running trials of a loop, by worker. `lanes` workers in a row share a process: a trial
    that must be alone is given to none that has another one beside it."""

    def __init__(self, workers: Workers) -> None:
        self.running: dict[int, RunningTrial] = {}
        self._workers = workers
        self._affinity = Affinity(workers.lanes)

    def free(self) -> list[int]:
        """The workers that can be given a trial now. None beside a trial that must be alone."""
        for worker in self._workers.recycle():
            self._affinity.forget(worker)
        idle = [n for n in range(self._workers.count) if n not in self.running]
        return [
            worker
            for worker in idle
            if self._workers.takes(worker)
            if not any(self.running[other].slot.alone for other in self.beside(worker))
        ]

    def beside(self, worker: int) -> list[int]:
        """The other workers of its process that train a trial."""
        first = self.process_of(worker) * self._workers.lanes
        in_process = range(first, first + self._workers.lanes)
        return [other for other in in_process if other != worker and other in self.running]

    def process_of(self, worker: int) -> int:
        """The number of the process that a worker is in."""
        return worker // self._workers.lanes

    def choose(self, free: list[int], program_key: str) -> int:
        """One of the free workers, best one that has this program."""
        return self._affinity.choose(free, program_key)

    def gave(self, worker: int, program_key: str) -> None:
        """The worker was given a trial of this program."""
        self._affinity.gave(worker, program_key)

    def restart(self, worker: int) -> None:
        """End what the worker does, at once; a fresh process takes its number."""
        self._workers.restart(worker)
        self._affinity.forget(worker)

    def forget_programs(self, worker: int) -> None:
        """The worker's process is gone, with all that it has compiled."""
        self._affinity.forget(worker)

    def surplus(self, most: int) -> bool:
        """Whether more than `most` trials run, without those that are about to leave."""
        if len(self.running) <= most:  # asked at each report: a thousand trials are not counted
            return False
        staying = sum(running.leaves_as is None for running in self.running.values())
        return staying > most
