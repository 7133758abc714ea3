"""How many proposals were drawn again, each of which would have been a repeated trial."""

import json

import sqlalchemy as sa

from tuner.storage.schema import StudyKey, optuna_trial_attributes, optuna_trials
from tuner.storage.store import Store

# The attribute of a trial that counts the proposals that were dropped before its own, since an
# earlier trial had them.
DRAWN_AGAIN = "tuner:drawn_again"


def count_drawn_again(store: Store, study: StudyKey) -> int:
    """The sum over all trials."""
    return store.read(drawn_again_in, study.study_id)


def drawn_again_in(connection: sa.Connection, study_id: int) -> int:
    """The same within a transaction."""
    attributes = optuna_trial_attributes
    query = (
        sa.select(attributes.c.value_json)
        .join(optuna_trials, optuna_trials.c.trial_id == attributes.c.trial_id)
        .where(optuna_trials.c.study_id == study_id, attributes.c.key == DRAWN_AGAIN)
    )
    return sum(_count(text) for text in connection.execute(query).scalars())


def _count(text: object) -> int:
    """0 for a damaged value."""
    try:
        value = json.loads(str(text))
    except ValueError:
        return 0
    return value if isinstance(value, int) else 0
