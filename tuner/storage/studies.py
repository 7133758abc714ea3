"""Studies in SQL: create, find, list, delete."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import sqlalchemy as sa

from tuner.errors import StudyError
from tuner.names import as_file_name, in_command, printable
from tuner.spec import StudySpec
from tuner.storage import leases
from tuner.storage.leases import is_optunas, one_at_a_time
from tuner.storage.process import is_dead, machine_id, user
from tuner.storage.store import Store, now, reads, writes
from tuner.storage.tables import (
    STUDY_UUID,
    StudyKey,
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
    """A study as stored. `uuid`: 32 hexadecimal digits that no other study has. `experiment` is
    MLflow's, named like the study unless shared. `owner`, `owner_machine`, `version`: who made it
    where with which tuner; None in studies of before."""

    study_id: int
    uuid: str
    name: str
    spec: StudySpec
    experiment: str
    created_at: datetime
    owner: str | None = None
    owner_machine: str | None = None
    version: str | None = None

    @property
    def file_name(self) -> str:
        """What folders and files of the study are named: see `names.as_file_name`."""
        return as_file_name(self.name, self.uuid)


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
        values = {"name": name, "spec": spec.model_dump_json(), "experiment": experiment}
        _write_study(store, study._study_id, uuid.uuid4().hex, values | _made_by())
    except BaseException:  # Ctrl-C too: half of a study would only occupy the name
        store.optuna.delete_study(study._study_id)
        raise
    return load_study(store, name)


def _made_by() -> dict[str, str]:
    return {"owner": user(), "owner_machine": machine_id(), "version": version("tuner")}


@writes
def _write_study(
    connection: sa.Connection, study_id: int, study_uuid: str, values: dict[str, Any]
) -> None:
    written = sa.select(studies.c.study_id).where(studies.c.uuid == study_uuid)
    if connection.execute(written).first() is not None:
        return
    mark = {"study_id": study_id, "key": STUDY_UUID, "value_json": json.dumps(study_uuid)}
    connection.execute(sa.insert(optuna_study_attributes).values(**mark))
    created_at = now(connection.dialect.name)
    keys = {"study_id": study_id, "uuid": study_uuid, "created_at": created_at}
    connection.execute(sa.insert(studies).values(**keys, **values))


@writes
def _forget_vanished(connection: sa.Connection) -> None:
    """Delete what is left of studies that someone deleted with Optuna's own tools: SQLite gives
    their ids to new studies and trials."""
    query = sa.select(studies.c.study_id, studies.c.uuid).where(~is_optunas())
    for vanished in connection.execute(query).all():
        _delete_ours(connection, vanished)


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


def _taken(store: Store, name: str) -> str:
    with store.reading() as connection:
        ours = connection.execute(sa.select(studies.c.name).where(studies.c.name == name)).first()
    if ours:
        return f"a study named {name!r} exists already; choose another name, or delete that one"
    return f"Optuna has a study {name!r} that tuner did not finish creating; choose another name"


def load_study(store: Store, name: str | None = None) -> StudyRow:
    """The study of that name, or the most recently created one of this user's own. Raises
    StudyError."""
    rows = store.read(lambda connection: connection.execute(_newest_first()).all())
    if not rows:
        raise StudyError(f"{store.shown} holds no study; create one with: tuner study create")
    row = _newest_own(rows, store) if name is None else _named(rows, name, store)
    return StudyRow(
        study_id=row.study_id,
        uuid=row.uuid,
        name=row.name,
        spec=StudySpec.from_json(row.spec),
        experiment=row.experiment or row.name,
        created_at=_when(row.created_at),
        owner=row.owner,
        owner_machine=row.owner_machine,
        version=row.version,
    )


def _named(rows: Sequence[Any], name: str, store: Store) -> Any:
    # A name that does not print can also be given as `study list` shows it.
    for spelled in (lambda row: row.name, lambda row: printable(row.name)):
        for row in rows:
            if spelled(row) == name:
                return row
    known = ", ".join(printable(row.name) for row in rows[:8])
    raise StudyError(f"no study named {name!r} in {store.shown}; there are: {known}")


def _newest_own(rows: Sequence[Any], store: Store) -> Any:
    """On a shared server, the newest study of all may be somebody else's."""
    is_file = store.url.get_backend_name() == "sqlite"
    own = [row for row in rows if _is_own(row, is_file)]
    if own:
        return own[0]
    newest = rows[0]
    raise StudyError(
        f"none of the studies in {store.shown} is yours; the newest, {printable(newest.name)!r}, "
        f"was made by {_maker(newest)}; say which one you mean, as in: "
        f"tuner optimize {in_command(newest.name)} --trials 100"
    )


def _is_own(row: Any, is_file: bool) -> bool:
    if row.owner is None:  # made before owners were kept
        return is_file
    # A user's name says little beyond the machine. A file that was taken elsewhere is still theirs.
    return row.owner == user() and (is_file or row.owner_machine == machine_id())


def _maker(row: Any) -> str:
    if row.owner is None:
        return "an earlier version of tuner"
    machine = "this machine" if row.owner_machine == machine_id() else "another machine"
    return f"{printable(row.owner)} on {machine}"


def _newest_first() -> sa.Select[Any]:
    return (
        sa.select(studies)
        .where(is_optunas())
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


def delete_study(store: Store, study: StudyKey, even_while_searched: bool = False) -> None:
    """Remove a study with all its rows, Optuna's and ours, in one transaction: whoever still writes
    is refused from then on. Files and runs are the caller's to remove. Raises StudyError while a
    loop's lease holds, unless told not to."""
    _delete(store, study, even_while_searched)
    store.optuna.remove_session()  # it must not remember rows whose ids are given out again


@writes
def _delete(connection: sa.Connection, study: StudyKey, even_while_searched: bool) -> None:
    one_at_a_time(connection, study.study_id)
    if not even_while_searched and (searching := leases.live_holders(connection, study)):
        raise StudyError(f"the study is being searched by {searching[0]}")
    if leases.is_there(connection, study):
        _delete_optunas(connection, study.study_id)
    _delete_ours(connection, study)


def _delete_optunas(connection: sa.Connection, study_id: int) -> None:
    """In plain SQL: Optuna's own deletion loads every row of every trial first."""
    from optuna.storages._rdb.models import BaseModel

    trial_ids = sa.select(optuna_trials.c.trial_id).where(optuna_trials.c.study_id == study_id)
    for table in reversed(BaseModel.metadata.sorted_tables):
        if "study_id" in table.c:
            connection.execute(sa.delete(table).where(table.c.study_id == study_id))
        elif "trial_id" in table.c:
            connection.execute(sa.delete(table).where(table.c.trial_id.in_(trial_ids)))


def _delete_ours(connection: sa.Connection, study: StudyKey) -> None:
    connection.execute(sa.delete(places).where(places.c.study_id == study.study_id))
    for table in (intervals, attempts, loops, deliveries):
        connection.execute(sa.delete(table).where(table.c.study_uuid == study.uuid))
    connection.execute(sa.delete(studies).where(studies.c.uuid == study.uuid))


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
