"""One trial of a loop, from its place to its end. All writes of a trial are here.

The order of writes makes every moment safe to die in. At the beginning: the trial waits, has a
place, runs; so none is ever RUNNING that no place knows. At the end: the attempt's record first,
then Optuna, then the place.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial

from tuner.optimize.pruning import Verdicts
from tuner.spec import StudySpec
from tuner.storage import places, records
from tuner.storage.places import Lease, Place
from tuner.storage.store import Store
from tuner.training.events import Ended, Interval


@dataclass
class Running:
    """A trial that a worker is training."""

    place: Place
    trial: optuna.Trial
    params: dict[str, Any]
    verdicts: Verdicts
    last: Interval | None = None
    ended: Ended | None = None

    @property
    def number(self) -> int:
        return self.trial.number

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

    def begin(self, worker: int, limit: int) -> Running | None:
        """Claim a place and start its trial; None when there is none to start now."""
        place = places.claim(self.store, self.lease, limit)
        if place is None:
            return None
        place = self._with_trial(place)
        trial = self._start(place)
        if trial is None:
            return None
        params: dict[str, Any] = dict(self.spec.space.sample(trial))
        place = places.begin_attempt(self.store, self.lease, place, trial._trial_id, worker)
        judged = self._judged(trial) if place.attempt > 1 else 0
        verdicts = Verdicts(self.spec, trial, int(params["epochs"]), judged)
        return Running(place, trial, params, verdicts)

    def _judged(self, trial: optuna.Trial) -> int:
        return self.store.optuna.get_trial(trial._trial_id).last_step or 0

    def _with_trial(self, place: Place) -> Place:
        """The place with a trial: the one to go on with, or that was queued, or a new one."""
        while place.trial_id is None:
            # Not `Study.ask`: it pops any waiting trial, also one that was put back and has a
            # place of its own, which another loop may be about to start.
            self.study.add_trial(create_trial(state=TrialState.WAITING))
            place = places.bind(self.store, self.lease, place)
        return place

    def _start(self, place: Place) -> optuna.Trial | None:
        """A trial that was put back goes on under its number, with its params. None when it no
        longer waits."""
        assert place.trial_id is not None
        try:
            if not self.store.optuna.set_trial_state_values(place.trial_id, TrialState.RUNNING):
                return None
        except UpdateFinishedTrialError:
            # A loop that had been taken for dead has told it after all.
            self._adopt(place)
            return None
        # As `ask` does, or Optuna's caches would know neither a trial queued by another process
        # nor what began since the last `tell`.
        self.study._thread_local.cached_all_trials = None
        self.study.get_trials(deepcopy=False)
        return optuna.Trial(self.study, place.trial_id)

    def interval(self, running: Running, interval: Interval) -> bool:
        """Record an interval; whether the trial should be pruned."""
        records.record_interval(self.store, running.place, interval)
        running.last = interval
        return running.verdicts.should_prune(interval)

    def complete(
        self,
        running: Running,
        ended: Ended,
        model_path: str | None = None,
        detail: str | None = None,
    ) -> None:
        """The trial ran to its end, or stopped early: its score is told."""
        records.record_end(self.store, running.place, ended.end, ended, detail, model_path)
        if ended.end == "early_stopped":
            running.verdicts.fill(ended)
        self._describe(running, ended.end, ended)
        self.study.tell(running.trial, ended.score)
        places.finish(self.store, running.place)

    def prune(self, running: Running) -> None:
        """The pruner ended the trial; its last report, the running best, stays as its value."""
        best = running.verdicts.best
        last = running.last
        epochs = last.epoch - (not last.whole) if last else 0
        spent = last.seconds if last else {}
        records.record_pruned(self.store, running.place, best, epochs, spent)
        self._describe(running, "pruned")
        self.study.tell(running.trial, state=TrialState.PRUNED)
        places.finish(self.store, running.place)

    def infeasible(
        self, running: Running, end: str, ended: Ended | None = None, detail: str | None = None
    ) -> None:
        """The configuration cannot work. PRUNED with a violated constraint is the one form that
        samplers learn from; they ignore failed trials."""
        records.record_end(self.store, running.place, end, ended=ended, detail=detail)
        self._describe(running, end, ended)
        running.trial.set_constraint("feasible", 1.0)
        self.study.tell(running.trial, state=TrialState.PRUNED)
        places.finish(self.store, running.place)

    def fail(self, running: Running, end: str, detail: str) -> None:
        """An error of code, not of the configuration: its place is free for another trial."""
        records.record_end(self.store, running.place, end, detail=detail)
        self._describe(running, end)
        self.study.tell(running.trial, state=TrialState.FAIL)
        places.free(self.store, running.place)

    def put_back(self, running: Running, end: str) -> None:
        """Leave the trial for a next attempt, here or elsewhere."""
        self.store.optuna.set_trial_state_values(running.trial._trial_id, TrialState.WAITING)
        places.put_back(self.store, running.place, end)

    def losses(self, running: Running) -> int:
        """How many attempts of the trial were lost before this one."""
        return places.count_losses(self.store, running.trial._trial_id)

    def _describe(self, running: Running, end: str, ended: Ended | None = None) -> None:
        """What Optuna's dashboard shows of a trial's end."""
        running.trial.set_user_attr("end", end)
        if ended is not None:
            running.trial.set_user_attr("best_epoch", ended.best_epoch)
            running.trial.set_user_attr("parameter_count", ended.parameter_count)

    def repair(self) -> None:
        """Take over what dead loops left: finished trials keep their places, the others are put
        back. A RUNNING trial that no place knows is none of ours, and failed."""
        for place in places.take_over_orphans(self.store, self.lease):
            self._adopt(place)
        self._fail_unbound()

    def _adopt(self, place: Place) -> None:
        if place.trial_id is None:
            places.free(self.store, place)
            return
        trial = self.store.optuna.get_trial(place.trial_id)
        score = records.final_score(self.store, place)
        if trial.state == TrialState.FAIL:
            places.free(self.store, place)
        elif trial.state.is_finished():
            places.finish(self.store, place)
        elif trial.state == TrialState.RUNNING and score is not None:
            # Its loop died between the record and the telling.
            self.study.tell(trial.number, score)
            places.finish(self.store, place)
        else:
            self.store.optuna.set_trial_state_values(place.trial_id, TrialState.WAITING)
            places.put_back(self.store, place, "lost")

    def _fail_unbound(self) -> None:
        # In this order: what runs by now had its place before.
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        bound = places.bound_trials(self.store, self.lease.study_id)
        for trial in running:
            if trial._trial_id not in bound:
                self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
