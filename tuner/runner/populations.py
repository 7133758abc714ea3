"""Generations of a loop's study: what the next trial goes on from, and which checkpoints are kept.

A study whose sampler trains a population has a trial for each generation of each member. Where a
trial stands is written in the transaction that begins it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuner.algorithms.population import MemberTrial, Population, PopulationOptions, perturbed
from tuner.runner.study_files import TrialFiles
from tuner.storage import attempt_rows, slots
from tuner.storage.frozen_trials import OrderedCache
from tuner.storage.imported_trials import IMPORTED
from tuner.storage.leases import Lease
from tuner.storage.new_points import Room
from tuner.storage.store import Store
from tuner.study.lineage import PLACE, Lineage, Place, generation_count, make_lineage
from tuner.study.messages import Checkpoints
from tuner.study.spec import StudySpec


@dataclass(frozen=True)
class NewTrial:
    """What the next new trial is given. `attributes`: those that it begins with. `room`: none where
    it has to wait for a trial that runs; and it is decided anew if another one has begun since."""

    attributes: Mapping[str, Any]
    room: Room


class Generations:
    """Those of one loop's study. `trials`: of the study, as the loop knows them."""

    def __init__(self, trials: OrderedCache, spec: StudySpec, lease: Lease) -> None:
        self._cache, self._spec, self._lease = trials, spec, lease
        self._options = PopulationOptions.of(spec.sampler.options)
        assert spec.epochs is not None  # `check_generations` has seen to it
        self._epochs = spec.epochs

    def propose(self) -> NewTrial:
        """The next new trial, as all trials are now."""
        trials = self._stored()
        place = self._population(trials).next_place()
        last_id = max((trial._trial_id for trial in trials.values()), default=-1)
        if place is None:
            return NewTrial({}, Room(0, last_id))
        attributes: dict[str, Any] = {PLACE: place.attribute()}
        if place.parent is not None:
            attributes["fixed_params"] = self._params(trials[place.parent], place)
        return NewTrial(attributes, Room(1, last_id))

    def lineage(self, number: int) -> Lineage:
        """Of the trial of that number, which has begun."""
        trials = self._stored()
        chain = [number]
        while (parent := _place(trials[chain[0]]).parent) is not None:
            chain.insert(0, parent)
        params = [self._spec.space.resolve(trials[each].params) for each in chain[:-1]]
        return make_lineage(chain, params, self._options.interval, self._epochs)

    def last_epoch(self, trial: FrozenTrial) -> int:
        """The trial's last epoch."""
        return min((_place(trial).generation + 1) * self._options.interval, self._epochs)

    def parent(self, number: int) -> tuple[int, int] | None:
        """The number and the id of the trial's parent; None in the first generation."""
        trials = self._stored()
        parent = _place(trials[number]).parent
        return None if parent is None else (parent, trials[parent]._trial_id)

    def without_use(self) -> set[int]:
        """The numbers of the trials that have ended, and that no other will go on from."""
        trials = self._stored()
        needed = self._population(trials).needed()
        return {n for n, trial in trials.items() if trial.state.is_finished()} - needed

    def ended(self) -> set[int]:
        return {n for n, trial in self._stored().items() if trial.state.is_finished()}

    def _stored(self) -> dict[int, FrozenTrial]:
        return {t._number: t for t in self._cache.stored_trials(self._lease.study_id)}

    def _population(self, trials: Mapping[int, FrozenTrial]) -> Population:
        return Population(
            members(trials.values()),
            self._options,
            generation_count(self._options.interval, self._epochs),
            maximize=self._spec.direction == "maximize",
            seed=self._spec.seed,
        )

    def _params(self, parent: FrozenTrial, place: Place) -> dict[str, Any]:
        """The parent's own params, changed if it is another member's."""
        if _place(parent).member_of(parent.number) == place.member:
            return dict(parent.params)
        space, seed = self._spec.space, self._spec.seed
        return perturbed(space, parent.params, place, self._options, seed)


def members(trials: Sequence[FrozenTrial] | Any) -> list[MemberTrial]:
    """The trials that belong to a population, in the order of their numbers. One that was queued is
    a new member of the population of that time."""
    found: list[MemberTrial] = []
    population = 0
    for trial in trials:
        has_place = PLACE in trial.system_attrs
        is_queued = trial.state == TrialState.WAITING and not (has_place or trial.params)
        if trial.state == TrialState.FAIL or is_queued or IMPORTED in trial.system_attrs:
            continue
        place = _place(trial) if has_place else Place(population)
        population = max(population, place.population)
        found.append(MemberTrial(trial.number, place, trial.state.is_finished(), _score(trial)))
    return found


def _place(trial: FrozenTrial) -> Place:
    attribute = trial.system_attrs.get(PLACE)
    return Place() if attribute is None else Place.read(attribute)


def _score(trial: FrozenTrial) -> float | None:
    if trial.state != TrialState.COMPLETE or trial.value is None:
        return None
    return trial.value if math.isfinite(trial.value) else None


@dataclass
class GenerationFiles:
    """The checkpoints of a loop's study whose trials go on from each other's. Nothing is done where
    `generations` is None."""

    generations: Generations | None
    files: TrialFiles
    store: Store
    lease: Lease
    _forgotten: set[int] = field(default_factory=set)

    def checkpoints(self, number: int, attempt: int, known_epochs: int) -> Checkpoints:
        """For an attempt that begins, with those of its parent."""
        return self.files.checkpoints(number, attempt, known_epochs, self._of_parent(number))

    def _of_parent(self, number: int) -> Checkpoints | None:
        if self.generations is None:
            return None
        parent = self.generations.parent(number)
        if parent is None:
            return None
        of_parent, trial_id = parent
        attempts = attempt_rows.read_attempts(self.store, self.lease, trial_id).get(trial_id, [])
        known = attempt_rows.known_epochs(self.store, self.lease, trial_id)
        return self.files.checkpoints(of_parent, len(attempts) + 1, known)

    def forget(self, number: int) -> None:
        """A trial has ended: remove the checkpoints that nothing needs any more. Without
        generations these are its own."""
        if self.generations is None:
            self.files.forget(number)
            return
        self._forget_all(self.generations.without_use())

    def forget_last(self) -> None:
        """Remove what is left of a study in which nothing is left to do."""
        states = slots.slot_counts(self.store, self.lease)
        if self.generations is not None and states.keys() <= {"done"}:
            self._forget_all(self.generations.ended())

    def _forget_all(self, numbers: set[int]) -> None:
        for number in sorted(numbers - self._forgotten):
            self.files.forget(number)
        self._forgotten |= numbers
