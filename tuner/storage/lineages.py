"""Where a study's trials stand in its population, as their attributes say."""

import json
from collections.abc import Mapping

import sqlalchemy as sa

from tuner.errors import StudyError
from tuner.storage.schema import StudyKey, optuna_trial_attributes, optuna_trials
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow, read_trials_by_id
from tuner.study.lineage import PLACE, Place


def read_places(store: Store, study: StudyKey) -> dict[int, Place]:
    """The places of a study's trials by number: of those that a population has begun, not of one
    that was queued. One that cannot be read is left out."""
    attributes = optuna_trial_attributes
    query = (
        sa.select(optuna_trials.c.number, attributes.c.value_json)
        .join(attributes, attributes.c.trial_id == optuna_trials.c.trial_id)
        .where(optuna_trials.c.study_id == study.study_id, attributes.c.key == PLACE)
        .order_by(optuna_trials.c.number)
    )
    rows = store.read(lambda connection: connection.execute(query).all())
    read = {number: _place(text) for number, text in rows}
    return {number: place for number, place in read.items() if place is not None}


def _place(text: object) -> Place | None:
    try:
        return Place.read(json.loads(str(text)))
    except ValueError:
        return None


def chain_of(places: Mapping[int, Place], number: int) -> list[int]:
    """The numbers of the trials of a lineage, the first one first, up to the trial of that
    number."""
    chain = [number]
    while (place := places.get(chain[0])) is not None and place.parent is not None:
        if place.parent >= chain[0]:  # damaged: no trial goes on from a later one
            break
        chain.insert(0, place.parent)
    return chain


def read_ancestors(store: Store, study: StudyRow, number: int) -> list[TrialRow]:
    """The trials that the trial of that number goes on from, the first one first; none where it
    begins by itself. Raises StudyError where one of them cannot be read."""
    numbers = chain_of(read_places(store, study), number)[:-1]
    if not numbers:
        return []
    query = sa.select(optuna_trials.c.trial_id).where(
        optuna_trials.c.study_id == study.study_id, optuna_trials.c.number.in_(numbers)
    )
    trial_ids = store.read(lambda connection: connection.execute(query).scalars().all())
    found = {row.number: row for row in read_trials_by_id(store, study, trial_ids)}
    ancestors = [found[each] for each in numbers if each in found and found[each].usable]
    if len(ancestors) < len(numbers):
        missing = next(each for each in numbers if each not in found or not found[each].usable)
        raise StudyError(
            f"trial {number} of study {study.name!r} goes on from trial {missing}, which cannot be "
            "read"
        )
    return ancestors
