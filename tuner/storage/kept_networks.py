"""Which networks a study keeps: those of its best complete trials.

A network is kept while its attempt's row names its file (`model_path`). To release one, the name
is cleared first; the file and MLflow's copy are removed after that. The row keeps the file's size
until the file is known to be gone, so a process that is killed in between leaves a note of what is
still to be removed. The row keeps the checksum for good: a copy in MLflow is recognized by it.
"""

import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from tuner.storage.deliveries import ENDED, RELEASED
from tuner.storage.optuna_rows import finite_value, state_of_trial, with_values
from tuner.storage.schema import StudyKey, attempts, deliveries, optuna_trials
from tuner.storage.store import Store
from tuner.study.artifacts import network_name
from tuner.study.messages import Direction

# Instead of a number of networks: all of them.
EVERY = sys.maxsize


@dataclass(frozen=True)
class ReleasedNetwork:
    """A network that its study no longer keeps. `name`: of its file, which may still be here.
    `size`: in bytes, None where it was not recorded."""

    trial_id: int
    attempt: int
    name: str
    size: int | None


def best_scores(
    store: Store, study: StudyKey, direction: Direction, most: int, but_not: int | None = None
) -> list[tuple[float, int]]:
    """The finite scores of the study's COMPLETE trials with their ids, best first, at most `most`;
    the earliest first among equals, as `trials.find_best` orders them. `but_not`: the id of a trial
    to leave out."""
    query = _best_first(study, direction, most)
    if but_not is not None:
        query = query.where(optuna_trials.c.trial_id != but_not)
    rows = store.read(lambda connection: connection.execute(query).all())
    return [(row.score, row.trial_id) for row in rows]


def _best_first(study: StudyKey, direction: Direction, most: int) -> sa.Select[tuple[float, int]]:
    score = finite_value().label("score")
    return (
        sa.select(score, optuna_trials.c.trial_id)
        .select_from(with_values())
        .where(optuna_trials.c.study_id == study.study_id)
        .where(state_of_trial() == "COMPLETE", score.is_not(None))
        .order_by(score.desc() if direction == "maximize" else score, optuna_trials.c.trial_id)
        .limit(most)
    )


def release_beyond(
    store: Store, study: StudyKey, direction: Direction, most: int
) -> list[ReleasedNetwork]:
    """Release the networks of all trials but the best `most`, and have MLflow's copies of them
    removed by the next delivery. Returns them: their files are still there."""
    return store.write(_release_beyond, study, direction, most)


def beyond(store: Store, study: StudyKey, direction: Direction, most: int) -> list[ReleasedNetwork]:
    """What `release_beyond` would release. Nothing is written."""
    return store.read(_beyond, study, direction, most)


def _release_beyond(
    connection: sa.Connection, study: StudyKey, direction: Direction, most: int
) -> list[ReleasedNetwork]:
    networks = _beyond(connection, study, direction, most)
    for network in networks:
        connection.execute(
            sa.update(attempts).where(*_is_row(study, network)).values(model_path=None)
        )
        connection.execute(
            sa.update(deliveries)
            .where(deliveries.c.study_uuid == study.uuid)
            .where(deliveries.c.trial_id == network.trial_id, deliveries.c.state.in_(ENDED))
            .values(state=RELEASED)
        )
    return networks


def _beyond(
    connection: sa.Connection, study: StudyKey, direction: Direction, most: int
) -> list[ReleasedNetwork]:
    best = {row.trial_id for row in connection.execute(_best_first(study, direction, most))}
    # Of earlier versions, a file outside the study's own folder may belong to another database.
    is_own = attempts.c.model_path.startswith(f"{study.uuid}/", autoescape=True)
    networks = _networks(connection, study, is_own)
    return [network for network in networks if network.trial_id not in best]


def released(store: Store, study: StudyKey) -> list[ReleasedNetwork]:
    """The released networks whose files may still be somewhere."""
    is_released = attempts.c.model_path.is_(None) & attempts.c.model_bytes.is_not(None)
    return store.read(_networks, study, is_released)


def _networks(
    connection: sa.Connection, study: StudyKey, condition: sa.ColumnElement[bool]
) -> list[ReleasedNetwork]:
    query = (
        sa.select(
            attempts.c.trial_id,
            attempts.c.attempt,
            attempts.c.model_path,
            attempts.c.model_bytes,
            optuna_trials.c.number,
        )
        .join(optuna_trials, optuna_trials.c.trial_id == attempts.c.trial_id)
        .where(attempts.c.study_uuid == study.uuid, condition)
        .where(optuna_trials.c.study_id == study.study_id)
        .order_by(attempts.c.trial_id, attempts.c.attempt)
    )
    return [
        ReleasedNetwork(
            row.trial_id,
            row.attempt,
            row.model_path or network_name(study.uuid, row.number, row.attempt),
            row.model_bytes,
        )
        for row in connection.execute(query)
    ]


def note_removed(store: Store, study: StudyKey, networks: Iterable[ReleasedNetwork]) -> None:
    """Record that the files of these released networks are gone."""

    def write(connection: sa.Connection) -> None:
        for network in networks:
            is_released = attempts.c.model_path.is_(None)
            connection.execute(
                sa.update(attempts)
                .where(*_is_row(study, network), is_released)
                .values(model_bytes=None)
            )

    store.write(write)


def _is_row(study: StudyKey, network: ReleasedNetwork) -> list[sa.ColumnElement[bool]]:
    return [
        attempts.c.study_uuid == study.uuid,
        attempts.c.trial_id == network.trial_id,
        attempts.c.attempt == network.attempt,
    ]


def unfinished_numbers(store: Store, study: StudyKey) -> set[int]:
    """The numbers of the trials that run, or wait for their next attempt."""
    query = (
        sa.select(optuna_trials.c.number)
        .where(optuna_trials.c.study_id == study.study_id)
        .where(state_of_trial().in_(("RUNNING", "WAITING")))
    )
    return store.read(lambda connection: set(connection.execute(query).scalars()))


def kept_numbers(store: Store, study: StudyKey, but_not: Collection[int] = ()) -> set[int]:
    """The numbers of the trials whose networks are kept. `but_not`: ids of trials to leave out."""
    query = (
        sa.select(optuna_trials.c.number, optuna_trials.c.trial_id)
        .join(attempts, attempts.c.trial_id == optuna_trials.c.trial_id)
        .where(optuna_trials.c.study_id == study.study_id)
        .where(attempts.c.study_uuid == study.uuid, attempts.c.model_path.is_not(None))
    )
    rows = store.read(lambda connection: connection.execute(query).all())
    return {row.number for row in rows if row.trial_id not in but_not}
