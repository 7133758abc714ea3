"""Which configurations a study has tried, so that no trial repeats one.

Two configurations are equal if their active parameters are: numbers to twelve digits, and without
parameters that do not apply to them.
"""

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from tuner.algorithms.samplers import SAMPLERS
from tuner.search_space import Space
from tuner.study.spec import Choice
from tuner.values import Scalar

# So many points are listed, to choose evenly among those that are left. Of a larger space the first
# one left in the grid's order is taken, which is found without listing it.
_MOST_LISTED = 10_000

PointKey = tuple[tuple[str, str, Scalar], ...]


def avoids_repeats(sampler: Choice, space: Space) -> bool:
    """Whether a study draws a proposal again that an earlier trial had. A grid and a list say
    themselves what is tried, and how often; a generation goes on with what its parent had."""
    kind = SAMPLERS[sampler.name]
    return space.can_repeat and not (kind.lists or kind.repeats_failed or kind.generations)


def point_key(flat: Mapping[str, Scalar]) -> PointKey:
    """What is equal for flat parameters that are the same configuration."""
    return tuple((name, *_comparable(flat[name])) for name in sorted(flat))


def _comparable(value: Scalar) -> tuple[str, Scalar]:
    # 1 and true are equal for Python; 1 and 1.0, or 0.3 and 0.1 + 0.2, are one number for a user.
    if isinstance(value, bool | str):
        return type(value).__name__, value
    return "number", float(f"{value:.12g}")


class TriedPoints:
    """The points of a space that a study's trials have, or will have.

    Every trial counts but those that failed: a pruned one would be pruned again, and one that waits
    will train its point. `last_id`: of the newest trial; `unsampled`: the ids of trials that have
    no params yet, each of which will take a point."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._ended: dict[int, PointKey | None] = {}
        self._open: dict[int, PointKey] = {}
        self.unsampled: set[int] = set()
        self.last_id = -1
        self._tried: set[PointKey] = set()

    def count(self, trials: Iterable[FrozenTrial], but_not: int | None = None) -> None:
        """Take all trials of a study into account, as they are now; those that had ended at an
        earlier call are not looked at again. `but_not`: the id of a trial that is about to be
        sampled."""
        self._open, self.unsampled = {}, set()
        for trial in trials:
            self.last_id = max(self.last_id, trial._trial_id)
            if trial._trial_id not in self._ended and trial._trial_id != but_not:
                self._count_one(trial)
        self._tried = {key for key in (*self._ended.values(), *self._open.values()) if key}

    def _count_one(self, trial: FrozenTrial) -> None:
        if trial.state == TrialState.FAIL:
            return
        key = self._key_of(trial)
        if trial.state.is_finished():
            self._ended[trial._trial_id] = key
        elif key is not None:
            self._open[trial._trial_id] = key
        else:
            self.unsampled.add(trial._trial_id)

    def _key_of(self, trial: FrozenTrial) -> PointKey | None:
        """None where the trial has no params yet, or those of another space."""
        point = self._space.point(trial.params or trial.system_attrs.get("fixed_params", {}))
        return None if point is None else point_key(point)

    def __contains__(self, flat: Mapping[str, Scalar]) -> bool:
        return point_key(flat) in self._tried

    def has_point(self, trial: FrozenTrial, flat: Mapping[str, Scalar]) -> bool:
        """Whether the trial counts, and has this configuration."""
        return trial.state != TrialState.FAIL and self._key_of(trial) == point_key(flat)

    @property
    def left(self) -> int | None:
        """How many points no trial has, or is about to take; None where they are not countable."""
        size = self._space.grid_size()
        if size is None:
            return None
        return max(0, size - len(self._tried) - len(self.unsampled))

    def choose_new(self, generator: random.Random) -> dict[str, Scalar] | None:
        """A point that no trial has; None where there is none, or the space cannot be listed."""
        size = self._space.grid_size()
        if size is None:
            return None
        new = (point for point in self._space.grid() if point not in self)
        if size > _MOST_LISTED:
            return next(new, None)
        listed: Sequence[dict[str, Scalar]] = list(itertools.islice(new, _MOST_LISTED))
        return generator.choice(listed) if listed else None
