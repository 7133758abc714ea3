"""The loop: claim -> ask -> dispatch -> report / prune -> tell. One thread, never blocked.

It knows neither TensorFlow nor MLflow. It owns all writes of its trials and renews its lease.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from tuner.errors import LeaseLost, StorageError, TakenOver
from tuner.runner.placement import Affinity
from tuner.runner.progress import RunStatus, Watcher, WorkerStatus, all_done, look_around
from tuner.runner.requests import SearchRequests
from tuner.runner.stopping import Stopping
from tuner.runner.study_files import TrialFiles
from tuner.runner.trial_writer import Running, TrialBook
from tuner.storage import leases, slots
from tuner.storage.leases import LeaseKeeper
from tuner.storage.slots import MOST_ATTEMPTS, SHARED_LOSS
from tuner.study.artifacts import Artifact
from tuner.study.messages import (
    Checkpointed,
    Ended,
    Engine,
    Failed,
    Goal,
    Lost,
    Message,
    Reply,
    Report,
    Resumed,
    Saved,
)
from tuner.training.program_key import program_key
from tuner.workers import Workers

logger = logging.getLogger(__name__)
_WAIT_S = 0.2
_MOST_FAILURES = 3
# So long a loop that stops waits for the epochs that run, to go on behind them later. Longer ones
# cost no more: a trial has a checkpoint of each (files.CHECKPOINT_EVERY_S). Less than the patience
# of interrupts.py, and than the ten seconds that service managers give.
CHECKPOINT_WAIT_S = 5.0
_UNSAVED = "ended while it was saving its network ({})"
GO_ON, STOP = Reply(), Reply(stop=True)
STOP_BEHIND = Reply(stop=True, checkpoint=True)


@dataclass(frozen=True)
class Outcome:
    """How a loop ended. `reason` is None when all places are done; `failure` the last error, of the
    trial `failed_trial`."""

    reason: str | None
    status: RunStatus
    put_back: int
    failure: str | None = None
    failed_trial: int | None = None


class Loop:
    """Runs a study's trials on workers until its limits are met."""

    def __init__(
        self,
        book: TrialBook,
        workers: Workers,
        stopping: Stopping,
        files: TrialFiles,
        keep_all_models: bool,
        watcher: Watcher,
        engine: Engine = "auto",
        stage: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._book, self._workers, self._stopping = book, workers, stopping
        self._files, self._keep_all, self._watcher = files, keep_all_models, watcher
        spec = book.spec
        self._goal = Goal(spec.metric, spec.direction, stopping.limits.target)
        self._requests = SearchRequests(book, files, self._goal, engine)
        self._keeper = LeaseKeeper(book.store, book.lease)
        self._affinity = Affinity(workers.count, workers.lanes)
        self._running: dict[int, Running] = {}
        self._status = RunStatus(
            total=stopping.limits.trials, slots=[WorkerStatus() for _ in range(workers.count)]
        )
        self._stage = stage
        self._stops, self._put_back_count = False, 0
        self._failures = 0
        self._failure: str | None = None
        self._failed_trial: int | None = None
        self._renew_at = self._look_at = 0.0

    def run(self) -> Outcome:
        """Work until nothing is left or a limit ends it; nothing of ours is RUNNING afterwards."""
        with self._keeper:
            self._look_around()
            try:
                self._work()
                self._await_checkpoints()
            finally:
                self._put_all_back()
        self._look_around()
        count, status = self._put_back_count, self._status
        return Outcome(self._stopping.reason, status, count, self._failure, self._failed_trial)

    def _work(self) -> None:
        while not self._stopping.at_once:
            self._keeper.hear()
            self._housekeeping()
            self._fill_workers()
            if not self._running and self._finished():
                break
            for worker, message in self._workers.wait(_WAIT_S):
                self._handle(worker, message)
            self._end_overdue()
            self._watcher.changed(self._status)

    def _finished(self) -> bool:
        """Nothing runs here: over, unless another loop may yet put a trial back."""
        if self._stopping.no_more:
            return True
        return all_done(self._book.store, self._book.lease, self._status.total)

    def _fill_workers(self) -> None:
        while not self._stopping.no_more:
            free = self._free_workers()
            if not free:
                return
            # Free ones in processes that train nothing.
            empty = [worker for worker in free if not self._beside(worker)]
            known = frozenset(running.slot.number for running in self._running.values())
            try:
                running = self._book.begin(
                    free[0], self._status.total, known, may_be_alone=bool(empty)
                )
                if running is None:
                    return
                # From here on it is put back, whatever goes wrong.
                self._running[free[0]] = running
                self._keeper.hear()
                wanted = empty if running.slot.alone and empty else free
                self._submit(running, free[0], wanted)
            except TakenOver:  # this loop was held up for longer than its lease
                self._running.pop(free[0], None)
                return

    def _free_workers(self) -> list[int]:
        """Those that a trial can be given to now. None beside a trial that has to be alone."""
        for worker in self._workers.recycle():
            self._affinity.forget(worker)
        idle = [n for n in range(self._workers.count) if n not in self._running]
        return [
            worker
            for worker in idle
            if self._workers.takes(worker)
            if not any(self._running[other].slot.alone for other in self._beside(worker))
        ]

    def _beside(self, worker: int) -> list[int]:
        """The other workers of its process that train a trial."""
        process = worker // self._workers.lanes
        return [
            other
            for other in self._running
            if other != worker and other // self._workers.lanes == process
        ]

    def _submit(self, running: Running, begun_for: int, free: list[int]) -> None:
        """Give the trial to one of the free workers, best to one that has its program. The program
        is known only after sampling: by then the trial has begun, for any of them."""
        request = self._requests.of(running)
        key = program_key(request)
        worker = self._affinity.choose(free, key)
        if worker != begun_for:
            self._book.move(running, worker)
            self._running[worker] = self._running.pop(begun_for)
        running.began = time.monotonic()
        self._affinity.gave(worker, key)
        self._workers.submit(worker, request)
        attempt = running.slot.attempt
        logger.info("trial %d, attempt %d: given to worker %d", running.number, attempt, worker)
        self._status.slots[worker] = WorkerStatus(trial=running.number, epochs=running.epochs)

    def _handle(self, worker: int, message: Message) -> None:
        if isinstance(message, Lost):
            self._affinity.forget(worker)
        running = self._running.get(worker)
        if running is None:
            return  # a worker that was lost while idle has been replaced already
        try:
            self._answer(worker, running, message)
        except TakenOver:
            self._let_go(worker)

    def _answer(self, worker: int, running: Running, message: Message) -> None:
        match message:
            case Resumed():
                self._book.resumed(running, message.epoch)
                self._workers.reply(worker, GO_ON)
            case Report():
                self._on_report(worker, running, message)
            case Ended():
                self._on_ended(worker, running, message)
            case Saved():
                assert running.ended is not None
                self._complete(worker, running, running.ended, message.artifact)
            case Checkpointed():
                self._put_back(running, self._stopping.reason or "error")
                del self._running[worker]
                self._status.slots[worker] = WorkerStatus()
            case Failed():
                self._on_failed(worker, running, message)
            case Lost():
                self._on_lost(worker, running, message)

    def _on_report(self, worker: int, running: Running, interval: Report) -> None:
        prune = self._book.interval(running, interval)
        behind = self._stops and _can_stop_behind(running, interval)
        self._workers.reply(worker, STOP if prune else STOP_BEHIND if behind else GO_ON)
        worker_status = self._status.slots[worker]
        worker_status.epoch, worker_status.value = interval.epoch, running.verdicts.best
        if prune:
            self._book.prune(running)
            self._ended(worker, "pruned", running.verdicts.best, gained=False)

    def _on_ended(self, worker: int, running: Running, ended: Ended) -> None:
        if ended.end == "diverged" or ended.score is None or not math.isfinite(ended.score):
            self._workers.reply(worker, STOP)
            self._book.infeasible(running, "diverged", ended)
            self._ended(worker, "diverged", ended.score, gained=False)
        elif self._keep_all or self._gains(running, ended.score):
            running.ended = ended
            path = self._files.network(running.number, running.slot.attempt)
            self._workers.reply(worker, Reply(stop=True, save_to=path))
        else:
            self._workers.reply(worker, STOP)
            self._complete(worker, running, ended)

    def _gains(self, running: Running, score: float) -> bool:
        """Whether the score is better than all others of a study that looks for the best. The board
        may not know yet what another loop has found since it last looked: SQL is asked, but only
        where the board says yes."""
        spec, status = self._book.spec, self._status
        if not spec.selects or not self._goal.better(score, status.best):
            return False
        store, lease = self._book.store, self._book.lease
        others = slots.best_score(store, lease, spec.direction, but_not=running.trial_id)
        if others is not None and self._goal.better(others[0], status.best):
            status.best, status.best_trial = others
        return self._goal.better(score, status.best)

    def _complete(
        self,
        worker: int,
        running: Running,
        ended: Ended,
        model: Artifact | None = None,
        detail: str | None = None,
    ) -> None:
        self._book.complete(running, ended, model, detail)
        assert ended.score is not None
        gained = self._gains(running, ended.score)
        if gained:
            self._status.best, self._status.best_trial = ended.score, running.number
        self._ended(worker, ended.end, ended.score, gained)

    def _on_failed(self, worker: int, running: Running, failed: Failed) -> None:
        if running.ended is not None:
            # It was only saving its network: the score is no less true.
            self._complete(worker, running, running.ended, detail=failed.detail)
            return
        if failed.kind == "out_of_memory":
            self._book.infeasible(running, failed.kind, detail=failed.detail)
            self._ended(worker, failed.kind, None, gained=False)
            return
        self._book.fail(running, failed.kind, failed.detail)
        self._failures += 1
        self._failure = f"trial {running.number}: {failed.message}"
        self._failed_trial = running.number
        if self._failures >= _MOST_FAILURES:
            self._stopping.errors()
        self._files.forget(running.number)
        self._leave(worker, failed.kind, None)

    def _on_lost(self, worker: int, running: Running, lost: Lost) -> None:
        how = lost.how
        if running.ended is not None:
            self._complete(worker, running, running.ended, detail=f"{how} while saving the network")
        elif lost.restarted:
            self._start_again(worker, running, "interrupted", how)
        elif lost.beside:
            # Any of them may be the cause: it counts against none. Alone it will show.
            self._start_again(worker, running, SHARED_LOSS, how)
        elif lost.out_of_memory:
            self._book.infeasible(running, "out_of_memory", detail=how)
            self._ended(worker, "out_of_memory", None, gained=False)
        elif (losses := self._book.losses(running) + 1) < MOST_ATTEMPTS:
            self._start_again(worker, running, "worker_lost", how)
        else:
            detail = f"lost {losses} times; at last {how}"
            self._book.infeasible(running, "worker_lost", detail=detail)
            self._ended(worker, "worker_lost", None, gained=False)

    def _end_overdue(self) -> None:
        """End trials past the time limit for one, whatever their workers are doing."""
        limit = self._stopping.limits.trial_timeout_s
        if limit is None:
            return
        clock = time.monotonic()
        overdue = [w for w, running in self._running.items() if clock - running.began > limit]
        in_company = {worker for worker in overdue if self._beside(worker)}
        # One of each process that is to end: the others beside it are told as lost.
        for worker in {worker // self._workers.lanes: worker for worker in overdue}.values():
            self._restart(worker)
        for worker in overdue:
            running = self._running[worker]
            try:
                self._end_by_time(worker, running, limit, worker in in_company)
            except TakenOver:
                self._leave(worker, "taken_over", None)

    def _end_by_time(self, worker: int, running: Running, limit_s: float, in_company: bool) -> None:
        detail = f"still training after {limit_s:g} s, the limit for one trial"
        if running.ended is not None:
            detail = _UNSAVED.format("time_limit")
            self._complete(worker, running, running.ended, detail=detail)
        elif in_company:
            # One lane computes at a time: it may have waited for the others. Alone it will show.
            self._start_again(worker, running, SHARED_LOSS, f"{detail}, beside others")
        else:
            self._book.infeasible(running, "time_limit", detail=detail)
            self._ended(worker, "time_limit", running.verdicts.best, gained=False)

    def _start_again(self, worker: int, running: Running, end: str, detail: str) -> None:
        """The attempt ends so; the trial's next one goes on, here or elsewhere."""
        self._book.put_back(running, end, detail=detail)
        self._leave(worker, end, None)

    def _let_go(self, worker: int) -> None:
        """Another loop has the trial now: nothing of it is ours to write."""
        self._restart(worker)
        self._leave(worker, "taken_over", None)

    def _restart(self, worker: int) -> None:
        self._workers.restart(worker)
        self._affinity.forget(worker)

    def _ended(self, worker: int, end: str, value: float | None, gained: bool) -> None:
        """A trial has taken its place for good."""
        self._failures = 0
        self._files.forget(self._running[worker].number)
        self._status.done += 1
        self._status.done_here += 1
        reached = end in ("complete", "early_stopped", "target") and self._goal.reached(value)
        self._stopping.finished(gained, reached)
        self._leave(worker, end, value, is_best=gained)

    def _leave(self, worker: int, end: str, value: float | None, is_best: bool = False) -> None:
        running = self._running.pop(worker)
        self._status.slots[worker] = WorkerStatus()
        self._status.ended[end] = self._status.ended.get(end, 0) + 1
        logger.info("trial %d ended: %s, score %s", running.number, end, value)
        self._watcher.trial_ended(self._status, running.number, end, value, is_best)

    def _await_checkpoints(self) -> None:
        """The trials that run when the loop is to stop go on to the end of their epoch, and write a
        checkpoint: so their next attempts lose nothing. Those that take too long are put back as
        they are."""
        if not self._running or self._stopping.reason not in ("interrupted", "timeout"):
            return
        self._stage(
            f"waiting for the running epochs to end, at most {CHECKPOINT_WAIT_S:.0f} s "
            "(Ctrl-C again stops now)"
        )
        self._stops = True
        until = time.monotonic() + CHECKPOINT_WAIT_S
        while self._running and not self._stopping.hurried:
            if (left := until - time.monotonic()) <= 0:
                return
            self._keeper.hear()
            for worker, message in self._workers.wait(min(_WAIT_S, left)):
                self._handle(worker, message)

    def _put_all_back(self) -> None:
        # Workers go first: none may send what would be written after its trial was given away.
        self._workers.close()
        end = self._stopping.reason or "error"
        with contextlib.ExitStack() as last_things:  # each is done, whatever becomes of the others
            last_things.callback(self._end_lease)
            for running in self._running.values():
                last_things.callback(self._put_back, running, end)
        self._running.clear()

    def _put_back(self, running: Running, end: str) -> None:
        # Of a study that was deleted nothing is left to be put back.
        with contextlib.suppress(TakenOver, LeaseLost):
            if running.ended is None:
                self._book.put_back(running, end)
                self._put_back_count += 1
            else:  # it was only saving its network: what it has trained is not lost
                self._book.complete(running, running.ended, detail=_UNSAVED.format(end))

    def _end_lease(self) -> None:
        self._keeper.stop()
        with contextlib.suppress(StorageError, LeaseLost):
            # A lease that cannot be ended here expires by itself.
            self._book.close()

    def _housekeeping(self) -> None:
        """Renew the lease, take over what dead loops left, count what other loops did."""
        clock = time.monotonic()
        self._status.elapsed_s = clock - self._stopping.started
        if clock >= self._renew_at:
            self._renew_at = clock + self._book.lease.lasts_s / 4
            if leases.renew_lease(self._book.store, self._book.lease):
                self._stopping.deleted()
            self._release_lost_slots()
            self._book.repair()
        if clock >= self._look_at:
            self._look_at = clock + 2.0
            self._look_around()

    def _release_lost_slots(self) -> None:
        held = leases.held(self._book.store, self._book.lease)
        for worker, running in list(self._running.items()):
            if running.slot.number not in held:
                self._let_go(worker)

    def _look_around(self) -> None:
        book = self._book
        look_around(book.store, book.lease, book.spec, self._status, self._stopping)


def _can_stop_behind(running: Running, interval: Report) -> bool:
    """Whether the trial can go on behind this interval later. One that ends now, or has diverged,
    is not kept from saying so."""
    ends = interval.epoch == running.epochs
    return interval.whole and not ends and all(map(math.isfinite, interval.metrics.values()))
