"""Studies in SQL: creating, finding, listing and deleting them."""

import contextlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from tuner.errors import SpecError, StudyError
from tuner.settings import tuner_version
from tuner.storage import leases
from tuner.storage.damage import (
    Damage,
    identity,
    is_identity,
    json_object,
    moment,
    shortened,
    text,
    whole,
)
from tuner.storage.identity import is_process_dead, machine_id, user_name
from tuner.storage.leases import has_optuna_study, lock_study
from tuner.storage.optuna_rows import finite_value, state_of_trial, with_values
from tuner.storage.schema import (
    MADE,
    METRIC_NAMES,
    STUDY_UUID,
    StudyKey,
    attempts,
    deliveries,
    loops,
    notices,
    optuna_studies,
    optuna_study_attributes,
    optuna_trials,
    reports,
    slot_rows,
    studies,
)
from tuner.storage.store import Store, now
from tuner.study.spec import StudySpec
from tuner.study.study_state import StudyState
from tuner.system.names import as_file_name, command, in_command, printable

_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class StudyRow:
    """A study as stored. `uuid`: 32 hexadecimal digits that no other study has. `definition`: its
    spec as JSON. `experiment` is MLflow's, named like the study unless it is shared. `owner`,
    `owner_machine`, `version`: who created it, where, and with which version of tuner; None in
    older studies. `damage`: what cannot be read of its row. `state`, `priority`, `limits`: what was
    asked of it (storage/study_control.py) when the row was read."""

    study_id: int
    uuid: str
    name: str
    definition: str
    experiment: str
    created_at: datetime | None
    owner: str | None = None
    owner_machine: str | None = None
    version: str | None = None
    damage: str | None = None
    state: StudyState = field(default=StudyState.RUNNING, compare=False)
    priority: int = field(default=0, compare=False)
    limits: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @cached_property
    def spec(self) -> StudySpec:
        """Parsed on first use, so that a study with a damaged definition can still be deleted.
        Raises SpecError."""
        try:
            return StudySpec.from_json(self.definition)
        except SpecError as error:
            raise SpecError(
                f"study {self.name!r} is damaged: {error}; to remove it: "
                + command("study", "delete", in_command(self.name))
            ) from error

    @property
    def file_name(self) -> str:
        """The name of the study's folders and files: see `names.as_file_name`."""
        return as_file_name(self.name, self.uuid if is_identity(self.uuid) else "damaged")


@dataclass(frozen=True)
class StudySummary:
    """A line of `study list`. `total`: its number of trial slots. `damage`: what cannot be read of
    its row; then only the name and the time of creation are known."""

    name: str
    data: str = ""
    space: str = ""
    metric: str = ""
    states: dict[str, int] = field(default_factory=dict)
    best: float | None = None
    created_at: datetime | None = None
    damage: str | None = None
    state: StudyState = StudyState.RUNNING
    priority: int = 0
    total: int = 0

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
    """Create a study and queue its first trials. Raises StudyError if the name is taken."""
    import optuna

    store.write(_forget_vanished)
    _clear_half_made(store, name)
    try:
        directions = [goal.direction for goal in spec.goals]
        study = optuna.create_study(storage=store.optuna, study_name=name, directions=directions)
    except optuna.exceptions.DuplicatedStudyError as error:
        raise StudyError(_taken_message(store, name)) from error
    try:
        for params in first_trials or []:
            study.enqueue_trial(params)
        values = {"name": name, "spec": spec.model_dump_json(), "experiment": experiment}
        values |= {"owner": user_name(), "owner_machine": machine_id(), "version": tuner_version()}
        store.write(_insert_study, study._study_id, uuid.uuid4().hex, values, spec)
    except BaseException:  # Ctrl-C too: half a study would only occupy the name
        store.optuna.delete_study(study._study_id)
        raise
    return load_study(store, name)


