"""What a loop does about its workers' messages: the facts go into SQL, then policy.py decides."""

import logging

from tuner.algorithms.pruners import PRUNERS
from tuner.errors import ArtifactsUnavailable
from tuner.runner import policy
from tuner.runner.assignments import Assignments
from tuner.runner.network_keeping import KeptNetworks
from tuner.runner.orders import Orders
from tuner.runner.policy import GO_ON, Decision
from tuner.runner.progress import RunStatus
from tuner.runner.study_files import TrialFiles
from tuner.runner.trial_writer import RunningTrial, TrialWriter
from tuner.study.ends import Fate, TrialEnd
from tuner.study.messages import Ended, Event, Failed, Lost, Noted, Report, Resumed, Saved, Suggest

# What workers say of a trial that goes on, or ends by itself.
TrialMessage = Event | Saved | Failed | Lost
log = logging.getLogger(__name__)


class Decisions:
    """Decides for one loop. `awaits_checkpoints`: the search stops, and trials leave behind their
    epoch. `failure`: the last error of the user's code, of the trial `failed_trial`."""

    def __init__(
        self,
        writer: TrialWriter,
        assignments: Assignments,
        orders: Orders,
        files: TrialFiles,
        networks: KeptNetworks,
        status: RunStatus,
    ) -> None:
        self._writer, self._assignments, self._orders = writer, assignments, orders
        self._files, self._networks, self._status = files, networks, status
        self._pauses = PRUNERS[writer.spec.pruner.name].pauses
        self.awaits_checkpoints = False
        self.failure: str | None = None
        self.failed_trial: int | None = None

    def decide(self, worker: int, running: RunningTrial, message: TrialMessage) -> Decision:
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
        return self.after_recorded(worker, running, report, is_pruned)

    def after_recorded(
        self, worker: int, running: RunningTrial, report: Report, is_pruned: bool
    ) -> Decision:
        """What is done about a report that is in SQL. `is_pruned`: what the pruner says, which may
        mean that it pauses the trial."""
        is_paused = is_pruned and self._pauses
        status = self._status.workers[worker]
        status.epoch, status.value = report.epoch, running.pruning.best
        decision = policy.after_report(
            report,
            running.so_far,
            is_pruned=is_pruned and not self._pauses,
            search_is_stopping=self.awaits_checkpoints or self._orders.paused,
            is_stopped=self._orders.stops_trial(running.slot.number),
            is_surplus=self._has_surplus(),
            is_paused=is_paused,
        )
        if decision.reply == policy.STOP_WITH_CHECKPOINT:
            running.leaves_as = self._why_it_leaves(is_paused)
        return decision

    def _why_it_leaves(self, is_paused: bool) -> TrialEnd:
        if is_paused:
            return TrialEnd.AT_RUNG
        return TrialEnd.PAUSED if self._orders.paused else TrialEnd.YIELDED

    def _has_surplus(self) -> bool:
        """Whether more trials run than may, without those that are about to leave. A function that
        trains by itself may keep no checkpoint: its trials are left to end."""
        if self._writer.spec.function_kind.trains:
            return False
        return self._assignments.surplus(self._orders.may_train())

    def _decide_after_training(self, running: RunningTrial, ended: Ended) -> Decision:
        name = None
        can_be_saved = policy.has_score(ended) and bool(ended.network)
        if can_be_saved and self._networks.keeps(running.trial_id, ended.score):
            running.ended = ended
            name = self._files.network(running.number, running.slot.attempt, ended.network)
        return policy.after_training(ended, save_to=name)

    def _decide_after_failure(self, running: RunningTrial, failure: Failed) -> Decision:
        decision = policy.after_failure(failure, running.so_far)
        if running.ended is not None:
            reason = failure.message.removeprefix(f"{ArtifactsUnavailable.__name__}: ")
            log.warning(
                "the network of trial %d is not saved (%s); its score counts",
                running.number,
                reason,
            )
        if decision.ending is not None and decision.ending.fate is Fate.FAILED:
            self.failure = f"trial {running.number}: {failure.message}"
            self.failed_trial = running.number
        return decision
