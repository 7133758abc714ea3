"""What a new trial trains: the sampler's proposal, unless an earlier trial had the same one.

A proposal that repeats another trial's configuration is drawn again. If the sampler goes on
repeating, an untried configuration is taken at random. Loops side by side may draw the same one at
the same moment: the second to write it notices, and draws again.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from tuner.algorithms.repeats import TriedPoints, avoids_repeats
from tuner.algorithms.samplers import seed_of_loop
from tuner.search_space.parameter_types import Params
from tuner.storage.drawn_again import DRAWN_AGAIN
from tuner.storage.frozen_trials import OrderedCache
from tuner.storage.leases import Lease
from tuner.storage.new_points import PointTaken, Room, write_point
from tuner.storage.optuna_storage import RobustStorage
from tuner.storage.transaction_hooks import DeferredWrites
from tuner.study.spec import StudySpec
from tuner.values import Scalar

# So often the sampler is asked. Optuna's GP takes a third of a second, and the loop waits.
_MOST_DRAWS = 8
# So many random points are tried where the space's points cannot be listed.
_MOST_RANDOM = 100


class Proposals:
    """Samples the trials of one loop. `trials`: of the study, as the loop knows them."""

    def __init__(
        self,
        storage: RobustStorage,
        study: optuna.Study,
        trials: OrderedCache,
        spec: StudySpec,
        lease: Lease,
    ) -> None:
        self._storage, self._study, self._trials = storage, study, trials
        self._space, self._lease = spec.space, lease
        avoids = avoids_repeats(spec.sampler, spec.space)
        self._tried = TriedPoints(spec.space) if avoids else None
        self._random = random.Random(seed_of_loop(spec.seed, f"{lease.number}/repeats"))

    def sample(self, begun: FrozenTrial) -> tuple[optuna.Trial, Params]:
        """A trial that was begun, and its params, which are in SQL then. One that was put back has
        its params already; one that was queued, or is listed, is told them. Raises SlotLost."""
        is_given = bool(begun.params) or "fixed_params" in begun.system_attrs
        if self._tried is None or is_given:
            self._forget_others()
            trial = optuna.Trial(self._study, begun._trial_id)
            with self._storage.one_transaction(begun._trial_id):
                return trial, dict(self._space.sample(trial))
        dropped = 0
        while True:
            drawn = self._draw_new(begun, self._tried, dropped)
            writes = drawn.writes
            if drawn.dropped:
                writes.system_attributes[DRAWN_AGAIN] = drawn.dropped
            try:
                write_point(self._storage, self._lease, writes, _Claim(self._tried, begun.params))
            except PointTaken:
                dropped = drawn.dropped + 1
            else:
                return drawn.trial, drawn.params

    def room(self) -> Room | None:
        """How many configurations are left for new trials; None where there is no end of them."""
        if self._tried is None or self._space.grid_size() is None:
            return None
        self._read_trials(self._tried)
        assert self._tried.left is not None
        return Room(self._tried.left, self._tried.last_id)

    def _read_trials(self, tried: TriedPoints, but_not: int | None = None) -> None:
        # Not as samplers see them: a paused trial has not ended, and fails perhaps.
        tried.count(self._trials.stored_trials(self._lease.study_id), but_not)

    def _forget_others(self) -> None:
        # As `ask` does: Optuna reads the other trials again where its algorithms ask for them.
        self._study._thread_local.cached_all_trials = None

    def _draw_new(self, begun: FrozenTrial, tried: TriedPoints, dropped: int) -> "_Drawn":
        """A configuration that no other trial has, as far as there is one. `dropped`: how many
        proposals were dropped before."""
        self._read_trials(tried, but_not=begun._trial_id)
        while dropped < _MOST_DRAWS:
            drawn = self._draw(begun, dropped)
            if begun.params not in tried:
                return drawn
            dropped += 1
        return self._draw(begun, dropped, self._choose_new(tried))

    def _choose_new(self, tried: TriedPoints) -> dict[str, Scalar] | None:
        """An untried point, though not the sampler's choice; None where none was found."""
        if (point := tried.choose_new(self._random)) is not None:
            return point
        points = (self._space.draw(self._random) for _ in range(_MOST_RANDOM))
        return next((point for point in points if point not in tried), None)

    def _draw(
        self, begun: FrozenTrial, dropped: int, point: dict[str, Scalar] | None = None
    ) -> "_Drawn":
        """The sampler's proposal, or the point. The trial's object has it, SQL does not."""
        self._forget_others()
        begun._params, begun._distributions = {}, {}
        trial = optuna.Trial(self._study, begun._trial_id)
        if point is not None:
            trial._fixed_params = point
        with self._storage.collecting(begun._trial_id) as writes:
            params = dict(self._space.sample(trial))
        return _Drawn(trial, params, writes[begun._trial_id], dropped)


@dataclass(frozen=True)
class _Drawn:
    """A proposal that is not in SQL yet."""

    trial: optuna.Trial
    params: Params
    writes: DeferredWrites
    dropped: int


class _Claim:
    """A configuration that is about to be written, beside those that are known."""

    def __init__(self, tried: TriedPoints, flat: Mapping[str, Scalar]) -> None:
        self.last_id, self.unsampled = tried.last_id, tried.unsampled
        self._tried, self._flat = tried, flat

    def is_taken(self, newer: Sequence[FrozenTrial]) -> bool:
        return any(self._tried.has_point(trial, self._flat) for trial in newer)
