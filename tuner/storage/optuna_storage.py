"""Optuna's RDBStorage on engines that hold. A subclass: only its instances get Optuna's cache.

Three things are added. Whatever fails in a way that passes is tried again. A trial whose place
another loop has taken over cannot be written. And rows of ours can ride in the transaction that
changes a trial's state: both are committed, or neither.
"""

import contextlib
import functools
import inspect
import json
import uuid
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.exceptions import (
    DuplicatedStudyError,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    NOT_FOUND_MSG,
    StudyModel,
    TrialModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
)
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

from tuner.storage import connections, frozen_trials
from tuner.storage.connections import RetryPolicy
from tuner.storage.process_identity import identity
from tuner.storage.schema import MADE, optuna_study_attributes, optuna_trial_attributes


@dataclass(frozen=True)
class TransactionHook:
    """Our part of one of Optuna's transactions. `write` is given its connection and the trial's
    id. `landed`: whether a try whose answer was lost was committed nevertheless."""

    write: Callable[[sa.Connection, int], None]
    landed: Callable[[], bool] = lambda: False


@dataclass
class HeldBack:
    """Writes of one trial that wait for their common transaction: how each is done, the report's
    step or the attribute's key, and the value."""

    trial_id: int
    writes: list[tuple[Callable[..., None], Any, Any]] = field(default_factory=list)

    def add_to(self, trial: FrozenTrial) -> None:
        for write, key, value in self.writes:
            if write is _write_report:
                trial.intermediate_values[key] = value
            elif write is _write_user_attribute:
                trial._user_attrs[key] = value
            else:
                trial._system_attrs[key] = value


class AlreadyMade(Exception):
    """An earlier try, whose answer was lost, has made the trial."""

    def __init__(self, trial_id: int) -> None:
        super().__init__(trial_id)
        self.trial_id = trial_id


