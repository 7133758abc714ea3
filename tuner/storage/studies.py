"""Studies in SQL: create, find, list, delete."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from tuner.errors import StudyError
from tuner.names import as_file_name, printable
from tuner.spec import StudySpec
from tuner.storage.process import is_dead
from tuner.storage.store import Store, now, reads, writes
from tuner.storage.tables import (
    attempts,
    deliveries,
    intervals,
    loops,
    optuna_studies,
    optuna_study_attributes,
    optuna_trials,
    places,
    studies,
)


@dataclass(frozen=True)
class StudyRow:
    """A study as stored. `experiment` is MLflow's, named like the study unless shared."""

    study_id: int
    name: str
    spec: StudySpec
    experiment: str
    created_at: datetime

    @property
    def file_name(self) -> str:
        """What folders and files of the study are named: see `names.as_file_name`."""
        return as_file_name(self.name, str(self.study_id))


@dataclass(frozen=True)
class StudySummary:
    """A line of `study list`."""

    name: str
    data: str
    space: str
    metric: str
    states: dict[str, int]
    best: float | None
    created_at: datetime

    @property
    def finished(self) -> int:
        return self.states.get("COMPLETE", 0) + self.states.get("PRUNED", 0)


def create_study(
    store: Store,
    name: str,
    spec: StudySpec,
    experiment: str | None = None,
    first_trials: list[dict[str, Any]] | None = None,
) -> StudyRow:
    """Create a study, its first trials queued. Raises StudyError when the name is taken."""
    import optuna

    _forget_vanished(store)
    _clear_half_made(store, name)
    try:
        study = optuna.create_study(storage=store.optuna, study_name=name, direction=spec.direction)
    except optuna.exceptions.DuplicatedStudyError as error:
        raise StudyError(_taken(store, name)) from error
    try:
        for params in first_trials or []:
            study.enqueue_trial(params)
        _write_spec(store, study._study_id, name, spec, experiment)
    except BaseException:  # Ctrl-C too: half of a study would only occupy the name
        store.optuna.delete_study(study._study_id)
        raise
    return load_study(store, name)


@writes
def _write_spec(
    connection: sa.Connection, study_id: int, name: str, spec: StudySpec, experiment: str | None
) -> None:
    written = sa.select(studies.c.study_id).where(studies.c.study_id == study_id)
    if connection.execute(written).first() is None:
        connection.execute(
            sa.insert(studies).values(
                study_id=study_id,
                name=name,
                spec=spec.model_dump_json(),
                experiment=experiment,
                created_at=now(connection.dialect.name),
            )
        )


@writes
def _forget_vanished(connection: sa.Connection) -> None:
    """Delete what is left of studies that someone deleted with Optuna's own tools: SQLite gives
    their ids to new studies and trials."""
    query = sa.select(studies.c.study_id).where(~_in_optuna())
    for study_id in connection.execute(query).scalars().all():
        _delete_ours(connection, study_id)


def _clear_half_made(store: Store, name: str) -> None:
    """A command that was killed while it made a study leaves Optuna's part of it: without our row
    it is no study, and must not keep the name."""
    study_id = _half_made(store, name)
    if study_id is not None:
        store.optuna.delete_study(study_id)


@reads
def _half_made(connection: sa.Connection, name: str) -> int | None:
    from tuner.storage.robust import MADE

    made = optuna_study_attributes
    query = (
        sa.select(optuna_studies.c.study_id, made.c.value_json)
        .join(made, made.c.study_id == optuna_studies.c.study_id)
        .where(optuna_studies.c.study_name == name, made.c.key == MADE)
        .where(optuna_studies.c.study_id.not_in(sa.select(studies.c.study_id)))
    )
    row = connection.execute(query).first()
    if row is None or not is_dead(json.loads(row.value_json)["process"]):
        return None
    return row.study_id


def _in_optuna() -> sa.ColumnElement[bool]:
    return studies.c.study_id.in_(sa.select(optuna_studies.c.study_id))


def _taken(store: Store, name: str) -> str:
    with store.reading() as connection:
        ours = connection.execute(sa.select(studies.c.name).where(studies.c.name == name)).first()
    if ours:
        return f"a study named {name!r} exists already; choose another name, or delete that one"
    return f"Optuna has a study {name!r} that tuner did not finish creating; choose another name"