def _insert_study(
    connection: sa.Connection,
    study_id: int,
    study_uuid: str,
    values: dict[str, Any],
    spec: StudySpec,
) -> None:
    inserted_before = sa.select(studies.c.study_id).where(studies.c.uuid == study_uuid)
    if connection.execute(inserted_before).first() is not None:
        return
    mark = {"study_id": study_id, "key": STUDY_UUID, "value_json": json.dumps(study_uuid)}
    connection.execute(sa.insert(optuna_study_attributes).values(**mark))
    _name_objectives(connection, study_id, spec)
    created_at = now(connection.dialect.name)
    keys = {"study_id": study_id, "uuid": study_uuid, "created_at": created_at}
    connection.execute(sa.insert(studies).values(**keys, **values))


def name_objectives(store: Store, only: StudyKey | None = None) -> None:
    """Have Optuna's dashboard and plots call each objective by its metric's name: earlier versions
    left it unnamed. `only`: of this study alone."""
    is_named = sa.exists().where(
        optuna_study_attributes.c.study_id == studies.c.study_id,
        optuna_study_attributes.c.key == METRIC_NAMES,
    )
    query = _select_studies().where(sa.not_(is_named))
    if only is not None:
        query = query.where(studies.c.uuid == only.uuid)
    rows = store.read(lambda connection: [_study(row) for row in connection.execute(query)])
    for row in rows:
        if row.damage is None:
            with contextlib.suppress(SpecError):
                store.write(_name_objectives, row.study_id, row.spec)


def _name_objectives(connection: sa.Connection, study_id: int, spec: StudySpec) -> None:
    """As Optuna's `set_metric_names` does, but in the caller's transaction."""
    lock_study(connection, study_id)
    names = json.dumps([goal.metric for goal in spec.goals])
    row = {"study_id": study_id, "key": METRIC_NAMES, "value_json": names}
    named_before = sa.select(optuna_study_attributes.c.key).where(
        optuna_study_attributes.c.study_id == study_id,
        optuna_study_attributes.c.key == METRIC_NAMES,
    )
    if connection.execute(named_before).first() is None:
        connection.execute(sa.insert(optuna_study_attributes).values(**row))


def _forget_vanished(connection: sa.Connection) -> None:
    """Delete our rows of studies that someone deleted with Optuna's own tools: SQLite reuses their
    ids for new studies and trials. A study that is only damaged stays."""
    # One query: between two, another command may finish creating its study.
    vanished = sa.select(studies.c.study_id, studies.c.uuid).where(sa.not_(_is_in_optuna()))
    for row in connection.execute(vanished).all():
        # As each write of a loop does: in another order the two would wait for each other.
        leases.lock_loops(connection, row)
        _delete_own_rows(connection, row)


def _clear_half_made(store: Store, name: str) -> None:
    """Delete the Optuna study that a command left when it was killed while creating a study:
    without our row it is no study, and must not occupy the name."""
    study_id = store.read(_find_half_made, name)
    if study_id is not None:
        store.optuna.delete_study(study_id)


def _find_half_made(connection: sa.Connection, name: str) -> int | None:
    marks = optuna_study_attributes
    query = (
        sa.select(optuna_studies.c.study_id, marks.c.value_json)
        .join(marks, marks.c.study_id == optuna_studies.c.study_id)
        .where(optuna_studies.c.study_name == name, marks.c.key == MADE)
        .where(optuna_studies.c.study_id.not_in(sa.select(studies.c.study_id)))
    )
    row = connection.execute(query).first()
    process = row and Damage().read("made", _creator_process, row.value_json)
    if row is None or process is None or not is_process_dead(process):
        return None
    return row.study_id


def _creator_process(mark: Any) -> str:
    return text(json_object(mark)["process"])


def _taken_message(store: Store, name: str) -> str:
    query = sa.select(studies.c.name).where(studies.c.name == name)
    with store.reading() as connection:
        is_own = connection.execute(query).first() is not None
    if is_own:
        return f"a study named {name!r} exists already; choose another name, or delete that one"
    return f"Optuna has a study {name!r} that tuner did not finish creating; choose another name"


def load_study(store: Store, name: str | None = None) -> StudyRow:
    """The study of that name. Without a name, the newest search of this user, or the newest
    comparison if there is no search. Raises StudyError, and SpecError if its definition is
    damaged."""
    row = find_study(store, name)
    _ = row.spec
    return row