class RobustStorage(RDBStorage):
    """RDBStorage on hardened connections, whose password may hold any character. `fence`: raises
    where a trial is no longer ours to write; it is given the connection and the trial's id.
    `study_fence`: the same for what samplers write to a study, given the study's id. `outlining`:
    how a whole study is read at once; without it, all of each trial."""

    def __init__(self, url: URL, patience: RetryPolicy) -> None:
        self.patience = patience
        self.fence: Callable[[sa.Connection, int], None] | None = None
        self.study_fence: Callable[[sa.Connection, int], None] | None = None
        self.outlining: frozen_trials.Outlining | None = None
        self._rider: TransactionHook | None = None
        self._held_back: HeldBack | None = None
        self._before_commit: Callable[[Any], None] | None = None
        options = connections.engine_options(url)
        text = url.render_as_string(hide_password=False)
        # The schema is prepared and checked before, under a lock: see migrate.py.
        super().__init__(
            text, engine_kwargs=options, skip_table_creation=True, skip_compatibility_check=True
        )
        connections.harden(self.engine, writes=True)
        # Connections opened while the base class started are not set up: let them go.
        self.engine.dispose()
        sa.event.listen(self.scoped_session, "before_commit", self._commits)

    @staticmethod
    def _fill_storage_url_template(template: str) -> str:
        # Optuna fills {SCHEMA_VERSION} in by str.format, which a brace in a password breaks.
        return template

    @contextlib.contextmanager
    def carrying(self, rider: TransactionHook) -> Iterator[None]:
        """Inside, the trial that is made, or whose state is changed, carries the rider."""
        self._rider = rider
        try:
            yield
        finally:
            self._rider = None

    def _commits(self, session: Any) -> None:
        if self._before_commit is not None:
            self._before_commit(session)

    def _within(self, before_commit: Callable[[Any], None], call: Callable[[], Any]) -> Any:
        self._before_commit = before_commit
        try:
            return call()
        finally:
            self._before_commit = None

    def _guard(self, trial_id: int, session: Any) -> None:
        if self.fence is not None:
            self.fence(session.connection(), trial_id)

    def _guard_study(self, study_id: int, session: Any) -> None:
        if self.study_fence is not None:
            self.study_fence(session.connection(), study_id)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        rider = self._rider

        def before_commit(session: Any) -> None:
            # Optuna also commits where it has refused to start a trial that does not wait.
            if state != TrialState.RUNNING or session.dirty:
                self._guard(trial_id, session)
                if rider is not None:
                    rider.write(session.connection(), trial_id)

        def change(again: bool) -> bool:
            if again and rider is not None and rider.landed():
                return True
            try:
                told = super(RobustStorage, self).set_trial_state_values
                return bool(self._within(before_commit, lambda: told(trial_id, state, values)))
            except UpdateFinishedTrialError:
                if again and rider is None and self.get_trial(trial_id).state == state:
                    return True
                raise

        return self.patience.insist(change)

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        write = self._rider.write if self._rider is not None else _mark_trial(uuid.uuid4().hex)

        def before_commit(session: Any) -> None:
            made = next(o for o in session.identity_map.values() if isinstance(o, TrialModel))
            write(session.connection(), int(made.trial_id))

        make = super()._create_new_trial
        call = functools.partial(make, study_id, template_trial)
        try:
            return self.patience.insist(lambda _again: self._within(before_commit, call))
        except AlreadyMade as already:
            return self.get_trial(already.trial_id)

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        chosen_states = None if states is None else [s for s in TrialState if s in states]
        chosen = frozen_trials.Chosen(
            study_id, trial_id_greater_than, included_trial_ids, chosen_states
        )
        outlining = self.outlining if states is None and trial_id_greater_than < 0 else None

        def read(_again: bool) -> list[FrozenTrial]:
            with self.engine.begin() as connection:
                frozen_trials.check_study(connection, study_id)
                with frozen_trials.damage():
                    if outlining is not None:
                        return frozen_trials.read_outlined(connection, study_id, outlining)
                    return frozen_trials.read_whole(connection, chosen)

        return self.patience.insist(read)

    @contextlib.contextmanager
    def one_transaction(self, trial_id: int) -> Iterator[None]:
        """Inside, what is reported of the trial and its attributes are held back; they are written
        at the end, in one transaction. After an error nothing is."""
        held = self._held_back = HeldBack(trial_id)
        try:
            yield
        finally:
            self._held_back = None
        if held.writes:
            guard = functools.partial(self._guard, trial_id)
            call = functools.partial(self._write_held, held)
            self.patience.insist(lambda _again: self._within(guard, call))

    def _write_held(self, held: HeldBack) -> None:
        with _create_scoped_session(self.scoped_session) as session:
            for write, name, value in held.writes:
                write(self, session, held.trial_id, name, value)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        read = super().get_trial
        trial: FrozenTrial = self.patience.insist(lambda _again: read(trial_id))
        held = self._held_back
        if held is not None and held.trial_id == trial_id:
            held.add_to(trial)  # the pruner builds on what it has written before
        return trial

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        return self.get_trial(trial_id).system_attrs

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        made_by = json.dumps({"token": uuid.uuid4().hex, "process": identity()})
        create = super().create_new_study

        def before_commit(session: Any) -> None:
            made = next((o for o in session.new if isinstance(o, StudyModel)), None)
            if made is None:
                return  # Optuna reads the new study's id in a transaction of its own
            session.flush()
            values = {"study_id": made.study_id, "key": MADE, "value_json": made_by}
            session.execute(sa.insert(optuna_study_attributes).values(**values))

        def attempt(again: bool) -> int:
            try:
                return int(self._within(before_commit, lambda: create(directions, study_name)))
            except DuplicatedStudyError:
                found = self._study_made_by(made_by) if again else None
                if found is None:
                    raise
                return found

        return self.patience.insist(attempt)

    def delete_study(self, study_id: int) -> None:
        remove = super().delete_study

        def attempt(again: bool) -> None:
            try:
                remove(study_id)
            except KeyError:
                if not again:
                    raise

        self.patience.insist(attempt)

    def _study_made_by(self, made_by: str) -> int | None:
        table = optuna_study_attributes
        query = sa.select(table.c.study_id).where(table.c.value_json == made_by)
        with self.engine.begin() as connection:
            return connection.execute(query).scalar()


