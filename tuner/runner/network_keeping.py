"""Which networks a search saves and which it removes: the study's best complete trials keep
theirs."""

import glob
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from tuner.errors import ArtifactError
from tuner.runner.later_deletions import Deletion, at_once
from tuner.storage import Store
from tuner.storage.kept_networks import (
    EVERY,
    ReleasedNetwork,
    best_scores,
    note_removed,
    release_beyond,
    released,
)
from tuner.storage.schema import StudyKey
from tuner.study.artifacts import Artifacts
from tuner.study.messages import Goal

# So many networks a study keeps unless the user says otherwise.
BEST_KEPT = 3


@dataclass
class KeptNetworks:
    """The networks of one study, as one loop sees them. Several loops may search the study: SQL
    decides which trials are the best.

    `most`: so many of the best trials keep theirs, or EVERY. `artifacts`: where the files are; None
    where they are not this database's to remove. `later`: does what the loop need not wait for.
    """

    store: Store
    study: StudyKey
    goal: Goal
    most: int
    selects: bool
    artifacts: Artifacts | None
    later: Callable[[Deletion], None] = at_once
    # The score that a trial had to beat when SQL was asked last. It only gets better.
    _bar: float | None = field(default=None, init=False)
    _is_trimmed: bool = field(default=False, init=False)

    def keeps(self, trial_id: int, score: float | None) -> bool:
        """Whether a trial whose training ends with this score is among the best. SQL is asked only
        where the scores known here leave it open."""
        if not self.selects or self.most == EVERY or self.most == 0:
            return self.most == EVERY
        if score is None or (self._bar is not None and self.goal.better(self._bar, score)):
            return False
        best = best_scores(self.store, self.study, self.goal.direction, self.most, but_not=trial_id)
        if len(best) < self.most:
            return True
        self._bar, last_id = best[-1]
        is_earlier_equal = score == self._bar and trial_id < last_id
        return is_earlier_equal or self.goal.better(score, self._bar)

    def trial_ended(self, has_saved: bool) -> None:
        """Release what is not among the best any more: after each trial that has saved its network,
        and after the first of this loop, since an earlier search may have kept more."""
        if not self.selects or self.most == EVERY or (self._is_trimmed and not has_saved):
            return
        networks = release_beyond(self.store, self.study, self.goal.direction, self.most)
        self._is_trimmed = True
        self._remove(networks)

    def remove_released(self) -> None:
        """Remove the files that a killed search has released and not removed. Files on another
        machine are left to it."""
        self._remove(released(self.store, self.study))

    def _remove(self, networks: Iterable[ReleasedNetwork]) -> None:
        if self.artifacts is not None and (networks := list(networks)):
            self.later(partial(self._remove_and_note, self.artifacts, networks))

    def _remove_and_note(self, artifacts: Artifacts, networks: list[ReleasedNetwork]) -> None:
        if removed := remove_files(artifacts, networks):
            note_removed(self.store, self.study, removed)


def remove_files(
    artifacts: Artifacts, networks: Iterable[ReleasedNetwork]
) -> list[ReleasedNetwork]:
    """Remove the files of released networks. Returns those whose file was here; the others may be
    on another machine."""
    removed = []
    for network in networks:
        # What cannot be removed costs disk space and nothing else; the next search tries again.
        with suppress(ArtifactError, OSError):
            if artifacts.exists(network.name):
                artifacts.delete(network.name)
                remove_empty_folder(artifacts, network.name)
                removed.append(network)
    return removed


def remove_empty_folder(artifacts: Artifacts, name: str) -> None:
    """Remove the folder of a file that was deleted, if that was its last one."""
    folder, _, file = name.rpartition("/")
    artifacts.sweep(folder, [glob.escape(file)])
