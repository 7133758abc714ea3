"""One trial of a loop, from its slot to its end. All writes of a trial are here.

Every change of a trial's state is one transaction with our rows: RUNNING with the attempt, an end
with the attempt's record and the slot. A loop that dies leaves no half of it. A loop whose trial
was taken over may write neither (SlotLost).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial

from tuner.algorithms.distributions import optuna_distribution
from tuner.algorithms.pruners import PRUNERS
from tuner.algorithms.samplers import SAMPLERS
from tuner.errors import LeaseLost, SlotLost
from tuner.runner.policy import Ending, TrialSoFar
from tuner.runner.populations import Generations
from tuner.runner.proposals import Proposals
from tuner.runner.pruning import TrialPruning
from tuner.search_space.parameter_types import Params, read_whole
from tuner.storage import attempt_rows, leases, paused_slots, slots, transaction_hooks
from tuner.storage.attempt_rows import AttemptEnd
from tuner.storage.frozen_trials import OrderedCache
from tuner.storage.leases import Lease, LeaseKeeper
from tuner.storage.optuna_storage import is_missing, tell_trial
from tuner.storage.slots import TrialSlot
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.storage.transaction_hooks import DeferredWrites, SlotChange
from tuner.storage.trial_beginning import begin_trial
from tuner.study.ends import MOST_LOSSES, Fate, TrialEnd
from tuner.study.messages import Ended, Noted, Reply, Report, Suggest, WorkerPlace
from tuner.study.spec import StudySpec


@dataclass
class RunningTrial:
    """A trial that a worker is training. `started_at`: by the loop's clock, in seconds. `ended`:
    how its training ended, while its network is being saved. `leaves_as`: how its attempt will have
    ended, once it was asked to write a checkpoint and stop. `epochs`: those that it may train, with
    those that it goes on from; None where that is not known."""

    slot: TrialSlot
    trial: optuna.Trial
    params: Params
    pruning: TrialPruning
    epochs: int | None = None
    started_at: float = 0.0
    last_report: Report | None = None
    ended: Ended | None = None
    leaves_as: TrialEnd | None = None

    @property
    def number(self) -> int:
        return self.trial.number

    @property
    def trial_id(self) -> int:
        return self.trial._trial_id

    @property
    def so_far(self) -> TrialSoFar:
        return TrialSoFar(self.epochs, self.pruning.best, self.ended)


class TrialWriter:
    """Begins and ends trials in SQL for one loop. `study`: with its sampler and pruner."""

    def __init__(self, store: Store, study: optuna.Study, spec: StudySpec, lease: Lease) -> None:
        self.store, self.study, self.spec, self.lease = store, study, spec, lease
        store.optuna.fence = lambda connection, *trial_ids: slots.hold(
            connection, lease, *trial_ids
        )
        store.optuna.study_fence = lambda connection, study_id: leases.check_study(
            connection, lease, study_id
        )
        self._sampler = SAMPLERS[spec.sampler.name]
        self._configurations = spec.space.configurations() if self._sampler.lists else []
        # Optuna's own cache of trials does not know which of them run here.
        if not isinstance(study._storage, OrderedCache):
            pauses = PRUNERS[spec.pruner.name].pauses
            study._storage = OrderedCache(store.optuna, shows_paused=pauses)
        self._trials = study._storage
        self._proposals = Proposals(store.optuna, study, self._trials, spec, lease)
        is_population = spec.generation_epochs is not None
        self.generations = Generations(self._trials, spec, lease) if is_population else None

    def begin(
        self,
        worker: int,
        limit: int,
        running_slots: frozenset[int] | None = None,
        may_be_alone: bool = True,
        place: WorkerPlace | None = None,
        promoted: int | None = None,
    ) -> RunningTrial | None:
        """Claim a slot numbered at most `limit` and start its trial; None when there is none to
        start now. `running_slots`: the numbers of the slots whose trials this loop is running.
        `may_be_alone`: whether a process is idle, for a trial that must share it with no other.
        `place`: of the worker. `promoted`: the id of a paused trial that goes on before a new one
        begins. Raises SlotLost."""
        proposed = None if self.generations is None else self.generations.propose()
        begun = begin_trial(
            self.store,
            self.lease,
            limit,
            running_slots,
            may_be_alone,
            worker,
            self._fixed_params if proposed is None else lambda _slot: proposed.attributes,
            place,
            self._proposals.room() if proposed is None else proposed.room,
            promoted,
        )
        if begun is None:
            return None
        slot = begun.slot
        if begun.trial is None:
            self._settle(slot)
            return None
        self._trials.begin_own(self.lease.study_id, begun.trial)
        trial, params = self._proposals.sample(begun.trial)
        reported = -1 if begun.trial.last_step is None else begun.trial.last_step
        epochs = _epochs(params)
        if self.generations is not None:
            epochs = self.generations.last_epoch(begun.trial)
        pruning = TrialPruning(self.spec, trial, epochs, reported)
        return RunningTrial(slot, trial, params, pruning, epochs)

    def has_tried_all(self) -> bool:
        """Whether every configuration of the space has its trial, and none of them waits."""
        room = self._proposals.room()
        if room is None or room.left:
            return False
        return not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def move(self, running: RunningTrial, worker: int, place: WorkerPlace | None = None) -> None:
        """Another worker trains the trial than it was begun for. Raises SlotLost."""
        attempt_rows.move(self.store, self.lease, running.slot, worker, place)

    def _fixed_params(self, slot: TrialSlot) -> dict[str, Any]:
        """The attributes by which Optuna gives a new trial the configuration of its slot. The
        slot's number decides, not the trial's: a failed trial has a number too, and leaves its slot
        to another one."""
        if not self._configurations:
            return {}
        number = (slot.number - 1) % len(self._configurations)
        return {"fixed_params": dict(self._configurations[number])}

    def record_report(self, running: RunningTrial, report: Report) -> bool:
        """Store a report; whether the trial should be pruned. Raises SlotLost."""
        trial_id = running.trial_id
        with _owning(trial_id), self.store.optuna.one_transaction(trial_id) as writes:
            return self._add_report(writes, running, report)

    def record_reports(self, reported: Sequence[tuple[RunningTrial, Report]]) -> list[bool | None]:
        """The same for reports of different trials, in one transaction; None for a trial whose slot
        is lost."""
        with self.store.optuna.collecting(*(running.trial_id for running, _ in reported)) as writes:
            answers = [self._add_report(writes, running, report) for running, report in reported]
        try:
            self.store.optuna.write_deferred(*writes.values())
            return list(answers)
        except (SlotLost, UpdateFinishedTrialError, KeyError):
            # That one may not be written must not keep the others from it.
            alone = zip(reported, writes.values(), answers, strict=True)
            return [
                answer if self._write_alone(running, deferred) else None
                for (running, _), deferred, answer in alone
            ]

    def _add_report(
        self, writes: Mapping[int, DeferredWrites], running: RunningTrial, report: Report
    ) -> bool:
        row = attempt_rows.report_row(running.slot, report)
        writes[running.trial_id].own_reports.append(row)
        running.last_report = report
        return running.pruning.should_prune(report)

    def _write_alone(self, running: RunningTrial, deferred: DeferredWrites) -> bool:
        """Write what was collected of one trial; whether the loop still holds its slot."""
        try:
            with _owning(running.trial_id):
                self.store.optuna.write_deferred(deferred)
        except SlotLost:
            return False
        return True

    def suggest(self, running: RunningTrial, suggest: Suggest) -> Reply:
        """The value of a parameter of a trial that defines its own space, stored with the trial
        before the trial may use it: its next attempt gets the same. Raises SlotLost."""
        with _owning(running.trial_id):
            try:
                distribution = optuna_distribution(suggest.distribution)
                value = running.trial._suggest(suggest.name, distribution)
            except (ValueError, TypeError) as error:  # what the trial asks for cannot be
                return Reply(problem=str(error).rstrip("."))
        return Reply(value=value)

    def note(self, running: RunningTrial, noted: Noted) -> None:
        """Keep what a trial's own code says of itself. Raises SlotLost."""
        with (
            _owning(running.trial_id),
            self.store.optuna.one_transaction(running.trial_id),
        ):
            for name, value in noted.attributes.items():
                running.trial.set_user_attr(name, value)
            for name, number in noted.constraints.items():
                running.trial.set_constraint(name, number)

    def record_resumption(self, running: RunningTrial, epoch: int) -> None:
        """The trial goes on after this many epochs of an earlier attempt. Raises SlotLost."""
        slot = running.slot
        attempt_rows.resume(self.store, self.lease, slot, epoch)
        reports = attempt_rows.read_reports(self.store, self.lease, running.trial_id, slot.attempt)
        for report in reports:
            if self.spec.metric in report.metrics:
                running.pruning.remember(report.metrics[self.spec.metric], report.whole)

    def count_losses(self, running: RunningTrial) -> int:
        """How many attempts of the trial were lost before this one."""
        return slots.count_losses(self.store, self.lease, running.trial_id)

    def end(self, running: RunningTrial, ending: Ending) -> None:
        """End the attempt, and the trial where it does not go on. Raises SlotLost."""
        try:
            if ending.fate is Fate.PUT_BACK:
                self._put_back(running, ending, slots.put_back)
            elif ending.fate is Fate.PAUSED:
                self._put_back(running, ending, slots.pause)
            else:
                if ending.fate is Fate.FAILED and self._sampler.repeats_failed:
                    self._queue_again(running)
                self._tell(running, ending)
        finally:
            self._trials.end_own(running.trial_id)

    def let_go(self, running: RunningTrial) -> None:
        """Another loop has the trial: sampler and pruner see of it what that one writes."""
        self._trials.end_own(running.trial_id)

    def _queue_again(self, running: RunningTrial) -> None:
        """Queue the trial's configuration as a new trial. Before its slot is free: another loop
        that finds the slot free and nothing queued would take a point at random."""
        point = self._trials.get_trial(running.trial_id).params
        queued = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if all(trial.system_attrs.get("fixed_params") != point for trial in queued):
            self.store.optuna.create_trial(
                self.lease.study_id,
                create_trial(
                    state=TrialState.WAITING,
                    system_attrs={"fixed_params": point},
                    user_attrs={"retry_of": running.number},
                ),
                hook=transaction_hooks.check_slot(self.lease, running.trial_id),
            )

    def _put_back(self, running: RunningTrial, ending: Ending, change: SlotChange) -> None:
        hook = transaction_hooks.end_attempt(
            self.store, self.lease, running.slot, _attempt_end(running, ending), change
        )
        with _owning(running.trial_id):
            self.store.optuna.set_trial_state(running.trial_id, TrialState.WAITING, hook=hook)

    def _tell(self, running: RunningTrial, ending: Ending) -> None:
        """End the trial for Optuna. A pruned one keeps its last report, the running best, as its
        value."""
        trial_id, ended = running.trial_id, ending.training
        change = slots.finish if ending.fate.takes_slot else slots.free
        hook = transaction_hooks.end_attempt(
            self.store, self.lease, running.slot, _attempt_end(running, ending), change
        )
        is_complete = ended is not None and ending.fate is Fate.COMPLETE
        with _owning(trial_id), self.store.optuna.one_transaction(trial_id):
            if ended is not None and ending.end is TrialEnd.EARLY_STOPPED:
                running.pruning.fill_rungs(ended)
            if ending.fate is Fate.INFEASIBLE:
                running.trial.set_constraint("feasible", 1.0)
            self._describe(running, ending)
            tell_trial(
                self.study,
                trial_id,
                TrialState[ending.fate.optuna_state],
                (ended.values or ended.score) if is_complete and ended is not None else None,
                hook=hook,
            )

    def end_paused(self, slot: TrialSlot, end: TrialEnd) -> tuple[int, float]:
        """End a trial that waits at a rung, whose slot this loop has claimed: its last report, the
        running best, is its score. Returns the trial's number and score. Raises SlotLost."""
        assert slot.trial_id is not None
        with _owning(slot.trial_id):
            trial = self.store.optuna.get_trial(slot.trial_id)
            score = trial.intermediate_values[trial.last_step or 0]
            hook = paused_slots.end_paused(self.store, self.lease, slot, end, score)
            with self.store.optuna.one_transaction(slot.trial_id):
                self.store.optuna.set_trial_user_attr(slot.trial_id, "end", str(end))
                state = TrialState.PRUNED
                self.store.optuna.set_trial_state(slot.trial_id, state, [score], hook=hook)
        return int(trial.number), score

    def _describe(self, running: RunningTrial, ending: Ending) -> None:
        """What Optuna's dashboard shows of a trial's end."""
        running.trial.set_user_attr("end", str(ending.end))
        if ending.training is not None:
            running.trial.set_user_attr("best_epoch", ending.training.best_epoch)
            running.trial.set_user_attr("parameter_count", ending.training.parameter_count)

    def repair(self) -> "Repaired":
        """Take over what dead loops left: their trials are put back, or made infeasible when they
        were lost too often. RUNNING trials without a slot, which no loop began, fail."""
        orphans = slots.take_over_orphans(self.store, self.lease)
        settled = sum(self._settle_if_ours(slot) for slot in orphans)
        failed = self._fail_unbound()
        return Repaired(settled, failed, slots.close_strays(self.store, self.lease))

    def close(self) -> None:
        """The loop writes no more: its lease ends. Raises StorageError."""
        self.store.optuna.fence = self.store.optuna.study_fence = None
        self.store.optuna.outlining = None
        leases.renew_lease(self.store, self.lease, lasts_s=0.0)

    def _settle_if_ours(self, slot: TrialSlot) -> bool:
        """Whether the slot was given up. Since this loop took the slot over it may have been held
        up for longer than its lease: then another loop has it."""
        try:
            with _owning(slot.trial_id):
                self._settle(slot)
        except SlotLost:
            return False
        return True

    def _settle(self, slot: TrialSlot) -> None:
        """Give up a slot that this loop holds and does not run. Its trial's state says how."""
        if slot.trial_id is None:
            self.store.write(lambda c: slots.free(c, self.lease, slot))
            return
        state = self.store.optuna.get_trial(slot.trial_id).state
        if state == TrialState.FAIL:
            self.store.write(lambda c: slots.free(c, self.lease, slot))
        elif state.is_finished():
            self.store.write(lambda c: slots.finish(c, self.lease, slot))
        elif state == TrialState.RUNNING and self._is_lost_for_good(slot.trial_id):
            self._give_up(slot, slot.trial_id)
        else:
            # Its loop died while it ended the paused trials.
            change = slots.pause if paused_slots.is_at_rung(self.store, slot) else slots.put_back
            hook = transaction_hooks.release_slot(self.store, self.lease, slot, change)
            self.store.optuna.set_trial_state(slot.trial_id, TrialState.WAITING, hook=hook)

    def _is_lost_for_good(self, trial_id: int) -> bool:
        return slots.count_losses(self.store, self.lease, trial_id) >= MOST_LOSSES

    def _give_up(self, slot: TrialSlot, trial_id: int) -> None:
        trial = optuna.Trial(self.study, trial_id)
        trial.set_user_attr("end", str(TrialEnd.LOST))
        trial.set_constraint("feasible", 1.0)
        hook = transaction_hooks.release_slot(self.store, self.lease, slot, slots.finish)
        tell_trial(self.study, trial_id, TrialState.PRUNED, hook=hook)

    def _fail_unbound(self) -> int:
        unbound = slots.unbound_trials(self.store, self.lease)
        for trial_id in unbound:
            # No slot could show that they are ours to write: the lease must.
            tell_trial(
                self.study,
                trial_id,
                TrialState.FAIL,
                fence=lambda connection, *_: leases.check(connection, self.lease),
                skip_if_finished=True,
            )
        return len(unbound)