def load_studies(store: Store, tell: Callable[[str], None]) -> list[StudyRow]:
    """All studies, newest first. Damaged ones are left out, of which `tell` is told."""
    whole: list[StudyRow] = []
    for row in store.read(newest_first):
        damage = row.damage
        try:
            _ = row.spec
        except SpecError as error:
            damage = damage or str(error.__cause__)
        if damage is None:
            whole.append(row)
        else:
            tell(f"study {printable(row.name)} is left out, because it is damaged: {damage}")
    return whole


def check_is_search(study: StudyRow, refused: str) -> None:
    """Raises StudyError for a comparison, whose trials are scored on the test split. `refused`:
    what the user asked for."""
    if study.spec.is_comparison:
        raise StudyError(
            f"study {study.name!r} is a comparison: {refused} is refused, since its trials are "
            "scored on the test split and its configurations are fixed; name a search, or repeat "
            "the compare command to go on with it"
        )


def no_finished_trial(study: StudyRow) -> StudyError:
    """For a command that needs the best trial."""
    return StudyError(
        f"study {study.name!r} has no finished trial yet; run: "
        + command("optimize", in_command(study.name), "--trials", 100)
    )


def how_to_create() -> str:
    """What messages suggest if there is no study."""
    return f"create one with: {command('study', 'create', '--data', 'digits')}"


def find_study(store: Store, name: str | None = None) -> StudyRow:
    """The same also for a study with a damaged definition: its `spec` raises SpecError when it is
    read. Raises StudyError."""
    rows = store.read(newest_first)
    if not rows:
        raise StudyError(f"{store.shown} holds no study; {how_to_create()}")
    return _newest_own(rows, store) if name is None else _by_name(rows, name, store)


def study_with_uuid(store: Store, study_uuid: str) -> StudyRow | None:
    """The study of that uuid, also with a damaged definition; None if there is none."""
    if not is_identity(study_uuid):
        return None
    query = _select_studies().where(studies.c.uuid == study_uuid)
    row = store.read(lambda connection: connection.execute(query).first())
    return None if row is None else _study(row)


def _by_name(rows: Sequence[StudyRow], name: str, store: Store) -> StudyRow:
    # A name that does not print can also be given as `study list` shows it.
    spellings: list[Callable[[str], str]] = [str, printable]
    for spell in spellings:
        for row in rows:
            if spell(row.name) == name:
                return row
    names = ", ".join(printable(row.name) for row in rows[:8])
    raise StudyError(f"no study named {name!r} in {store.shown}; there are: {names}")


def _newest_own(rows: Sequence[StudyRow], store: Store) -> StudyRow:
    """On a shared server, the newest study of all may be somebody else's."""
    is_file = store.url.get_backend_name() == "sqlite"
    own = [row for row in rows if _is_own(row, is_file)]
    if own:
        # A command without a name means the newest search, not the comparison made after it.
        return next((row for row in own if not _is_comparison(row)), own[0])
    newest = rows[0]
    raise StudyError(
        f"none of the studies in {store.shown} is yours; the newest, {printable(newest.name)!r}, "
        f"was created by {_creator(newest)}; name the study, as in: "
        + command("optimize", in_command(newest.name), "--trials", 100)
    )


def _is_comparison(row: StudyRow) -> bool:
    """Read from the JSON of its definition, which may be damaged: parsing a spec takes longer."""
    try:
        definition = json.loads(row.definition)
    except ValueError:
        return False
    return isinstance(definition, dict) and definition.get("held_out") == "test"


def _is_own(row: StudyRow, is_file: bool) -> bool:
    if row.owner is None:  # created before owners were recorded
        return is_file
    # The same name on another machine may be another user; a file moved there is still theirs.
    return row.owner == user_name() and (is_file or row.owner_machine == machine_id())


def _creator(row: StudyRow) -> str:
    if row.owner is None:
        return "an earlier version of tuner"
    machine = "this machine" if row.owner_machine == machine_id() else "another machine"
    return f"{printable(row.owner)} on {machine}"


