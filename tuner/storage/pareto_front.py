"""The Pareto front of a study with several objectives: the trials that no other one dominates."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from tuner.storage.optuna_rows import all_finite_values, infeasible_trials, state_of_trial
from tuner.storage.schema import optuna_trials
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow, read_by_ids
from tuner.study.messages import rank

Values = Mapping[int, tuple[float, ...]]


def pareto_front(store: Store, study: StudyRow) -> list[TrialRow]:
    """The COMPLETE trials that no other one is better than in one objective without being worse in
    another, by number. A trial that violates a constraint is none of them."""
    return store.read(_pareto_front, study)


def _pareto_front(connection: sa.Connection, study: StudyRow) -> list[TrialRow]:
    is_complete = (optuna_trials.c.study_id == study.study_id) & (state_of_trial() == "COMPLETE")
    values = all_finite_values(connection, is_complete)
    goals = study.spec.goals
    ranked = {
        trial_id: tuple(rank(value, goal.direction) for value, goal in zip(its, goals, strict=True))
        for trial_id, its in values.items()
        if len(its) == len(goals)
    }
    for trial_id in infeasible_trials(connection, study.study_id):
        ranked.pop(trial_id, None)
    return read_by_ids(connection, study, undominated(ranked))


def undominated(values: Values) -> list[int]:
    """The keys of the values of which no others are at least as small in each place and smaller in
    one, in order. Equal ones are all kept."""
    front: list[int] = []
    # In this order a value can only be dominated by one before it.
    for key in sorted(values, key=lambda key: (values[key], key)):
        if not any(_dominates(values[other], values[key]) for other in front):
            front.append(key)
    return sorted(front)


def _dominates(values: Sequence[float], others: Sequence[float]) -> bool:
    return values != others and all(a <= b for a, b in zip(values, others, strict=True))