def _epochs(params: Params) -> int | None:
    """The most epochs of a trial; None where its function trains by itself, without any."""
    return read_whole(params, "epochs") if "epochs" in params else None


def _attempt_end(running: RunningTrial, ending: Ending) -> AttemptEnd:
    """The record of an attempt: from what training said at its end, or else from the last report.
    What raised has neither."""
    if ending.training is not None or ending.fate is Fate.FAILED:
        return AttemptEnd.of(ending.end, ending.training, ending.detail, ending.model)
    goes_on = ending.fate in (Fate.PUT_BACK, Fate.PAUSED)
    score = None if goes_on else running.pruning.best
    return AttemptEnd.unfinished(ending.end, score, running.last_report, ending.detail)


@dataclass(frozen=True)
class Repaired:
    """`settled`: slots of dead loops that were opened or finished; `failed`: RUNNING trials
    without a slot; `closed`: attempts without an end that nobody was running."""

    settled: int
    failed: int
    closed: int


def repair(store: Store, study: StudyRow) -> Repaired:
    """What each start of `tuner optimize` does first. Loops whose lease holds are left alone."""
    lease = leases.open_lease(store, study, begins_trials=False)
    optuna_study = optuna.load_study(study_name=study.name, storage=store.optuna)
    writer = TrialWriter(store, optuna_study, study.spec, lease)
    try:
        # There may be thousands of trials: the lease has to last until the last one.
        with store.asking_optuna(), LeaseKeeper(store, lease):
            return writer.repair()
    finally:
        writer.close()


def trial_seed(study_seed: int, number: int) -> int:
    """A seed of 31 bits for each trial of a study."""
    digest = hashlib.sha256(f"{study_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


@contextmanager
def _owning(trial_id: int | None) -> Iterator[None]:
    """Optuna refuses to change a trial that has ended: another loop has taken it over. It does not
    know a trial that was deleted with its study."""
    try:
        yield
    except UpdateFinishedTrialError as error:
        raise SlotLost(trial_id) from error
    except KeyError as error:
        if is_missing(error):
            raise LeaseLost from error
        raise
