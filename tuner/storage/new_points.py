"""New configurations of a study: no two trials get the same one, however many loops draw.

The parts of one trial's beginning that must see what other loops write at the same moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa
from optuna.trial import FrozenTrial

from tuner.storage import frozen_trials, trial_rows
from tuner.storage.frozen_trials import Chosen
from tuner.storage.leases import lock_study
from tuner.storage.optuna_storage import RobustStorage
from tuner.storage.schema import StudyKey, optuna_trials
from tuner.storage.store import Store
from tuner.storage.transaction_hooks import DeferredWrites


class PointTaken(Exception):
    """Another loop has given the same configuration to a trial a moment ago."""


@dataclass(frozen=True)
class Room:
    """How many configurations were `left` for new trials when `last_id` was the newest trial."""

    left: int
    last_id: int


class Tried(Protocol):
    """What is known of the configurations of a study's trials."""

    @property
    def last_id(self) -> int:
        """The id of the newest trial that is known."""

    @property
    def unsampled(self) -> set[int]:
        """The ids of trials that had no configuration yet."""

    def is_taken(self, newer: Sequence[FrozenTrial]) -> bool:
        """Whether one of these trials has the configuration that is about to be written."""


def read_all(store: Store, study: StudyKey) -> list[FrozenTrial]:
    """All trials of a study, whole."""

    def read(connection: sa.Connection) -> list[FrozenTrial]:
        with frozen_trials.name_damage():
            return frozen_trials.read_whole(connection, Chosen(study.study_id))

    return store.read(read)


def has_room(connection: sa.Connection, study_id: int, room: Room) -> bool:
    """Whether a new trial will find a configuration: every trial that was created since takes one
    at most. The study stays locked until the transaction ends."""
    trial_rows.lock_study(connection, study_id)
    newer = sa.select(sa.func.count()).where(
        optuna_trials.c.study_id == study_id, optuna_trials.c.trial_id > room.last_id
    )
    return bool(room.left - connection.execute(newer).scalar_one() > 0)


def write_point(
    storage: RobustStorage, study: StudyKey, writes: DeferredWrites, tried: Tried
) -> None:
    """Write a new trial's configuration. Raises PointTaken where another loop has written the same
    one since `tried` was read: then nothing is written."""

    def check(connection: sa.Connection) -> None:
        lock_study(connection, study.study_id)
        # The trial itself is begun and unsampled too.
        newer = Chosen(study.study_id, tried.last_id, tried.unsampled, but_not={writes.trial_id})
        with frozen_trials.name_damage():
            if tried.is_taken(frozen_trials.read_whole(connection, newer)):
                raise PointTaken

    storage.write_deferred(writes, before=check)