def is_named_in_a_study(store: Store, text: str) -> bool:
    """Whether the definition of any study, damaged or not, holds this text."""
    query = sa.select(sa.exists().where(studies.c.spec.contains(text, autoescape=True)))
    return bool(store.read(lambda connection: connection.scalar(query)))


def newest_first(connection: sa.Connection) -> list[StudyRow]:
    """All studies, also damaged ones. They are sorted here, since a damaged time may be a text,
    which SQLite sorts after all numbers."""
    rows = [_study(row) for row in connection.execute(_select_studies())]
    return sorted(rows, key=lambda row: (row.created_at or _LONG_AGO, row.study_id), reverse=True)


def _select_studies() -> sa.Select[Any]:
    """Our rows that have a study in Optuna's tables, whose id there is `optuna_id`. `is_whole`: it
    carries our uuid."""
    columns = [column for column in studies.c if column.name != "stop_until"]
    return sa.select(
        *columns, has_optuna_study().label("is_whole"), _optuna_id().label("optuna_id")
    ).where(_is_in_optuna())


def _is_in_optuna() -> sa.ColumnElement[bool]:
    return sa.or_(has_optuna_study(), _optuna_id().is_not(None))


def _optuna_id() -> sa.ColumnElement[int]:
    """The id of Optuna's study that carries our uuid; if the uuid or the id is damaged, of the one
    with the same name."""
    marks = optuna_study_attributes
    by_mark = (
        sa.select(marks.c.study_id)
        .where(marks.c.key == STUDY_UUID, marks.c.value_json == '"' + studies.c.uuid + '"')
        .limit(1)
        .scalar_subquery()
    )
    by_name = (
        sa.select(optuna_studies.c.study_id)
        .where(optuna_studies.c.study_name == studies.c.name)
        .limit(1)
        .scalar_subquery()
    )
    return sa.func.coalesce(by_mark, by_name)


def _study(row: Any) -> StudyRow:
    damage = Damage()
    name = damage.read("name", text, row.name) or shortened(row.name)
    damage.read("uuid", identity, row.uuid)
    created_at = damage.read("created_at", moment, row.created_at)
    if not row.is_whole:
        damage.notes.append("Optuna's study of that name does not carry this one's id")
    values = row._mapping
    creation = {
        column: damage.optional(column, text, values[column])
        for column in ("owner", "owner_machine", "version")
    }
    return StudyRow(
        study_id=row.study_id if row.is_whole else row.optuna_id,
        uuid=row.uuid,
        name=name,
        definition=damage.read("spec", text, row.spec) or "",
        experiment=damage.optional("experiment", text, row.experiment) or name,
        created_at=None if created_at is None else datetime.fromtimestamp(created_at, UTC),
        state=StudyState.read(row.state),
        priority=damage.optional("priority", whole, row.priority) or 0,
        limits=damage.optional("limits", json_object, row.limits) or {},
        damage=str(damage) or None,
        **creation,
    )


def free_name(store: Store, wanted: str) -> str:
    """`wanted`, or `wanted` with the first number that makes it free, from 2 on."""
    with store.reading() as connection:
        taken = set(connection.execute(sa.select(optuna_studies.c.study_name)).scalars())
    number = 2
    name = wanted
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name


def list_studies(store: Store) -> list[StudySummary]:
    """All studies, newest first, as one snapshot. Imports nothing heavier than SQLAlchemy."""
    return store.read(_list_studies)


def _list_studies(connection: sa.Connection) -> list[StudySummary]:
    states, scores = trial_states(connection), best_scores(connection)
    totals = _totals(connection)
    return [
        _summary(
            row,
            states.get(row.study_id, {}),
            scores.get(row.study_id, (None, None)),
            totals.get(row.study_id, 0),
        )
        for row in newest_first(connection)
    ]


