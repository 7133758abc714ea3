"""What the tracker reads of a study, and its memory of what MLflow has already."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tuner.storage.records import AttemptRow
from tuner.storage.store import Store
from tuner.storage.tables import attempts, deliveries, optuna_trials

# States of a trial that never change again.
ENDED = ("COMPLETE", "PRUNED", "FAIL")
# Stands for the study's own run among the deliveries of its trials.
PARENT = 0

_params = sa.table(
    "trial_params",
    sa.column("trial_id"),
    sa.column("param_name"),
    sa.column("param_value"),
    sa.column("distribution_json"),
)


@dataclass(frozen=True)
class Delivery:
    """What MLflow has of a trial: its run, the attempt drawn there up to `step`, the state told."""

    run_id: str
    attempt: int
    step: int
    state: str


@dataclass(frozen=True)
class TrackedTrial:
    """A trial that MLflow does not have whole. `params`: Optuna's flat ones. `attempt`: the last.
    `started_at`: its first attempt's start, in seconds since 1970."""

    trial_id: int
    number: int
    state: str
    params: dict[str, Any]
    attempt: AttemptRow
    started_at: float
    delivery: Delivery | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class Completed:
    """A trial that has a score, as far as the study's own run tells of it."""

    trial_id: int
    number: int
    score: float
    ended_at: float


def undelivered(store: Store, study_id: int) -> list[TrackedTrial]:
    """The trials that ever ran and whose end MLflow has not been told, in order."""
    owed = _owed(study_id)
    with store.reading() as connection:
        rows = connection.execute(owed.order_by(optuna_trials.c.number)).all()
        ran = _attempts(connection, owed) if rows else {}
        params = _flat_params(connection, owed) if rows else {}
    return [
        TrackedTrial(
            trial_id=row.trial_id,
            number=row.number,
            state=str(row.state),
            params=params.get(row.trial_id, {}),
            attempt=ran[row.trial_id][-1],
            started_at=ran[row.trial_id][0].started_at,
            delivery=_delivery(row),
        )
        for row in rows
        if row.trial_id in ran
    ]


def _owed(study_id: int) -> sa.Select[Any]:
    mine = (deliveries.c.trial_id == optuna_trials.c.trial_id) & (
        deliveries.c.study_id == optuna_trials.c.study_id
    )
    told = deliveries.c.state
    return (
        sa.select(
            optuna_trials.c.trial_id,
            optuna_trials.c.number,
            sa.cast(optuna_trials.c.state, sa.String(16)).label("state"),
            deliveries.c.run_id,
            deliveries.c.attempt,
            deliveries.c.step,
            told.label("told"),
        )
        .select_from(optuna_trials.outerjoin(deliveries, mine))
        .where(optuna_trials.c.study_id == study_id)
        .where(sa.or_(told.is_(None), told.not_in(ENDED)))
    )


def _delivery(row: Any) -> Delivery | None:
    return Delivery(row.run_id, row.attempt, row.step, row.told) if row.run_id else None


def _attempts(connection: sa.Connection, owed: sa.Select[Any]) -> dict[int, list[AttemptRow]]:
    trials = owed.subquery()
    names = [column for column in attempts.c if column.name not in ("study_id", "loop_id")]
    query = (
        sa.select(*names)
        .join(trials, trials.c.trial_id == attempts.c.trial_id)
        .order_by(attempts.c.trial_id, attempts.c.attempt)
    )
    found: dict[int, list[AttemptRow]] = {}
    for row in connection.execute(query):
        values = dict(row._mapping)
        values["seconds"] = values["seconds"] or {}
        found.setdefault(row.trial_id, []).append(AttemptRow(**values))
    return found


def _flat_params(connection: sa.Connection, owed: sa.Select[Any]) -> dict[int, dict[str, Any]]:
    from optuna.distributions import json_to_distribution

    trials = owed.subquery()
    query = sa.select(_params).join(trials, trials.c.trial_id == _params.c.trial_id)
    known: dict[str, Any] = {}
    found: dict[int, dict[str, Any]] = {}
    for row in connection.execute(query):
        text = row.distribution_json
        if text not in known:
            known[text] = json_to_distribution(text)
        value = known[text].to_external_repr(row.param_value)
        found.setdefault(row.trial_id, {})[row.param_name] = value
    return found


def completed(store: Store, study_id: int) -> list[Completed]:
    """The study's COMPLETE trials, in the order in which they ended."""
    query = (
        sa.select(
            attempts.c.trial_id, optuna_trials.c.number, attempts.c.score, attempts.c.ended_at
        )
        .join(optuna_trials, optuna_trials.c.trial_id == attempts.c.trial_id)
        .where(attempts.c.study_id == study_id, attempts.c.score.is_not(None))
        .where(sa.cast(optuna_trials.c.state, sa.String(16)) == "COMPLETE")
        .order_by(attempts.c.attempt)
    )
    with store.reading() as connection:
        # Of a trial whose loop died between its end and the telling, the last attempt counts.
        last = {row.trial_id: Completed(*row) for row in connection.execute(query)}
    return sorted(last.values(), key=lambda trial: (trial.ended_at, trial.trial_id))


def improvements(trials: Iterable[Completed], direction: str) -> list[Completed]:
    """Of trials in the order of their ends, those that were the best when they ended."""
    sign = 1.0 if direction == "maximize" else -1.0
    best: list[Completed] = []
    for trial in trials:
        if not best or sign * trial.score > sign * best[-1].score:
            best.append(trial)
    return best


def read_delivery(store: Store, study_id: int, trial_id: int = PARENT) -> Delivery | None:
    query = sa.select(deliveries).where(
        deliveries.c.study_id == study_id, deliveries.c.trial_id == trial_id
    )
    with store.reading() as connection:
        row = connection.execute(query).first()
    return Delivery(row.run_id, row.attempt, row.step, row.state) if row else None


def mark(store: Store, study_id: int, trial_id: int, delivery: Delivery) -> None:
    """Remember what MLflow has just taken."""
    values: Mapping[str, Any] = {
        "run_id": delivery.run_id,
        "attempt": delivery.attempt,
        "step": delivery.step,
        "state": delivery.state,
    }
    mine = (deliveries.c.study_id == study_id) & (deliveries.c.trial_id == trial_id)
    with store.writing() as connection:
        changed = connection.execute(sa.update(deliveries).where(mine).values(**values))
        if changed.rowcount == 0:
            keys = {"study_id": study_id, "trial_id": trial_id}
            connection.execute(sa.insert(deliveries).values(**keys, **values))


def forget(store: Store, study_id: int) -> None:
    """Forget all deliveries of a study: MLflow is another one, or was emptied."""
    with store.writing() as connection:
        connection.execute(sa.delete(deliveries).where(deliveries.c.study_id == study_id))


def count_delivered(store: Store, study_id: int) -> tuple[int, int]:
    """How many ended trials MLflow has, and how many it lacks."""
    ran = sa.exists().where(attempts.c.trial_id == optuna_trials.c.trial_id)
    ended = (
        sa.select(sa.func.count())
        .select_from(optuna_trials)
        .where(optuna_trials.c.study_id == study_id, ran)
        .where(sa.cast(optuna_trials.c.state, sa.String(16)).in_(ENDED))
    )
    told = (
        sa.select(sa.func.count())
        .select_from(deliveries)
        .where(deliveries.c.study_id == study_id, deliveries.c.trial_id != PARENT)
        .where(deliveries.c.state.in_(ENDED))
    )
    with store.reading() as connection:
        sent = connection.execute(told).scalar_one()
        return sent, connection.execute(ended).scalar_one() - sent
