"""All studies at once, as the start page lists them: a few queries, however many there are."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from tuner.storage.schema import slot_rows
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow, best_scores, newest_first, trial_states


@dataclass(frozen=True)
class StudyOverview:
    """A study, also a damaged one. `states`: its trials by Optuna's state. `slots`: its slots by
    their state. `lowest`, `highest`: the scores of its COMPLETE trials."""

    study: StudyRow
    states: Mapping[str, int]
    slots: Mapping[str, int]
    lowest: float | None = None
    highest: float | None = None


def read_overviews(store: Store) -> list[StudyOverview]:
    """All studies, newest first, as one snapshot."""
    return store.read(_read_overviews)


def _read_overviews(connection: sa.Connection) -> list[StudyOverview]:
    states, scores, slots = trial_states(connection), best_scores(connection), _slots(connection)
    return [
        StudyOverview(
            row,
            states.get(row.study_id, {}),
            slots.get(row.study_id, {}),
            *scores.get(row.study_id, (None, None)),
        )
        for row in newest_first(connection)
    ]


def _slots(connection: sa.Connection) -> dict[int, dict[str, int]]:
    study_id, state = slot_rows.c.study_id, slot_rows.c.state
    counts = sa.select(study_id, state, sa.func.count()).group_by(study_id, state)
    slots: dict[int, dict[str, int]] = {}
    for study, slot_state, number in connection.execute(counts):
        slots.setdefault(study, {})[slot_state] = number
    return slots