def load_study(store: Store, name: str | None = None) -> StudyRow:
    """The study of that name, or the most recently created one. Raises StudyError."""
    rows = store.read(lambda connection: connection.execute(_newest_first()).all())
    if name is not None and all(row.name != name for row in rows):
        # One that does not print can be given as `study list` shows it.
        name = next((row.name for row in rows if printable(row.name) == name), name)
    for row in rows:
        if name is None or row.name == name:
            return StudyRow(
                study_id=row.study_id,
                name=row.name,
                spec=StudySpec.from_json(row.spec),
                experiment=row.experiment or row.name,
                created_at=_when(row.created_at),
            )
    if not rows:
        raise StudyError(f"{store.shown} holds no study; create one with: tuner study create")
    known = ", ".join(printable(row.name) for row in rows[:8])
    raise StudyError(f"no study named {name!r} in {store.shown}; there are: {known}")


def _newest_first() -> sa.Select[Any]:
    return (
        sa.select(studies)
        .where(_in_optuna())
        .order_by(studies.c.created_at.desc(), studies.c.study_id.desc())
    )


def free_name(store: Store, wanted: str) -> str:
    """`wanted`, or with the first number that makes it new."""
    with store.reading() as connection:
        taken = set(connection.execute(sa.select(optuna_studies.c.study_name)).scalars())
    number = 2
    name = wanted
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name


def list_studies(store: Store) -> list[StudySummary]:
    """All studies, newest first. Plain SQL: nothing heavier than SQLAlchemy is imported."""
    with store.reading() as connection:
        rows = connection.execute(_newest_first()).all()
        counts = connection.execute(
            sa.select(optuna_trials.c.study_id, optuna_trials.c.state, sa.func.count()).group_by(
                optuna_trials.c.study_id, optuna_trials.c.state
            )
        ).all()
        scores = _best_scores(connection)
    states: dict[int, dict[str, int]] = {}
    for study_id, state, count in counts:
        states.setdefault(study_id, {})[state] = count
    return [_summary(row, states.get(row.study_id, {}), scores) for row in rows]


def _best_scores(connection: sa.Connection) -> dict[int, tuple[float, float]]:
    """Lowest and highest score of each study's COMPLETE trials."""
    names = ("trial_id", "value", "value_type")
    values = sa.table("trial_values", *map(sa.column, names))
    query = (
        sa.select(
            optuna_trials.c.study_id, sa.func.min(values.c.value), sa.func.max(values.c.value)
        )
        .join(values, values.c.trial_id == optuna_trials.c.trial_id)
        .where(sa.cast(optuna_trials.c.state, sa.String(16)) == "COMPLETE")
        .where(sa.cast(values.c.value_type, sa.String(16)) == "FINITE")
        .group_by(optuna_trials.c.study_id)
    )
    return {row[0]: (row[1], row[2]) for row in connection.execute(query)}


def _summary(
    row: Any, states: dict[str, int], scores: dict[int, tuple[float, float]]
) -> StudySummary:
    spec = json.loads(row.spec)
    compares = spec.get("held_out") == "test"
    low, high = scores.get(row.study_id, (None, None))
    return StudySummary(
        name=row.name,
        data=spec["data"]["source"],
        space=spec["space"]["network"],
        metric=spec["metric"],
        states=states,
        best=None if compares else high if spec["direction"] == "maximize" else low,
        created_at=_when(row.created_at),
    )


def delete_study(store: Store, study: StudyRow) -> None:
    """Remove a study, its trials and all our rows. Files and runs are the caller's to remove."""
    store.write(lambda connection: _delete_ours(connection, study.study_id))
    store.optuna.delete_study(study.study_id)


def _delete_ours(connection: sa.Connection, study_id: int) -> None:
    trial_ids = sa.select(attempts.c.trial_id).where(attempts.c.study_id == study_id)
    connection.execute(sa.delete(intervals).where(intervals.c.trial_id.in_(trial_ids)))
    for table in (attempts, places, loops, deliveries, studies):
        connection.execute(sa.delete(table).where(table.c.study_id == study_id))


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