def is_missing(error: KeyError) -> bool:
    """Whether Optuna raised it for a study or a trial that is not in the database (any more)."""
    return error.args == (NOT_FOUND_MSG,)


def _mark_trial(token: str) -> Callable[[sa.Connection, int], None]:
    """Marks the trial that is made, unless one has that mark already."""
    table = optuna_trial_attributes
    value = json.dumps(token)

    def write(connection: sa.Connection, trial_id: int) -> None:
        query = sa.select(table.c.trial_id).where(table.c.key == MADE, table.c.value_json == value)
        if (found := connection.execute(query).scalar()) is not None:
            raise AlreadyMade(found)
        values = {"trial_id": trial_id, "key": MADE, "value_json": value}
        connection.execute(sa.insert(table).values(**values))

    return write


def _repeated(name: str) -> Callable[..., Any]:
    """Optuna's method, repeated while the database fails: reading, or a write that may be."""
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def run(self: RobustStorage, *args: Any, **kwargs: Any) -> Any:
        return self.patience.insist(lambda _again: method(self, *args, **kwargs))

    return run


def _guarded(name: str) -> Callable[..., Any]:
    """The same of a write to a trial, which the fence watches and which may be held back."""
    method = getattr(RDBStorage, name)
    arguments = inspect.signature(method)
    in_session = _IN_SESSION.get(name)

    @functools.wraps(method)
    def run(self: RobustStorage, trial_id: int, *args: Any, **kwargs: Any) -> Any:
        held = self._held_back
        if held is not None and in_session is not None and held.trial_id == trial_id:
            _, _, key, value = arguments.bind(self, trial_id, *args, **kwargs).args
            held.writes.append((in_session, key, value))
            return None
        guard = functools.partial(self._guard, trial_id)
        call = functools.partial(method, self, trial_id, *args, **kwargs)
        return self.patience.insist(lambda _again: self._within(guard, call))

    return run


def _guarded_study(name: str) -> Callable[..., Any]:
    """The same of a write to a study, which its own fence watches."""
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def run(self: RobustStorage, study_id: int, *args: Any, **kwargs: Any) -> Any:
        guard = functools.partial(self._guard_study, study_id)
        call = functools.partial(method, self, study_id, *args, **kwargs)
        return self.patience.insist(lambda _again: self._within(guard, call))

    return run


def _write_report(storage: RDBStorage, session: Any, trial_id: int, step: int, value: Any) -> None:
    storage._set_trial_intermediate_value_without_commit(session, trial_id, step, value)


def _write_user_attribute(
    storage: RDBStorage, session: Any, trial_id: int, key: str, value: Any
) -> None:
    model = TrialUserAttributeModel
    storage._set_trial_attr_without_commit(session, model, trial_id, key, value)


def _write_system_attribute(
    storage: RDBStorage, session: Any, trial_id: int, key: str, value: Any
) -> None:
    model = TrialSystemAttributeModel
    storage._set_trial_attr_without_commit(session, model, trial_id, key, value)


_IN_SESSION: dict[str, Callable[..., None]] = {
    "set_trial_intermediate_value": _write_report,
    "set_trial_user_attr": _write_user_attribute,
    "set_trial_system_attr": _write_system_attribute,
}

for _name in (
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_trial_user_attrs",
    "get_all_studies",
    "get_trial_param",
    "get_trial_id_from_study_id_trial_number",
    "_get_best_trial_id",
):
    setattr(RobustStorage, _name, _repeated(_name))
for _name in ("_set_trial_param", *_IN_SESSION):
    setattr(RobustStorage, _name, _guarded(_name))
for _name in ("set_study_user_attr", "set_study_system_attr"):
    setattr(RobustStorage, _name, _guarded_study(_name))


def open_optuna_storage(url: URL, patience: RetryPolicy) -> RobustStorage:
    """Optuna's storage on a prepared schema. Raises StorageUnavailable."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with connections.unavailable(url):
        try:
            return patience.insist(lambda _again: RobustStorage(url, patience))
        except StorageInternalError as error:
            raise error.__cause__ or error from error
