"""One trial of a loop, from its place to its end. All writes of a trial are here.

Every change of a trial's state carries our rows in its transaction: RUNNING comes with the attempt,
an end with the attempt's record and the place. So there is no moment to die in that would leave one
without the other; and a loop whose trial was taken over is refused both (SlotLost).
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial

from tuner.algorithms.samplers import SAMPLERS
from tuner.errors import LeaseLost, SlotLost
from tuner.runner.pruning import Verdicts
from tuner.storage import attempt_rows, leases, slots, transaction_hooks
from tuner.storage.attempt_rows import AttemptEnd
from tuner.storage.leases import Lease
from tuner.storage.optuna_storage import is_missing, tell_trial
from tuner.storage.slots import TrialSlot
from tuner.storage.store import Store
from tuner.storage.transaction_hooks import SlotChange
from tuner.study.artifacts import Artifact
from tuner.study.ends import MOST_LOSSES
from tuner.study.messages import Ended, Report
from tuner.study.spec import StudySpec


@dataclass
class Running:
    """A trial that a worker is training. `began`: the loop's clock, in seconds."""

    slot: TrialSlot
    trial: optuna.Trial
    params: dict[str, Any]
    verdicts: Verdicts
    began: float = 0.0
    last: Report | None = None
    ended: Ended | None = None

    @property
    def number(self) -> int:
        return self.trial.number

    @property
    def trial_id(self) -> int:
        return self.trial._trial_id

    @property
    def epochs(self) -> int:
        return int(self.params["epochs"])


