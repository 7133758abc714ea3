"""How a loop's trials end: what is written, counted and told of each."""

import logging
import time

from tuner.errors import SlotLost
from tuner.runner import policy
from tuner.runner.assignments import Assignments
from tuner.runner.network_keeping import KeptNetworks
from tuner.runner.policy import Ending
from tuner.runner.populations import GenerationFiles
from tuner.runner.progress import RunStatus, Watcher, WorkerStatus, stop_if_sure
from tuner.runner.stopping import Stopping
from tuner.runner.trial_writer import RunningTrial, TrialWriter
from tuner.storage import slots
from tuner.study.ends import Fate, TrialEnd
from tuner.study.messages import Goal
from tuner.system.logs import logging_about

logger = logging.getLogger(__name__)


class TrialEnds:
    """Ends trials of one loop, and keeps its status right. Raises SlotLost where another loop has
    the trial now: nothing is written then, and nothing else has changed."""

    def __init__(
        self,
        writer: TrialWriter,
        assignments: Assignments,
        stopping: Stopping,
        files: GenerationFiles,
        networks: KeptNetworks,
        watcher: Watcher,
        status: RunStatus,
        goal: Goal,
    ) -> None:
        self._writer, self._assignments, self._stopping = writer, assignments, stopping
        self._files, self._networks, self._watcher = files, networks, watcher
        self._status, self._goal = status, goal
        # Of this loop: the trials that have been paused.
        self._were_paused: set[int] = set()

    def end(self, worker: int, ending: Ending) -> None:
        """Write how the worker's trial ends; the worker is free then."""
        running = self._assignments.running[worker]
        self._writer.end(running, ending)
        is_best = False
        if ending.fate.takes_slot:
            is_best = self._count_done(running, ending)
        elif ending.fate is Fate.FAILED:
            self._stopping.trial_failed()
        if ending.fate not in (Fate.PUT_BACK, Fate.PAUSED):
            self._files.forget(running.number)
            self._networks.trial_ended(has_saved=ending.model is not None)
        self.leave(worker, ending.end, ending.shown_value, is_best)

    def leave(
        self, worker: int, end: TrialEnd, value: float | None = None, is_best: bool = False
    ) -> None:
        """The worker is free again."""
        running = self._assignments.running.pop(worker)
        self._status.workers[worker] = WorkerStatus()
        self._status.ended[end] = self._status.ended.get(end, 0) + 1
        with logging_about(trial=running.number, worker=worker):
            logger.info("trial %d ended: %s, score %s", running.number, end, value)
        self._watcher.trial_ended(self._status, running.number, end, value, is_best)

    def paused_ended(self, number: int, end: TrialEnd, value: float) -> None:
        """A paused trial goes on no more; no worker had it. `value`: its running best."""
        self._files.forget(number)
        status = self._status
        status.done += 1
        status.done_here += 1
        status.ended[end] = status.ended.get(end, 0) + 1
        logger.info("trial %d, which was paused, ended: %s, score %s", number, end, value)
        self._watcher.trial_ended(status, number, end, value, is_best=False)

    def count_paused(self, running: RunningTrial, best: float | None) -> None:
        """The trial has been paused at a rung. `best`: its running best."""
        is_promising = best is not None and self._goal.better(best, self._status.best)
        self._stopping.trial_paused(is_promising, running.number in self._were_paused)
        self._were_paused.add(running.number)

    def let_go(self, worker: int) -> None:
        """Another loop has the trial now: this one must write nothing of it."""
        self._writer.let_go(self._assignments.running[worker])
        self._assignments.restart(worker)
        self.leave(worker, TrialEnd.TAKEN_OVER)

    def end_overdue(self) -> None:
        """End trials past the time limit for one, whatever their workers are doing."""
        limit_s = self._stopping.limits.trial_timeout_s
        if limit_s is None:
            return
        latest, given = time.monotonic() - limit_s, self._assignments
        overdue = [worker for worker in given.running if given.running[worker].started_at < latest]
        in_company = {worker for worker in overdue if given.beside(worker)}
        # One worker of each process that has to end: those beside it are reported as lost.
        for worker in {given.process_of(worker): worker for worker in overdue}.values():
            given.restart(worker)
        for worker in overdue:
            running = given.running[worker]
            ending = policy.after_time_limit(
                running.so_far, limit_s, shares_process=worker in in_company
            )
            try:
                self.end(worker, ending)
            except SlotLost:
                self.leave(worker, TrialEnd.TAKEN_OVER)

    def _count_done(self, running: RunningTrial, ending: Ending) -> bool:
        """A trial has taken its slot; whether it is the new best one."""
        value, status = ending.shown_value, self._status
        is_best = ending.fate is Fate.COMPLETE and self._is_best(running, value)
        if is_best:
            status.best, status.best_trial = value, running.number
        status.done += 1
        status.done_here += 1
        reaches_target = ending.fate is Fate.COMPLETE and self._goal.reached(value)
        was_paused = running.number in self._were_paused
        self._stopping.trial_done(is_best, reaches_target, was_paused)
        writer = self._writer
        stop_if_sure(writer.store, writer.lease, writer.spec, status, self._stopping)
        return is_best

    def _is_best(self, running: RunningTrial, score: float | None) -> bool:
        """Whether the score is better than all others of a study that looks for the best. Other
        loops may have ended trials since the status was refreshed: SQL is asked, but only where the
        status says yes."""
        spec, status = self._writer.spec, self._status
        if score is None or not spec.selects or not self._goal.better(score, status.best):
            return False
        store, lease = self._writer.store, self._writer.lease
        others = slots.best_score(store, lease, spec.direction, but_not=running.trial_id)
        if others is not None and self._goal.better(others[0], status.best):
            status.best, status.best_trial = others
        return self._goal.better(score, status.best)
