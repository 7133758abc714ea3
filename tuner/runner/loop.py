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
from tuner.runner.assignments import Assignments
from tuner.runner.decisions import Decisions
from tuner.runner.network_keeping import KeptNetworks
from tuner.runner.orders import Orders
from tuner.runner.policy import Decision, Ending
from tuner.runner.populations import GenerationFiles
from tuner.runner.progress import RunStatus, Watcher, WorkerStatus, all_done, refresh_status
from tuner.runner.promoting import Promotions
from tuner.runner.requests import SearchRequests
from tuner.runner.stopping import Stopping
from tuner.runner.study_files import TrialFiles
from tuner.runner.trial_ends import TrialEnds
from tuner.runner.trial_writer import RunningTrial, TrialWriter
from tuner.storage import leases, slots
from tuner.storage.leases import LeaseKeeper
from tuner.storage.study_control import set_total
from tuner.study.ends import Fate, StopReason, TrialEnd
from tuner.study.engines import Engine
from tuner.study.messages import (
    Checkpointed,
    Lost,
    Message,
    Report,
    TrialRequest,
)
from tuner.system.logs import logging_about
from tuner.workers import Workers

logger = logging.getLogger(__name__)
_WAIT_S = 0.2
_REFRESH_S = 2.0
# To begin a thousand trials takes half a minute: what workers say is heard after so many.
_MOST_BEGUN = 32
# So many reports at most are stored in one transaction: the first of them waits for the last.
_MOST_TOGETHER = 16
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
        self._files, self._networks, self._watcher = files, networks, watcher
        spec = writer.spec
        self._goal = spec.goal(stopping.limits.target)
        kept = GenerationFiles(writer.generations, files, writer.store, writer.lease)
        self._generation_files = kept
        self._requests = SearchRequests(writer, kept, self._goal, engine)
        self._program_key = program_key
        self._keeper = LeaseKeeper(writer.store, writer.lease)
        self._assignments = Assignments(workers)
        self._running = self._assignments.running
        self._status = RunStatus(total=stopping.limits.trials)
        self._status.show_workers(workers.count)
        self._stage = stage
        status, given = self._status, self._assignments
        share = share or (lambda: workers.count)
        self._orders = Orders(writer, stopping, status, stage, share, follows_total)
        self._decisions = Decisions(writer, given, self._orders, files, networks, status)
        self._ends = TrialEnds(writer, given, stopping, kept, networks, watcher, status, self._goal)
        self._promotions = Promotions(writer, self._ends.paused_ended)
        self._put_back_slots: set[int] = set()
        self._is_exhausted = False
        self._renew_at = self._refresh_at = 0.0

    def run(self) -> Outcome:
        """Work until nothing is left or a limit ends it. No trial of this loop is RUNNING
        afterwards."""
        with self._keeper:
            self._refresh_status()
            self._networks.remove_released()
            try:
                self._work()
                self._await_checkpoints()
                self._generation_files.forget_last()
            finally:
                self._put_all_back()
        self._refresh_status()
        return Outcome(
            reason=self._stopping.reason,
            status=self._status,
            put_back=len(self._put_back_slots),
            failure=self._decisions.failure,
            failed_trial=self._decisions.failed_trial,
        )

    def _work(self) -> None:
        while not self._stopping.at_once:
            self._keeper.hear()
            self._housekeeping()
            self._orders.read(is_idle=not self._running)
            self._status.show_workers(self._workers.count)
            has_more = self._fill_workers()
            if not self._running and self._is_finished():
                break
            self._handle_all(self._workers.wait(0.0 if has_more else _WAIT_S))
            self._ends.end_overdue()
            self._watcher.changed(self._status)

    def _is_finished(self) -> bool:
        """Whether the search is over, where no trial runs here. Otherwise another loop may yet put
        a trial back."""
        if not self._stopping.no_more and self._has_all_done():
            # The total may have changed since.
            self._orders.read(is_idle=not self._running, now=True)
        if self._stopping.no_more:
            return True
        # Before paused trials are ended: with fewer slots to come, more of them may go on.
        self._is_exhausted = self._has_tried_all() or self._is_exhausted
        self._promotions.end_last(self._status.total)
        if not self._has_all_done() and not self._has_only_surplus():
            return False
        if self._is_exhausted:
            self._stopping.stop(StopReason.EXHAUSTED)
        return True

    def _has_all_done(self) -> bool:
        return all_done(self._writer.store, self._writer.lease, self._status.total)

    def _has_only_surplus(self) -> bool:
        """Whether no trial will ever take the slots that are left. They cannot go where later ones
        have trials: one had failed, and its configuration was imported then."""
        store, lease = self._writer.store, self._writer.lease
        return self._is_exhausted and not slots.has_unfinished(store, lease)

    def _has_tried_all(self) -> bool:
        """Whether every configuration of the space has its trial, and slots are left that no trial
        will ever take. The study's total is lowered then."""
        store, lease = self._writer.store, self._writer.lease
        states = slots.slot_counts(store, lease)
        is_waited_for = "claimed" in states or "open" not in states
        if is_waited_for or self._orders.paused or not self._writer.has_tried_all():
            return False
        self._status.total = set_total(store, lease, slots.count_spoken_for(store, lease))
        return True

    # Giving trials to workers

    def _fill_workers(self) -> bool:
        """Give trials to free workers, but not to many at once; whether there may be more to
        give."""
        for _ in range(_MOST_BEGUN):
            if self._stopping.no_more or len(self._running) >= self._orders.may_train():
                return False
            free = self._assignments.free()
            if not free or not self._begin_trial(free):
                return False
        return True

    def _begin_trial(self, free: list[int]) -> bool:
        """Give a trial to one of these workers; whether there was one to begin."""
        in_idle_process = [worker for worker in free if not self._assignments.beside(worker)]
        running_slots = frozenset(running.slot.number for running in self._running.values())
        try:
            running = self._writer.begin(
                free[0],
                self._status.total,
                running_slots,
                may_be_alone=bool(in_idle_process),
                place=self._workers.place(free[0]),
                promoted=self._promotions.next_trial(self._status.total),
            )
            if running is None:
                return False
            # From here on it is put back, whatever goes wrong.
            self._running[free[0]] = running
            self._put_back_slots.discard(running.slot.number)
            self._keeper.hear()
            is_alone = running.slot.alone and bool(in_idle_process)
            self._submit(running, free[0], in_idle_process if is_alone else free)
        except SlotLost:  # this loop was held up for longer than its lease
            if (lost := self._running.pop(free[0], None)) is not None:
                self._writer.let_go(lost)
            return False
        return True

    def _submit(self, running: RunningTrial, begun_for: int, free: list[int]) -> None:
        """Give the trial to one of the free workers, best to one that has its program. The key is
        known only after sampling, so the trial may be moved to another worker than it began for."""
        request = self._requests.request_for(running)
        key = self._program_key(request)
        worker = self._assignments.choose(free, key)
        if worker != begun_for:
            self._writer.move(running, worker, self._workers.place(worker))
            self._running[worker] = self._running.pop(begun_for)
        running.started_at = time.monotonic()
        self._assignments.gave(worker, key)
        self._workers.submit(worker, request)
        attempt = running.slot.attempt
        if attempt > 1:  # somebody may have stopped it while it waited
            self._orders.read_soon()
        with logging_about(trial=running.number, worker=worker):
            logger.info("trial %d, attempt %d: given to worker %d", running.number, attempt, worker)
        self._status.workers[worker] = WorkerStatus(running.number, epochs=running.epochs)
        self._status.show_place(worker, self._workers.place(worker))

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
                self._ends.let_go(worker)
                continue
            try:
                decision = self._decisions.after_recorded(worker, running, report, is_pruned)
                self._carry_out(worker, decision)
            except SlotLost:
                self._ends.let_go(worker)

    def _handle(self, worker: int, message: Message) -> None:
        if isinstance(message, Lost):
            self._assignments.forget_programs(worker)
            self._status.show_place(worker, None)
        running = self._running.get(worker)
        if running is None:
            return  # a worker that was lost while idle has been replaced already
        if isinstance(message, Checkpointed):
            ending = self._after_checkpoint(running)
            self._put_back(running, ending)
            if ending.fate is Fate.PAUSED:
                self._ends.count_paused(running, ending.shown_value)
            del self._running[worker]
            self._status.workers[worker] = WorkerStatus()
            return
        try:
            self._carry_out(worker, self._decisions.decide(worker, running, message))
        except SlotLost:
            self._ends.let_go(worker)

    def _after_checkpoint(self, running: RunningTrial) -> Ending:
        leaves_as = running.leaves_as or TrialEnd.INTERRUPTED
        return policy.after_checkpoint(leaves_as, self._stopping.reason, running.pruning.best)

    def _carry_out(self, worker: int, decision: Decision) -> None:
        if decision.reply is not None:
            self._workers.reply(worker, decision.reply)
        if decision.ending is not None:
            self._ends.end(worker, decision.ending)

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
        self._decisions.awaits_checkpoints = True
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
            self._promotions.end_stopped()

    def _release_lost_slots(self) -> None:
        held = leases.held_slots(self._writer.store, self._writer.lease)
        for worker, running in list(self._running.items()):
            if running.slot.number not in held:
                self._ends.let_go(worker)

    def _refresh_status(self) -> None:
        writer = self._writer
        refresh_status(writer.store, writer.lease, writer.spec, self._status, self._stopping)
