"""Optuna's RDBStorage with retries, fences and transaction hooks.

It subclasses RDBStorage, because Optuna caches trials only for instances of it. Three things are
added. Work that fails for a reason that passes is tried again. A trial whose slot another loop
holds cannot be written. And our rows can be written in the transaction that creates a trial or
changes its state: both are committed, or neither.
"""

import contextlib
import copy
import functools
import json
import math
import uuid
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution
from optuna.exceptions import (
    DuplicatedStudyError,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.pruners import _filter_study
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import NOT_FOUND_MSG, StudyModel
from optuna.study import Study, StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from tuner.storage import connections, frozen_trials, trial_rows
from tuner.storage.connections import RetryPolicy
from tuner.storage.identity import process_identity
from tuner.storage.schema import MADE, optuna_study_attributes
from tuner.storage.transaction_hooks import (
    AlreadyCreated,
    DeferredWrites,
    TransactionHook,
    mark_trial,
    write_deferred,
)

P = ParamSpec("P")
T = TypeVar("T")


class Fence(Protocol):
    """Is given the transaction's connection and the ids of the trials, or of the study, that are
    written; raises where this loop may not write one of them."""

    def __call__(self, connection: sa.Connection, /, *ids: int) -> object: ...


# The key of `Session.info` under which a call of Optuna's has what runs before its commits.
_BEFORE_COMMIT = "tuner:before_commit"


class RobustStorage(RDBStorage):
    """RDBStorage on hardened connections, whose password may hold any character.

    `fence` guards all writes to trials, `study_fence` what samplers write to a study; a loop sets
    both for its lease. `outlining`: how a whole study is read at once; None reads all of each
    trial."""

    def __init__(self, url: URL, retry_policy: RetryPolicy) -> None:
        self.retry_policy = retry_policy
        self.fence: Fence | None = None
        self.study_fence: Fence | None = None
        self.outlining: frozen_trials.Outlining | None = None
        self._deferred: dict[int, DeferredWrites] = {}
        # The schema was created and checked before, under a lock: see `opening.prepare_schema`.
        super().__init__(
            url.render_as_string(hide_password=False),
            engine_kwargs=connections.engine_options(url),
            skip_table_creation=True,
            skip_compatibility_check=True,
        )
        connections.harden(self.engine, writes=True)
        # The base class opened connections that are not hardened: drop them.
        self.engine.dispose()
        sa.event.listen(self.scoped_session, "before_commit", _call_before_commit)

    @staticmethod
    def _fill_storage_url_template(template: str) -> str:
        # Optuna fills in {SCHEMA_VERSION} by str.format, which fails on a brace in a password.
        return template

    # Trials: creating them and changing their state

    def create_trial(
        self,
        study_id: int,
        template: FrozenTrial | None = None,
        *,
        hook: TransactionHook | None = None,
    ) -> int:
        """Create a trial, like `template` where that is given; its id. Optuna's cache learns of it
        when it next reads the study's trials."""
        return int(self._create_trial(study_id, template, hook)._trial_id)

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        return self._create_trial(study_id, template_trial, None)

    def _create_trial(
        self, study_id: int, template: FrozenTrial | None, hook: TransactionHook | None
    ) -> FrozenTrial:
        write = hook.write if hook is not None else mark_trial()
        trial = copy.deepcopy(template) if template is not None else new_trial()

        def create(connection: sa.Connection) -> None:
            trial._trial_id, trial.number = trial_rows.insert_trial(connection, study_id, trial)
            write(connection, trial._trial_id)

        try:
            self._run(create)
        except AlreadyCreated as already:
            return self.get_trial(already.trial_id)
        return trial

    def set_trial_state(
        self,
        trial_id: int,
        state: TrialState,
        values: Sequence[float] | None = None,
        *,
        hook: TransactionHook | None = None,
        fence: Fence | None = None,
    ) -> bool:
        """Change a trial's state; False where a trial that does not wait is to become RUNNING.
        What `one_transaction` has collected of the trial is written with it. `fence` is used in
        place of the storage's own. Raises UpdateFinishedTrialError."""
        deferred = self._deferred.pop(trial_id, None)
        fence = fence or self.fence

        def change(connection: sa.Connection) -> bool:
            if fence is not None:
                fence(connection, trial_id)
            present = trial_rows.check_unfinished(connection, trial_id)
            if state == TrialState.RUNNING and present != TrialState.WAITING:
                return False
            if deferred is not None:
                deferred.write(connection)
            trial_rows.set_values(connection, trial_id, values or ())
            trial_rows.set_state(connection, trial_id, state)
            if hook is not None:
                hook.write(connection, trial_id)
            return True

        return self.retry_policy.run(
            lambda repeated: self._change_state(trial_id, state, change, hook, repeated)
        )

    def _change_state(
        self,
        trial_id: int,
        state: TrialState,
        change: Callable[[sa.Connection], bool],
        hook: TransactionHook | None,
        repeated: bool,
    ) -> bool:
        """One try; a repeated one finds what an earlier one has committed."""
        if repeated and hook is not None and hook.has_committed():
            return True
        try:
            with self.engine.begin() as connection:
                return change(connection)
        except UpdateFinishedTrialError:
            if repeated and hook is None and self.get_trial(trial_id).state == state:
                return True
            raise

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        return self.set_trial_state(trial_id, state, values)

    # Trials: parameters, reports and attributes

    @contextlib.contextmanager
    def one_transaction(self, trial_id: int) -> Iterator[dict[int, DeferredWrites]]:
        """Inside, what is written of the trial is collected. It is written in one transaction: with
        a change of the trial's state, or else at the end. After an error none of it is."""
        with self.collecting(trial_id) as collected:
            yield collected
            self.write_deferred(*collected.values())

    @contextlib.contextmanager
    def collecting(self, *trial_ids: int) -> Iterator[dict[int, DeferredWrites]]:
        """Inside, what is written of these trials is collected, by their ids, for
        `write_deferred`."""
        self._deferred = {trial_id: DeferredWrites(trial_id) for trial_id in trial_ids}
        try:
            yield self._deferred
        finally:
            self._deferred = {}

    def write_deferred(
        self,
        *collected: DeferredWrites,
        before: Callable[[sa.Connection], None] = lambda connection: None,
    ) -> None:
        """Write what was collected of different trials in one transaction: all of it, or nothing
        where one of them may not be written, or `before` raises in the same transaction."""
        deferred = [writes for writes in collected if writes]

        def write(connection: sa.Connection) -> None:
            before(connection)
            write_deferred(connection, deferred)

        if deferred:
            self._write_trials([writes.trial_id for writes in deferred], write)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        param = (param_name, param_value_internal, distribution, previous_distribution)
        self._add(trial_id, lambda writes: writes.params.append(param))

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._add(trial_id, lambda writes: writes.reports.update({step: intermediate_value}))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._add(trial_id, lambda writes: writes.user_attributes.update({key: value}))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._add(trial_id, lambda writes: writes.system_attributes.update({key: value}))

    def _add(self, trial_id: int, add: Callable[[DeferredWrites], None]) -> None:
        """Collect a write, or write it now where none are collected of the trial."""
        deferred = self._deferred.get(trial_id)
        writes = DeferredWrites(trial_id) if deferred is None else deferred
        add(writes)
        if deferred is None:
            self.write_deferred(writes)

    # Trials: reading them

    def get_trial(self, trial_id: int) -> FrozenTrial:
        trial = self._read(super().get_trial, trial_id)
        if (deferred := self._deferred.get(trial_id)) is not None:
            deferred.add_to(trial)  # the pruner builds on what it has written before
        return trial

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        return self.get_trial(trial_id).system_attrs

    def get_trial_user_attrs(self, trial_id: int) -> dict[str, Any]:
        return self._read(super().get_trial_user_attrs, trial_id)

    def get_trial_param(self, trial_id: int, param_name: str) -> float:
        return self._read(super().get_trial_param, trial_id, param_name)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        find = super().get_trial_id_from_study_id_trial_number
        return self._read(find, study_id, trial_number)

    def _get_best_trial_id(self, study_id: int, direction: StudyDirection) -> int:
        return self._read(super()._get_best_trial_id, study_id, direction)

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
        return self.read_trials(chosen)

    def read_trials(self, chosen: frozen_trials.Chosen) -> list[FrozenTrial]:
        """The chosen trials of a study. Raises KeyError where there is no such study."""
        study_id = chosen.study_id
        outlining = self.outlining if chosen.states is None and chosen.after < 0 else None

        def read() -> list[FrozenTrial]:
            with self.engine.begin() as connection:
                frozen_trials.check_study(connection, study_id)
                with frozen_trials.name_damage():
                    if outlining is not None:
                        return frozen_trials.read_outlined(connection, study_id, outlining)
                    return frozen_trials.read_whole(connection, chosen)

        return self._read(read)

    # Studies

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        creator = json.dumps({"token": uuid.uuid4().hex, "process": process_identity()})
        create = functools.partial(super().create_new_study, directions, study_name)

        def before_commit(session: Session) -> None:
            new = next((o for o in session.new if isinstance(o, StudyModel)), None)
            if new is None:
                return  # Optuna reads the new study's id in a transaction of its own
            session.flush()
            values = {"study_id": new.study_id, "key": MADE, "value_json": creator}
            session.execute(sa.insert(optuna_study_attributes).values(**values))

        def attempt(repeated: bool) -> int:
            try:
                return int(self._commit(before_commit, create))
            except DuplicatedStudyError:
                study_id = self._study_created_by(creator) if repeated else None
                if study_id is None:
                    raise
                return study_id

        return self.retry_policy.run(attempt)

    def _study_created_by(self, creator: str) -> int | None:
        table = optuna_study_attributes
        query = sa.select(table.c.study_id).where(table.c.value_json == creator)
        with self.engine.begin() as connection:
            return connection.execute(query).scalar()

    def delete_study(self, study_id: int) -> None:
        """Delete a study with all its rows. Raises KeyError for a study that is not there. Optuna's
        own method deletes nothing, and raises nothing, where another process adds a report or a
        trial between its SELECTs and its DELETEs."""

        def attempt(repeated: bool) -> None:
            with self.engine.begin() as connection:
                if not trial_rows.delete_study(connection, study_id) and not repeated:
                    raise KeyError(NOT_FOUND_MSG)

        self.retry_policy.run(attempt)
        self.remove_session()  # it must not cache rows whose ids are reused

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._write_study(study_id, super().set_study_user_attr, study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._write_study(study_id, super().set_study_system_attr, study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._read(super().get_study_id_from_name, study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._read(super().get_study_name_from_id, study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._read(super().get_study_directions, study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._read(super().get_study_user_attrs, study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._read(super().get_study_system_attrs, study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        return self._read(super().get_all_studies)

    # How Optuna's methods are called

    def _read(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of Optuna's method, tried again while the database fails."""
        return self.retry_policy.run(lambda _repeated: method(*args, **kwargs))

    def _write_trials(
        self, trial_ids: Sequence[int], write: Callable[[sa.Connection], None]
    ) -> None:
        """Write to trials that have not ended, in a transaction that the fence guards. Repeating it
        does no harm."""

        def guarded(connection: sa.Connection) -> None:
            if self.fence is not None:
                self.fence(connection, *trial_ids)
            trial_rows.check_unfinished(connection, *trial_ids)
            write(connection)

        self._run(guarded)

    def _run(self, work: Callable[[sa.Connection], T]) -> T:
        """The result of work in a write transaction, tried again while the database fails."""

        def attempt(_repeated: bool) -> T:
            with self.engine.begin() as connection:
                return work(connection)

        return self.retry_policy.run(attempt)

    def _write_study(
        self, study_id: int, method: Callable[P, None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """The same of a write to a study."""
        call = functools.partial(method, *args, **kwargs)
        guard = _guarding(self.study_fence, study_id)
        self.retry_policy.run(lambda _repeated: self._commit(guard, call))

    def _commit(self, before_commit: Callable[[Session], None], call: Callable[[], T]) -> T:
        """The result of Optuna's method; `before_commit` is called in its transactions, before
        each of them commits."""
        # The session that Optuna uses in this thread. To listen to it here would take 0.2 ms.
        session = self.scoped_session()
        session.info[_BEFORE_COMMIT] = before_commit
        try:
            return call()
        finally:
            del session.info[_BEFORE_COMMIT]


def _call_before_commit(session: Session) -> None:
    before_commit = session.info.get(_BEFORE_COMMIT)
    if before_commit is not None:
        before_commit(session)


def _guarding(fence: Fence | None, row_id: int) -> Callable[[Session], None]:
    def before_commit(session: Session) -> None:
        if fence is not None:
            fence(session.connection(), row_id)

    return before_commit


def new_trial() -> FrozenTrial:
    """A trial that begins now."""
    return create_trial(state=TrialState.RUNNING)


def tell_trial(
    study: Study,
    trial_id: int,
    state: TrialState,
    value: float | Sequence[float] | None = None,
    *,
    hook: TransactionHook | None = None,
    fence: Fence | None = None,
    skip_if_finished: bool = False,
) -> None:
    """End a RUNNING trial of a study on a RobustStorage, as `Study.tell` does, with a hook or a
    fence. COMPLETE needs a `value`, or one for each of the study's objectives; a PRUNED trial keeps
    its last report as its value. Raises ValueError for a trial that does not run, and for a value
    that is NaN or missing."""
    storage = study._storage
    study._thread_local.cached_all_trials = None
    trial = storage.get_trial(trial_id)
    if skip_if_finished and trial.state.is_finished():
        return
    if trial.state != TrialState.RUNNING:
        raise ValueError(f"trial {trial.number} is {trial.state.name}: only RUNNING ones can end")
    values = None if value is None else list(value if isinstance(value, Sequence) else [value])
    if state == TrialState.COMPLETE and (not values or any(map(math.isnan, values))):
        raise ValueError(f"trial {trial.number} has no score: {value}")
    if state == TrialState.PRUNED and trial.last_step is not None:
        last_report = trial.intermediate_values[trial.last_step]
        values = None if math.isnan(last_report) else [last_report]
    backend: Any = getattr(storage, "_backend", storage)  # behind Optuna's cache
    try:
        filtered = _filter_study(study, trial)
        filtered.sampler.after_trial(filtered, trial, state, values)
    finally:
        backend.set_trial_state(trial_id, state, values, hook=hook, fence=fence)


def is_missing(error: KeyError) -> bool:
    """Whether Optuna raised it for a study or a trial that is not in the database (any more)."""
    return error.args == (NOT_FOUND_MSG,)


def open_optuna_storage(url: URL, retry_policy: RetryPolicy) -> RobustStorage:
    """Optuna's storage on a prepared schema. Raises StorageUnavailable."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with connections.unavailable(url):
        try:
            return retry_policy.run(lambda _repeated: RobustStorage(url, retry_policy))
        except StorageInternalError as error:
            raise error.__cause__ or error from error