def trial_seed(study_seed: int, number: int) -> int:
    """A seed of 31 bits for each trial of a study."""
    digest = hashlib.sha256(f"{study_seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


class TrialBook:
    """Begins and ends trials in SQL for one loop."""

    def __init__(self, store: Store, study: optuna.Study, spec: StudySpec, lease: Lease) -> None:
        self.store, self.study, self.spec, self.lease = store, study, spec, lease
        store.optuna.fence = lambda connection, trial_id: slots.hold(connection, lease, trial_id)
        store.optuna.study_fence = lambda connection, study_id: leases.check_study(
            connection, lease, study_id
        )
        is_listed = SAMPLERS[spec.sampler.name].lists
        self._configurations = spec.space.configurations() if is_listed else []

    def begin(
        self,
        worker: int,
        limit: int,
        known: frozenset[int] | None = None,
        may_be_alone: bool = True,
    ) -> Running | None:
        """Claim a place and start its trial; None when there is none to start now. `known`: the
        numbers of the places whose trials this loop is running. `may_be_alone`: whether there is a
        process for a trial that has to be alone in one. Raises SlotLost."""
        slot = slots.claim(self.store, self.lease, limit, known, may_be_alone)
        if slot is None:
            return None
        if slot.trial_id is None:
            slot = self._with_new_trial(slot)
        trial = self._start(slot, worker)
        if trial is None:
            self._settle(slot)
            return None
        params: dict[str, Any] = dict(self.spec.space.sample(trial))
        judged = self._judged(trial) if slot.attempt else 0
        verdicts = Verdicts(self.spec, trial, int(params["epochs"]), judged)
        return Running(replace(slot, attempt=slot.attempt + 1), trial, params, verdicts)

    def move(self, running: Running, worker: int) -> None:
        """Another worker than it began with trains the trial. Raises SlotLost."""
        attempt_rows.move(self.store, self.lease, running.slot, worker)

    def _judged(self, trial: optuna.Trial) -> int:
        return self.store.optuna.get_trial(trial._trial_id).last_step or 0

    def _with_new_trial(self, slot: TrialSlot) -> TrialSlot:
        # Not `Study.ask`: it pops any waiting trial, also one that was put back and has a place of
        # its own, which another loop may be about to start.
        self.store.optuna.create_trial(
            self.lease.study_id,
            create_trial(state=TrialState.WAITING, system_attrs=self._dealt(slot)),
            hook=transaction_hooks.bind_slot(self.lease, slot),
        )
        return replace(slot, trial_id=slots.bound_trial(self.store, slot))

    def _dealt(self, slot: TrialSlot) -> dict[str, Any]:
        """The attributes by which Optuna gives a new trial the configuration of its place. By the
        place, not by the trial's number: a failed trial has a number too, and leaves its place to
        another one."""
        if not self._configurations:
            return {}
        number = (slot.number - 1) % len(self._configurations)
        return {"fixed_params": dict(self._configurations[number])}

    def _start(self, slot: TrialSlot, worker: int) -> optuna.Trial | None:
        """A trial that was put back goes on under its number, with its params. None when it does
        not wait."""
        assert slot.trial_id is not None
        attempt = replace(slot, attempt=slot.attempt + 1)
        hook = transaction_hooks.begin_attempt(self.store, self.lease, attempt, worker)
        try:
            if not self.store.optuna.set_trial_state(slot.trial_id, TrialState.RUNNING, hook=hook):
                return None
        except UpdateFinishedTrialError:
            return None
        # As `ask` does, or Optuna's caches would know neither a trial queued by another process
        # nor what began since the last `tell`.
        self.study._thread_local.cached_all_trials = None
        self.study.get_trials(deepcopy=False)
        return optuna.Trial(self.study, slot.trial_id)

    def interval(self, running: Running, interval: Report) -> bool:
        """Record an interval; whether the trial should be pruned. Raises SlotLost."""
        with _still_ours(running.trial_id):
            attempt_rows.record_report(self.store, self.lease, running.slot, interval)
            running.last = interval
            return running.verdicts.should_prune(interval)

    def resumed(self, running: Running, epoch: int) -> None:
        """The trial goes on behind so many epochs of an earlier attempt. Raises SlotLost."""
        slot = running.slot
        attempt_rows.resume(self.store, self.lease, slot, epoch)
        for row in attempt_rows.read_reports(
            self.store, self.lease, running.trial_id, slot.attempt
        ):
            if self.spec.metric in row.metrics:
                running.verdicts.recall(row.metrics[self.spec.metric], row.whole)

    def complete(
        self,
        running: Running,
        ended: Ended,
        model: Artifact | None = None,
        detail: str | None = None,
    ) -> None:
        """The trial ran to its end, or stopped early: its score is told. Raises SlotLost."""
        end = AttemptEnd.of(ended.end, ended, detail, model)
        self._tell(running, end, slots.finish, TrialState.COMPLETE, ended)

    def prune(self, running: Running) -> None:
        """The pruner ended the trial; its last report, the running best, stays as its value.
        Raises SlotLost."""
        end = AttemptEnd.unfinished("pruned", running.verdicts.best, running.last)
        self._tell(running, end, slots.finish, TrialState.PRUNED)

    def infeasible(
        self, running: Running, end: str, ended: Ended | None = None, detail: str | None = None
    ) -> None:
        """The configuration cannot work. PRUNED with a violated constraint is the one form that
        samplers learn from; they ignore failed trials. Raises SlotLost."""
        with _still_ours(running.trial_id):
            running.trial.set_constraint("feasible", 1.0)
        best = running.verdicts.best
        how = (
            AttemptEnd.of(end, ended, detail)
            if ended
            else AttemptEnd.unfinished(end, best, running.last, detail)
        )
        self._tell(running, how, slots.finish, TrialState.PRUNED, ended)

    def fail(self, running: Running, end: str, detail: str) -> None:
        """An error of code, not of the configuration: its place is free for another trial, which in
        a grid has the same point. Raises SlotLost."""
        if self.spec.sampler.name == "grid":
            self._queue_again(running)
        self._tell(running, AttemptEnd.of(end, detail=detail), slots.free, TrialState.FAIL)

    def _queue_again(self, running: Running) -> None:
        """Queue the trial's configuration as a new trial. Before its place is free: another loop
        that finds the place free and nothing queued would draw a point at random."""
        point = self.store.optuna.get_trial(running.trial_id).params
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

    def put_back(self, running: Running, end: str, detail: str | None = None) -> None:
        """Leave the trial for a next attempt, here or elsewhere. Raises SlotLost."""
        how = AttemptEnd.unfinished(end, None, running.last, detail)
        hook = transaction_hooks.end_attempt(
            self.store, self.lease, running.slot, how, slots.put_back
        )
        with _still_ours(running.trial_id):
            self.store.optuna.set_trial_state(running.trial_id, TrialState.WAITING, hook=hook)

    def _tell(
        self,
        running: Running,
        end: AttemptEnd,
        then: SlotChange,
        state: TrialState,
        ended: Ended | None = None,
    ) -> None:
        trial_id = running.trial_id
        with _still_ours(trial_id), self.store.optuna.one_transaction(trial_id):
            if ended and state == TrialState.COMPLETE and ended.end == "early_stopped":
                running.verdicts.fill(ended)
            self._describe(running, end.values["end"], ended)
        if self.store.optuna.get_trial(running.trial_id).state != TrialState.RUNNING:
            raise SlotLost(running.trial_id)
        value = ended.score if ended and state == TrialState.COMPLETE else None
        hook = transaction_hooks.end_attempt(self.store, self.lease, running.slot, end, then)
        with _still_ours(running.trial_id):
            tell_trial(self.study, trial_id, state, value, hook=hook)

    def losses(self, running: Running) -> int:
        """How many attempts of the trial were lost before this one."""
        return slots.count_losses(self.store, self.lease, running.trial_id)

    def _describe(self, running: Running, end: str, ended: Ended | None = None) -> None:
        """What Optuna's dashboard shows of a trial's end."""
        running.trial.set_user_attr("end", end)
        if ended is not None:
            running.trial.set_user_attr("best_epoch", ended.best_epoch)
            running.trial.set_user_attr("parameter_count", ended.parameter_count)

    def repair(self) -> "Repaired":
        """Take over what dead loops left: their trials are put back, or told infeasible when they
        have lost too many attempts. A RUNNING trial that no place knows is none of ours, and
        failed."""
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
        """Whether the place was given up. This loop may have been held up since it took the place
        over, for longer than its lease: then another one sees to it."""
        try:
            with _still_ours(slot.trial_id):
                self._settle(slot)
        except SlotLost:
            return False
        return True

    def _settle(self, slot: TrialSlot) -> None:
        """Give a place up that this loop holds and does not run, as its trial's state has it."""
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
            hook = transaction_hooks.release_slot(self.store, self.lease, slot, slots.put_back)
            self.store.optuna.set_trial_state(slot.trial_id, TrialState.WAITING, hook=hook)

    def _is_lost_for_good(self, trial_id: int) -> bool:
        return slots.count_losses(self.store, self.lease, trial_id) >= MOST_LOSSES

    def _give_up(self, slot: TrialSlot, trial_id: int) -> None:
        trial = optuna.Trial(self.study, trial_id)
        trial.set_user_attr("end", "lost")
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
                fence=lambda connection, _trial_id: leases.check(connection, self.lease),
                skip_if_finished=True,
            )
        return len(unbound)


@dataclass(frozen=True)
class Repaired:
    """`settled`: places of dead loops that were opened or finished; `failed`: RUNNING trials
    without a place; `closed`: attempts without an end that nobody was running."""

    settled: int
    failed: int
    closed: int


@contextmanager
def _still_ours(trial_id: int | None) -> Iterator[None]:
    """Optuna refuses to change a trial that someone else has told: for us it was taken over. One
    that it does not know any more was deleted, and its study with it."""
    try:
        yield
    except UpdateFinishedTrialError as error:
        raise SlotLost(trial_id) from error
    except KeyError as error:
        if is_missing(error):
            raise LeaseLost from error
        raise
