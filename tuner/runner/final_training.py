"""Training a finished trial's configuration on the training and validation rows together, to be
scored on the test split: what `compare` and `promote` share.

No rows are left that could choose an epoch, so the search's own best epoch is trained to.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tuner.errors import StudyError
from tuner.runner.requests import make_request
from tuner.search_space.parameters import SCHEDULES_BY_SCORE
from tuner.storage import Store
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow, find_best, find_trial, require_best
from tuner.study.engines import engine_to_ask_for
from tuner.study.lineage import Lineage
from tuner.study.messages import TrialRequest
from tuner.study.metrics import on_split
from tuner.study.spec import StudySpec


def finished_trial(store: Store, study: StudyRow, number: int | None) -> TrialRow:
    """The trial of that number, or the study's best one. Raises StudyError for a comparison, and
    for a trial that has not finished, has failed or is damaged."""
    if study.spec.is_comparison:
        raise StudyError(f"study {study.name!r} is a comparison itself: nothing is chosen in it")
    if number is None:
        return require_best(study, find_best(store, study))
    trial = find_trial(store, study, number)
    if trial.damage:
        raise StudyError(f"trial {number} of study {study.name!r} is damaged: {trial.damage}")
    if trial.state not in ("COMPLETE", "PRUNED"):
        state = {"FAIL": "failed"}.get(trial.state, trial.state.lower())
        raise StudyError(f"trial {number} of study {study.name!r} is {state}, not finished")
    return trial


def epochs_to_train(trial: TrialRow) -> int:
    """The trial's best epoch on the validation split. With a learning-rate schedule all its epochs,
    because the schedule depends on their number."""
    best = trial.last.best_epoch if trial.last else None
    epochs = trial.params["epochs"]
    assert isinstance(epochs, int)  # The catalogue has checked it.
    return best if best and trial.params.get("schedule", "constant") == "constant" else epochs


def watches_validation(params: Mapping[str, Any]) -> str | None:
    """What a configuration cannot do without a validation split, in words; None if it can be
    trained without one. `params`: all of them, defaults included."""
    schedule = params.get("schedule")
    if schedule not in SCHEDULES_BY_SCORE:
        return None
    return f"schedule {schedule} watches the validation split"


def request_without_validation(
    spec: StudySpec, trial: TrialRow, lineage: Lineage | None = None
) -> TrialRequest:
    """The request of the trial's configuration with the trial's seed, scored by the study's
    metric on the test split after the last epoch. It needs `Dataset.for_test`. `lineage`: what the
    trial went on from, which is trained too; its own generation is trained to its best epoch."""
    engine = engine_to_ask_for(None if trial.last is None else trial.last.engine)
    params = trial.params
    if lineage is None:
        params = params | {"epochs": epochs_to_train(trial)}
    elif trial.last is not None and trial.last.best_epoch:
        lineage = replace(lineage, last_epoch=trial.last.best_epoch)
    # Without choices: the program is the trial's own, and shares nothing.
    request = make_request(spec, trial.number, params, {}, engine, recorded=False, lineage=lineage)
    goal = replace(request.goal, metric=on_split(spec.metric, "test"))
    return replace(request, goal=goal, held_out="test", first_epoch_reports=1)