def trial_states(connection: sa.Connection) -> dict[int, dict[str, int]]:
    """How many trials of each study have which of Optuna's states, by Optuna's study id."""
    state, study_id = state_of_trial(), optuna_trials.c.study_id
    counts = sa.select(study_id, state, sa.func.count()).group_by(study_id, state)
    states: dict[int, dict[str, int]] = {}
    for trials_study, name, count in connection.execute(counts):
        states.setdefault(trials_study, {})[name] = count
    return states


def _totals(connection: sa.Connection) -> dict[int, int]:
    """How many trial slots each study has."""
    query = sa.select(slot_rows.c.study_id, sa.func.count()).group_by(slot_rows.c.study_id)
    return {row[0]: row[1] for row in connection.execute(query)}


def best_scores(connection: sa.Connection) -> dict[int, tuple[float | None, float | None]]:
    """Lowest and highest score of each study's COMPLETE trials."""
    value = finite_value()
    query = (
        sa.select(optuna_trials.c.study_id, sa.func.min(value), sa.func.max(value))
        .select_from(with_values())
        .where(state_of_trial() == "COMPLETE")
        .group_by(optuna_trials.c.study_id)
    )
    return {row[0]: (row[1], row[2]) for row in connection.execute(query)}


def _summary(
    row: StudyRow,
    states: dict[str, int],
    scores: tuple[float | None, float | None],
    total: int,
) -> StudySummary:
    if row.damage:
        return StudySummary(row.name, created_at=row.created_at, damage=row.damage)
    try:
        spec = StudySpec.from_json(row.definition)
    except SpecError as error:
        return StudySummary(row.name, created_at=row.created_at, damage=str(error))
    low, high = scores
    best = high if spec.direction == "maximize" else low
    return StudySummary(
        name=row.name,
        data=spec.data_source,
        space=spec.space.network,
        metric=spec.metric,
        states=states,
        best=best if spec.selects else None,
        created_at=row.created_at,
        state=row.state,
        priority=row.priority,
        total=total,
    )


def delete_study(store: Store, study: StudyKey, even_while_searched: bool = False) -> None:
    """Remove a study with all its rows, Optuna's and ours, in one transaction; later writes to it
    are refused. Its files and runs are left to the caller. Raises StudyError while a loop's lease
    holds, unless `even_while_searched`."""
    store.write(_delete, study, even_while_searched)
    store.optuna.remove_session()  # it must not cache rows whose ids are reused


def _delete(connection: sa.Connection, study: StudyKey, even_while_searched: bool) -> None:
    from tuner.storage import trial_rows  # it imports Optuna

    # What a loop is writing is deleted too.
    leases.lock_loops(connection, study)
    lock_study(connection, study.study_id)
    if not even_while_searched and (searching := leases.live_holders(connection, study)):
        raise StudyError(f"the study is being searched by {searching[0]}")
    if leases.study_exists(connection, study) or _has_same_name(connection, study):
        # Optuna's own deletion first loads every row of every trial.
        trial_rows.delete_study(connection, study.study_id)
    _delete_own_rows(connection, study)


def _has_same_name(connection: sa.Connection, study: StudyKey) -> bool:
    """Whether Optuna's study of that id has the name of ours and a mark: it is the same one, with a
    damaged mark. One without a mark was created by Optuna's own tools since, for somebody else."""
    marks = optuna_study_attributes
    query = sa.select(optuna_studies.c.study_id).where(
        optuna_studies.c.study_id == study.study_id,
        optuna_studies.c.study_name
        == sa.select(studies.c.name).where(studies.c.uuid == study.uuid).scalar_subquery(),
        sa.exists().where(marks.c.study_id == optuna_studies.c.study_id, marks.c.key == STUDY_UUID),
    )
    return connection.execute(query).first() is not None


def _delete_own_rows(connection: sa.Connection, study: StudyKey) -> None:
    connection.execute(sa.delete(slot_rows).where(slot_rows.c.study_id == study.study_id))
    for table in (reports, attempts, loops, deliveries, notices):
        connection.execute(sa.delete(table).where(table.c.study_uuid == study.uuid))
    connection.execute(sa.delete(studies).where(studies.c.uuid == study.uuid))
