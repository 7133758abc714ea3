"""The loop: claim a slot, sample, submit, record reports, end trials. One thread, never blocked.

It knows neither TensorFlow nor MLflow. It owns all writes of its trials and renews its lease. What
is done about a trial is decided in policy.py, and written by trial_writer.py.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuner.errors import LeaseLost, SlotLost, StorageError
from tuner.runner import policy
from tuner.runner.network_keeping import KeptNetworks
from tuner.runner.placement import Affinity
from tuner.runner.policy import GO_ON, Decision, Ending
from tuner.runner.progress import RunStatus, Watcher, WorkerStatus, all_done, refresh_status
from tuner.runner.requests import SearchRequests
from tuner.runner.stopping import Stopping
from tuner.runner.study_files import TrialFiles
from tuner.runner.trial_writer import RunningTrial, TrialWriter
from tuner.storage import leases, slots, study_control
from tuner.storage.leases import LeaseKeeper
from tuner.storage.study_control import LoopOrders
from tuner.study.ends import Fate, StopReason, TrialEnd
from tuner.study.engines import Engine
from tuner.study.messages import (
    Checkpointed,
    Ended,
    Event,
    Failed,
    Lost,
    Message,
    Noted,
    Report,
    Resumed,
    Saved,
    Suggest,
    TrialRequest,
)
from tuner.system.logs import logging_about
from tuner.system.names import command, in_command
from tuner.workers import Workers

logger = logging.getLogger(__name__)
_WAIT_S = 0.2
_REFRESH_S = 2.0
# So many reports at most are stored in one transaction: the first of them waits for the last.
_MOST_TOGETHER = 16
_ORDERS_S = 0.5
# What workers say of a trial that goes on, or ends by itself.
TrialMessage = Event | Saved | Failed | Lost
# How long a loop that stops waits for the running epochs to end, so that their trials go on after
# them later. A trial whose epochs take longer has a checkpoint of its last one
# (study_files.CHECKPOINT_EVERY_S). It is less than a search gets to stop (stopping.py), and less
# than the ten seconds that service managers give.
CHECKPOINT_WAIT_S = 5.0


@dataclass(frozen=True)
class Outcome:
    """How a loop ended. `reason`: None when all slots are done. `put_back`: how many trials go on
    later. `failure`: the last error, of the trial `failed_trial`."""

    reason: StopReason | None
    status: RunStatus
    put_back: int
    failure: str | None = None
    failed_trial: int | None = None


class Loop:
    """Runs a study's trials on workers until its limits are met. `program_key`: a word that is
    equal for requests that one program can train, empty where each has its own. `share`: how many
    of the workers may train now; None for all. While more do, trials stop behind an epoch and are
    put back. `follows_total`: whether the number of trials is the study's total, which anybody may
    change; otherwise it is that of the limits."""

    def __init__(
        self,
        writer: TrialWriter,
        workers: Workers,
        stopping: Stopping,
        files: TrialFiles,
        networks: KeptNetworks,
        watcher: Watcher,
        program_key: Callable[[TrialRequest], str],
        engine: Engine = "auto",
        stage: Callable[[str], None] = lambda text: None,
        share: Callable[[], int] | None = None,
        follows_total: bool = False,
    ) -> None:
        self._writer, self._workers, self._stopping = writer, workers, stopping
        self._share, self._follows_total = share, follows_total
        self._orders = LoopOrders()
        self._files, self._networks, self._watcher = files, networks, watcher
        spec = writer.spec
        self._goal = spec.goal(stopping.limits.target)
        self._requests = SearchRequests(writer, files, self._goal, engine)
        self._program_key = program_key
        self._keeper = LeaseKeeper(writer.store, writer.lease)
        self._affinity = Affinity(workers.count, workers.lanes)
        self._running: dict[int, RunningTrial] = {}
        self._status = RunStatus(
            total=stopping.limits.trials, workers=[WorkerStatus() for _ in range(workers.count)]
        )
        self._stage = stage
        self._awaits_checkpoints = False
        self._put_back_slots: set[int] = set()
        self._failure: str | None = None
        self._failed_trial: int | None = None
        self._renew_at = self._refresh_at = self._orders_at = 0.0

    def run(self) -> Outcome:
        """Work until nothing is left or a limit ends it. No trial of this loop is RUNNING
        afterwards."""
        with self._keeper:
            self._refresh_status()
            self._networks.remove_released()
            try:
                self._work()
                self._await_checkpoints()
            finally:
                self._put_all_back()
        self._refresh_status()
        return Outcome(
            reason=self._stopping.reason,
            status=self._status,
            put_back=len(self._put_back_slots),
            failure=self._failure,
            failed_trial=self._failed_trial,
        )

    def _work(self) -> None:
        while not self._stopping.at_once:
            self._keeper.hear()
            self._housekeeping()
            self._read_orders()
            self._fill_workers()
            if not self._running and self._is_finished():
                break
            self._handle_all(self._workers.wait(_WAIT_S))
            self._end_overdue()
            self._watcher.changed(self._status)

    def _is_finished(self) -> bool:
        """Whether the search is over, where no trial runs here. Otherwise another loop may yet put
        a trial back."""
        if not self._stopping.no_more and self._has_all_done():
            self._read_orders(now=True)  # the total may have changed since
        return self._stopping.no_more or self._has_all_done()

    def _has_all_done(self) -> bool:
        return all_done(self._writer.store, self._writer.lease, self._status.total)

    # Giving trials to workers

    def _may_train(self) -> int:
        """How many trials may run now."""
        if self._orders.paused:
            return 0
        return self._workers.count if self._share is None else self._share()

    def _fill_workers(self) -> None:
        while not self._stopping.no_more and len(self._running) < self._may_train():
            free = self._free_workers()
            if not free:
                return
            in_idle_process = [worker for worker in free if not self._beside(worker)]
            running_slots = frozenset(running.slot.number for running in self._running.values())
            try:
                running = self._writer.begin(
                    free[0], self._status.total, running_slots, may_be_alone=bool(in_idle_process)
                )
                if running is None:
                    return
                # From here on it is put back, whatever goes wrong.
                self._running[free[0]] = running
                self._put_back_slots.discard(running.slot.number)
                self._keeper.hear()
                is_alone = running.slot.alone and bool(in_idle_process)
                self._submit(running, free[0], in_idle_process if is_alone else free)
            except SlotLost:  # this loop was held up for longer than its lease
                if (lost := self._running.pop(free[0], None)) is not None:
                    self._writer.let_go(lost)
                return

    def _free_workers(self) -> list[int]:
        """Those that can be given a trial now. None beside a trial that must be alone."""
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

    def _submit(self, running: RunningTrial, begun_for: int, free: list[int]) -> None:
        """Give the trial to one of the free workers, best to one that has its program. The key is
        known only after sampling, so the trial may be moved to another worker than it began for."""
        request = self._requests.request_for(running)
        key = self._program_key(request)
        worker = self._affinity.choose(free, key)
        if worker != begun_for:
            self._writer.move(running, worker)
            self._running[worker] = self._running.pop(begun_for)
        running.started_at = time.monotonic()
        self._affinity.gave(worker, key)
        self._workers.submit(worker, request)
        attempt = running.slot.attempt
        if attempt > 1:  # somebody may have stopped it while it waited
            self._orders_at = 0.0
        with logging_about(trial=running.number, worker=worker):
            logger.info("trial %d, attempt %d: given to worker %d", running.number, attempt, worker)
        self._status.workers[worker] = WorkerStatus(running.number, epochs=running.epochs)

    # What workers say

    def _handle_all(self, messages: Sequence[tuple[int, Message]]) -> None:
        """In their order. Reports in a row are stored together, so that a loop with many workers
        waits for the database once for all that have reported meanwhile."""
        together: list[tuple[int, Report]] = []
        for worker, message in messages:
            if isinstance(message, Report) and worker in self._running:
                together.append((worker, message))
                if len(together) < _MOST_TOGETHER:
                    continue
            self._handle_reports(together)
            together.clear()
            if not isinstance(message, Report):
                self._handle(worker, message)
        self._handle_reports(together)

    def _handle_reports(self, messages: Sequence[tuple[int, Report]]) -> None:
        if len(messages) < 2:
            for worker, report in messages:
                self._handle(worker, report)
            return
        running_trials = [self._running[worker] for worker, _ in messages]
        reports = [report for _, report in messages]
        answers = self._writer.record_reports(list(zip(running_trials, reports, strict=True)))
        for (worker, report), running, is_pruned in zip(
            messages, running_trials, answers, strict=True
        ):
            if is_pruned is None:
                self._let_go(worker)
                continue
            try:
                decision = self._decide_reported(worker, running, report, is_pruned)
                self._carry_out(worker, running, decision)
            except SlotLost:
                self._let_go(worker)

    def _handle(self, worker: int, message: Message) -> None:
        if isinstance(message, Lost):
            self._affinity.forget(worker)
        running = self._running.get(worker)
        if running is None:
            return  # a worker that was lost while idle has been replaced already
        if isinstance(message, Checkpointed):
            leaves_as = running.leaves_as or TrialEnd.INTERRUPTED
            self._put_back(running, policy.after_checkpoint(leaves_as, self._stopping.reason))
            del self._running[worker]
            self._status.workers[worker] = WorkerStatus()
            return
        try:
            self._carry_out(worker, running, self._decide(worker, running, message))
        except SlotLost:
            self._let_go(worker)

    def _decide(self, worker: int, running: RunningTrial, message: TrialMessage) -> Decision:
        """What is done about a message, after its facts are in SQL."""
        trial = running.so_far
        match message:
            case Resumed():
                self._writer.record_resumption(running, message.epoch)
                return Decision(GO_ON)
            case Suggest():
                return Decision(self._writer.suggest(running, message))
            case Noted():
                self._writer.note(running, message)
                return Decision(GO_ON)
            case Report():
                return self._decide_after_report(worker, running, message)
            case Ended():
                return self._decide_after_training(running, message)
            case Saved():
                return policy.after_saving(trial, message.artifact)
            case Failed():
                return self._decide_after_failure(running, message)
            case Lost():
                losses = self._writer.count_losses(running)
                return policy.after_loss(message, trial, earlier_losses=losses)

    def _decide_after_report(self, worker: int, running: RunningTrial, report: Report) -> Decision:
        is_pruned = self._writer.record_report(running, report)
        return self._decide_reported(worker, running, report, is_pruned)

    def _decide_reported(
        self, worker: int, running: RunningTrial, report: Report, is_pruned: bool
    ) -> Decision:
        status = self._status.workers[worker]
        status.epoch, status.value = report.epoch, running.pruning.best
        decision = policy.after_report(
            report,
            running.so_far,
            is_pruned=is_pruned,
            search_is_stopping=self._awaits_checkpoints or self._orders.paused,
            is_stopped=running.slot.number in self._orders.stopped_slots,
            is_surplus=self._has_surplus(),
        )
        if decision.reply == policy.STOP_WITH_CHECKPOINT:
            running.leaves_as = TrialEnd.PAUSED if self._orders.paused else TrialEnd.YIELDED
        return decision

    def _has_surplus(self) -> bool:
        """Whether more trials run than may, without those that are about to leave. A function that
        trains by itself may keep no checkpoint: its trials are left to end."""
        if self._writer.spec.function_kind.trains:
            return False
        staying = sum(running.leaves_as is None for running in self._running.values())
        return staying > self._may_train()

    def _decide_after_training(self, running: RunningTrial, ended: Ended) -> Decision:
        name = None
        can_be_saved = policy.has_score(ended) and bool(ended.network)
        if can_be_saved and self._networks.keeps(running.trial_id, ended.score):
            running.ended = ended
            name = self._files.network(running.number, running.slot.attempt, ended.network)
        return policy.after_training(ended, save_to=name)

    def _decide_after_failure(self, running: RunningTrial, failure: Failed) -> Decision:
        decision = policy.after_failure(failure, running.so_far)
        if decision.ending is not None and decision.ending.fate is Fate.FAILED:
            self._failure = f"trial {running.number}: {failure.message}"
            self._failed_trial = running.number
        return decision

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

    # How trials end

    def _carry_out(self, worker: int, running: RunningTrial, decision: Decision) -> None:
        if decision.reply is not None:
            self._workers.reply(worker, decision.reply)
        if decision.ending is not None:
            self._end_trial(worker, running, decision.ending)

    def _end_trial(self, worker: int, running: RunningTrial, ending: Ending) -> None:
        self._writer.end(running, ending)
        is_best = False
        if ending.fate.takes_slot:
            is_best = self._count_done(running, ending)
        elif ending.fate is Fate.FAILED:
            self._stopping.trial_failed()
        if ending.fate is not Fate.PUT_BACK:
            self._files.forget(running.number)
            self._networks.trial_ended(has_saved=ending.model is not None)
        self._leave(worker, ending.end, ending.shown_value, is_best)

    def _count_done(self, running: RunningTrial, ending: Ending) -> bool:
        """A trial has taken its slot; whether it is the new best one."""
        value, status = ending.shown_value, self._status
        is_best = ending.fate is Fate.COMPLETE and self._is_best(running, value)
        if is_best:
            status.best, status.best_trial = value, running.number
        status.done += 1
        status.done_here += 1
        reaches_target = ending.fate is Fate.COMPLETE and self._goal.reached(value)
        self._stopping.trial_done(is_best, reaches_target)
        return is_best

    def _leave(
        self, worker: int, end: TrialEnd, value: float | None = None, is_best: bool = False
    ) -> None:
        """The worker is free again."""
        running = self._running.pop(worker)
        self._status.workers[worker] = WorkerStatus()
        self._status.ended[end] = self._status.ended.get(end, 0) + 1
        with logging_about(trial=running.number, worker=worker):
            logger.info("trial %d ended: %s, score %s", running.number, end, value)
        self._watcher.trial_ended(self._status, running.number, end, value, is_best)

    def _let_go(self, worker: int) -> None:
        """Another loop has the trial now: this one must write nothing of it."""
        self._writer.let_go(self._running[worker])
        self._restart(worker)
        self._leave(worker, TrialEnd.TAKEN_OVER)

    def _restart(self, worker: int) -> None:
        self._workers.restart(worker)
        self._affinity.forget(worker)

    def _end_overdue(self) -> None:
        """End trials past the time limit for one, whatever their workers are doing."""
        limit_s = self._stopping.limits.trial_timeout_s
        if limit_s is None:
            return
        latest = time.monotonic() - limit_s
        overdue = [w for w, running in self._running.items() if running.started_at < latest]
        in_company = {worker for worker in overdue if self._beside(worker)}
        # One worker of each process that has to end: those beside it are reported as lost.
        for worker in {worker // self._workers.lanes: worker for worker in overdue}.values():
            self._restart(worker)
        for worker in overdue:
            running = self._running[worker]
            ending = policy.after_time_limit(
                running.so_far, limit_s, shares_process=worker in in_company
            )
            try:
                self._end_trial(worker, running, ending)
            except SlotLost:
                self._leave(worker, TrialEnd.TAKEN_OVER)

    # How the search ends

    def _await_checkpoints(self) -> None:
        """Running trials go on to the end of their epoch and write a checkpoint, so that their next
        attempts lose nothing. Those that take too long are put back as they are."""
        reason = self._stopping.reason
        if not self._running or reason is None or not reason.awaits_checkpoints:
            return
        self._stage(
            f"waiting for the running epochs to end, at most {CHECKPOINT_WAIT_S:.0f} s "
            "(Ctrl-C again stops now)"
        )
        self._awaits_checkpoints = True
        until = time.monotonic() + CHECKPOINT_WAIT_S
        while self._running and not self._stopping.hurried:
            if (left := until - time.monotonic()) <= 0:
                return
            self._keeper.hear()
            self._handle_all(self._workers.wait(min(_WAIT_S, left)))

    def _put_all_back(self) -> None:
        # Workers end first: none may send what would be written after its trial was given away.
        self._workers.close()
        with contextlib.ExitStack() as last_things:  # each is done, whatever becomes of the others
            last_things.callback(self._end_lease)
            for running in self._running.values():
                ending = policy.after_stop(running.so_far, self._stopping.reason)
                last_things.callback(self._put_back, running, ending)
        self._running.clear()

    def _put_back(self, running: RunningTrial, ending: Ending) -> None:
        # Of a study that was deleted nothing is left to be put back.
        with contextlib.suppress(SlotLost, LeaseLost):
            self._writer.end(running, ending)
            if ending.fate is Fate.PUT_BACK:
                self._put_back_slots.add(running.slot.number)

    def _end_lease(self) -> None:
        self._keeper.stop()
        with contextlib.suppress(StorageError, LeaseLost):
            # A lease that cannot be ended here expires by itself.
            self._writer.close()

    # What is done beside trials

    def _housekeeping(self) -> None:
        """Renew the lease, take over what dead loops left, count what other loops did."""
        clock = time.monotonic()
        self._status.elapsed_s = clock - self._stopping.started
        if clock >= self._renew_at:
            self._renew_at = clock + self._writer.lease.lasts_s / 4
            leases.renew_lease(self._writer.store, self._writer.lease)
            self._release_lost_slots()
            self._writer.repair()
        if clock >= self._refresh_at:
            self._refresh_at = clock + _REFRESH_S
            self._refresh_status()

    def _read_orders(self, now: bool = False) -> None:
        """Read what is asked of the study, and obey it from now on. Twice a second, or `now`."""
        clock = time.monotonic()
        if clock < self._orders_at and not now:
            return
        self._orders_at = clock + _ORDERS_S
        was_paused, lease = self._orders.paused, self._writer.lease
        orders = self._orders = study_control.read_orders(self._writer.store, lease)
        if orders.stop is not None:
            self._stopping.stop(orders.stop)
        if orders.paused and not self._running and lease.daemon_id is not None:
            self._stopping.stop(StopReason.PAUSED)
        limit = self._stopping.limits.trials
        self._status.total = orders.total if self._follows_total else min(limit, orders.total)
        if orders.paused != was_paused:
            self._tell_pause()

    def _tell_pause(self) -> None:
        if not self._orders.paused:
            self._status.note = ""
            self._stage("the study goes on")
            return
        resume = command("study", "resume", in_command(self._writer.study.study_name))
        self._status.note = f"paused; to go on: {resume}"
        self._stage(f"waiting, because the study is paused (to go on: {resume})")

    def _release_lost_slots(self) -> None:
        held = leases.held_slots(self._writer.store, self._writer.lease)
        for worker, running in list(self._running.items()):
            if running.slot.number not in held:
                self._let_go(worker)

    def _refresh_status(self) -> None:
        writer = self._writer
        refresh_status(writer.store, writer.lease, writer.spec, self._status, self._stopping)
