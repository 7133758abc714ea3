"""A study of trials that have ended in many ways, written as a search would have written them."""

import random
from typing import Any

import sqlalchemy as sa
from optuna.trial import TrialState, create_trial
from toy_study import any_of, toy_spec

from tuner.storage import Store
from tuner.storage.schema import attempts, reports
from tuner.storage.studies import StudyRow, create_study

_ENDS = (
    ("COMPLETE", "complete"),
    ("COMPLETE", "early_stopped"),
    ("PRUNED", "pruned"),
    ("PRUNED", "diverged"),
    ("FAIL", "user_error"),
)
SPACE: dict[str, Any] = {
    "x": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
    "kind": any_of("b", "a c", "yes"),
    "size": any_of(64, 128, 32),
    "depth": {"type": "int", "low": 1, "high": 3},
    "width": {"type": "int", "low": 8, "high": 99, "repeat": "depth"},
    # Where it is not searched it has the catalogue's default.
    "learning_rate": {"type": "float", "low": 0.01, "high": 0.1, "when": {"size": [64, 128]}},
}
EPOCHS = 3


def tried_study(store: Store, count: int, name: str = "tried") -> StudyRow:
    """A study with `count` ended trials, one that runs and one that waits, which was queued."""
    study = create_study(store, name, toy_spec(SPACE, record=("val_loss",)))
    draw = random.Random(0)
    space = study.spec.space
    for number, params in enumerate(space.random(count)):
        state, end = _ENDS[draw.randrange(len(_ENDS))]
        score = draw.random() if state != "FAIL" else None
        trial_id = _trial(store, study, state, space.flatten(params), score)
        store.write(_attempts, study, trial_id, draw, end, number % 4 == 0)
    running = _trial(store, study, "RUNNING", space.flatten(next(space.random(1))), None)
    store.write(_attempts, study, running, draw, None, False)
    waiting = create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": {"x": 0.5}})
    store.optuna.create_trial(study.study_id, waiting)
    return study


def _trial(
    store: Store, study: StudyRow, state: str, flat: dict[str, Any], score: float | None
) -> int:
    known = study.spec.space.distributions()
    trial = create_trial(
        state=TrialState[state],
        params=flat,
        distributions={name: known[name] for name in flat},
        value=score,
    )
    return int(store.optuna.create_trial(study.study_id, trial))


def _attempts(
    connection: sa.Connection,
    study: StudyRow,
    trial_id: int,
    draw: random.Random,
    end: str | None,
    was_lost: bool,
) -> None:
    """The trial's attempts, after one that was lost; of those that end by chance the best epoch is
    not known."""
    ends = ["worker_lost", end] if was_lost else [end]
    for attempt, its_end in enumerate(ends, start=1):
        key = {"study_uuid": study.uuid, "trial_id": trial_id, "attempt": attempt}
        is_usual = its_end in ("complete", "early_stopped")
        row = {"loop_id": "none", "worker": 0, "started_at": 1e9, "end": its_end}
        row |= {"ended_at": None if its_end is None else 1e9 + draw.randrange(100)}
        row |= {"best_epoch": draw.randint(1, EPOCHS) if is_usual else None}
        row |= {"epochs": draw.randint(1, EPOCHS) if its_end else None}
        row |= {"detail": "Traceback …" if its_end == "user_error" else None}
        connection.execute(sa.insert(attempts).values(**key, **row))
        for epoch in range(1, EPOCHS + 1):
            metrics: dict[str, Any] = {"val_accuracy": draw.random(), "val_loss": draw.random()}
            if its_end == "diverged" and epoch == EPOCHS:
                metrics = {"val_accuracy": "nan", "val_loss": "inf"}
            report = {"step": epoch, "epoch": epoch, "whole": epoch > 1, "metrics": metrics}
            connection.execute(sa.insert(reports).values(**key, **report, at=1e9 + epoch))
