"""Trials for display: Optuna's record of them joined with ours.

A study may have many thousands: counts and the best trial are computed in SQL, and lists are read
page by page. What belongs together is read in one transaction, which is a snapshot (see
`connections.reading_options`): while a search runs, a trial must not have a row in one table and
none yet in the next.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from tuner.errors import SpaceError, StudyError
from tuner.search_space.parameter_types import Params
from tuner.storage.attempt_rows import (
    AttemptRow,
    ReportRow,
    attempts_by_trial,
    recorded_values,
    report_rows,
    reports_of_scores,
    select_attempts,
)
from tuner.storage.damage import shortened
from tuner.storage.drawn_again import drawn_again_in
from tuner.storage.optuna_rows import (
    OptunaTrial,
    finite_value,
    has_number,
    params_asked_for,
    read_trials,
    state_of_trial,
    with_values,
)
from tuner.storage.schema import attempts, optuna_trials, reports
from tuner.storage.slots import LOSSES, total_slots_in
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow, check_is_search, no_finished_trial
from tuner.study.ends import TrialEnd
from tuner.system.names import command, in_command

# The keys of `table_row` except the params.
TABLE_COLUMNS = ("trial", "state", "end", "score", "epochs", "seconds")
_PAGE = 500
# A study without damaged rows has about a dozen.
_MOST_ENDS = 20


@dataclass(frozen=True)
class TrialRow:
    """One trial. `value` is its score, or for a pruned one its best report; `end` says how its last
    attempt ended; `seconds` is that attempt's whole time; `retry_of` the number of the trial that
    it repeats. `damage`: what cannot be read of its rows; then its number may be -1, and `params`
    has those that can be read. `usable`: its params and its score can be read. `metrics`: those
    that the study records, in the epoch that gave the score; None for one without a value. The
    objectives after the first are among them."""

    number: int
    trial_id: int
    state: str
    value: float | None
    params: Params
    attempts: list[AttemptRow]
    retry_of: int | None = None
    damage: str | None = None
    usable: bool = True
    metrics: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def last(self) -> AttemptRow | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def end(self) -> str | None:
        return self.last.end if self.last else None

    @property
    def seconds(self) -> float | None:
        last = self.last
        if last is None or last.ended_at is None:
            return None
        return last.ended_at - last.started_at


@dataclass(frozen=True)
class Best:
    """A study's best trial. `damaged`: trials with a better score whose params cannot be read."""

    trial: TrialRow | None = None
    damaged: tuple[TrialRow, ...] = ()


@dataclass(frozen=True)
class Summary:
    """A summary of a study's trials. `ends`: how many have each end, unfinished ones under their
    state; `lost`: how many attempts were lost with their worker or loop. `total`: of its slots.
    `drawn_again`: proposals that would have repeated a trial. `varying`: see `varying_params`."""

    trials: int
    ends: dict[str, int]
    lost: int
    best: Best
    varying: tuple[str, ...] = ()
    total: int = 0
    drawn_again: int = 0


def list_trials(store: Store, study: StudyRow) -> list[TrialRow]:
    """All trials of a study, by number, as one snapshot."""
    return store.read(_read_trials, study)


def stream_trials(
    store: Store, study: StudyRow, best_first: bool = False, limit: int | None = None
) -> Iterator[TrialRow]:
    """A study's trials by number, or best score first: COMPLETE trials, then pruned ones, then
    those without a value; at most `limit`. Pages are read while they are used, so memory does not
    grow with the number of trials. Each page is a snapshot of its own: a reader may take an hour,
    and no transaction must last that long."""
    query = _best_first(study) if best_first else _by_number(study)
    trial_ids = store.read(
        lambda connection: connection.execute(query.limit(limit)).scalars().all()
    )
    yield from stream_by_ids(store, study, trial_ids)


def stream_by_ids(store: Store, study: StudyRow, trial_ids: Sequence[int]) -> Iterator[TrialRow]:
    """The same for trials with these ids, in that order."""
    for start in range(0, len(trial_ids), _PAGE):
        yield from store.read(read_by_ids, study, trial_ids[start : start + _PAGE])


def _by_number(study: StudyRow) -> sa.Select[Any]:
    return (
        sa.select(optuna_trials.c.trial_id)
        .where(optuna_trials.c.study_id == study.study_id)
        .order_by(optuna_trials.c.trial_id)
    )


def _best_first(study: StudyRow) -> sa.Select[Any]:
    value = finite_value()
    return (
        sa.select(optuna_trials.c.trial_id)
        .select_from(with_values())
        .where(optuna_trials.c.study_id == study.study_id)
        .order_by(
            value.is_(None),
            state_of_trial() != "COMPLETE",
            value.desc() if study.spec.direction == "maximize" else value.asc(),
            optuna_trials.c.trial_id,
        )
    )


def read_by_ids(
    connection: sa.Connection, study: StudyRow, trial_ids: Sequence[int]
) -> list[TrialRow]:
    """The trials with these ids, in that order, without those that were deleted meanwhile."""
    rows = _read_trials(connection, study, optuna_trials.c.trial_id.in_(trial_ids))
    by_id = {row.trial_id: row for row in rows}
    return [by_id[trial_id] for trial_id in trial_ids if trial_id in by_id]


def read_trials_by_id(store: Store, study: StudyRow, trial_ids: Sequence[int]) -> list[TrialRow]:
    """The same as one snapshot of its own."""
    return store.read(read_by_ids, study, trial_ids) if trial_ids else []


def first_trials(store: Store, study: StudyRow, number: int) -> list[TrialRow]:
    """The study's first trials, by number: a search begins with its baselines."""
    query = _by_number(study).limit(number)

    def read(connection: sa.Connection) -> list[TrialRow]:
        return read_by_ids(connection, study, connection.execute(query).scalars().all())

    return store.read(read) if number else []


def _read_trials(
    connection: sa.Connection, study: StudyRow, *conditions: sa.ColumnElement[bool]
) -> list[TrialRow]:
    trials = read_trials(connection, study.study_id, *conditions)
    query, only = select_attempts(study), []
    if conditions:
        only = [attempts.c.trial_id.in_([trial.trial_id for trial in trials])]
    attempts_of = attempts_by_trial(connection, query.where(*only))
    rows = [_trial_row(study, trial, attempts_of.get(trial.trial_id, [])) for trial in trials]
    return _with_metrics(connection, study, rows, *only)


def _with_metrics(
    connection: sa.Connection,
    study: StudyRow,
    rows: list[TrialRow],
    *conditions: sa.ColumnElement[bool],
) -> list[TrialRow]:
    names = study.spec.beside_score
    if not names:
        return rows
    last_attempts = {row.trial_id: row.last for row in rows if row.last is not None}
    values = recorded_values(
        connection, study, last_attempts, study.spec.goal(), names, *conditions
    )
    return [replace(row, metrics=values.get(row.trial_id, dict.fromkeys(names))) for row in rows]


def _trial_row(study: StudyRow, trial: OptunaTrial, trial_attempts: list[AttemptRow]) -> TrialRow:
    is_queued = trial.state == "WAITING" and not trial.params
    # A queued trial has only the params that were asked for; the others are sampled when it begins.
    params = dict(trial.fixed) if is_queued else _resolve_params(study, trial)
    if trial.state == "COMPLETE" and trial.value is None and not trial.damage:
        trial.damage.note("score", None)
    usable = not trial.damage
    trial.damage.notes += [note for attempt in trial_attempts for note in attempt.damage]
    return TrialRow(
        number=trial.number,
        trial_id=trial.trial_id,
        state=trial.state,
        value=trial.value,
        params=params,
        attempts=trial_attempts,
        retry_of=trial.retry_of,
        damage=str(trial.damage) or None,
        usable=usable,
    )


def _resolve_params(study: StudyRow, trial: OptunaTrial) -> Params:
    try:
        return study.spec.space.resolve(trial.params)
    except SpaceError as error:
        # In any other state it is being sampled now, or its loop died meanwhile.
        if trial.state == "COMPLETE":
            trial.damage.notes.append(str(error))
        return dict(trial.params)


def find_trial(store: Store, study: StudyRow, number: int) -> TrialRow:
    """The trial of that number. Raises StudyError."""
    for row in store.read(_read_trials, study, has_number(number)):
        return row
    raise StudyError(f"study {study.name!r} has no trial {number}")


def trial_curve(store: Store, study: StudyRow, trial: TrialRow) -> list[ReportRow]:
    """The reports of a trial's last attempt."""
    last = trial.last
    if last is None:
        return []
    return store.read(report_rows, study, trial.trial_id, last.attempt)


def last_report_step(store: Store, study: StudyRow, trial: TrialRow) -> tuple[int, int]:
    """The trial's last attempt and the step of its last report, 0 where there is none: they change
    with each report."""
    if trial.last is None:
        return 0, 0
    query = (
        sa.select(sa.func.max(reports.c.step))
        .where(reports.c.study_uuid == study.uuid, reports.c.trial_id == trial.trial_id)
        .where(reports.c.attempt == trial.last.attempt)
    )
    step = store.read(lambda connection: connection.execute(query).scalar())
    return trial.last.attempt, step or 0


def all_metrics(
    store: Store, study: StudyRow, trials: Sequence[TrialRow]
) -> dict[int, dict[str, float]]:
    """All metrics of the report that gave each trial's score, by trial id; none for a trial without
    a report."""
    last_attempts = {trial.trial_id: trial.last for trial in trials if trial.last is not None}
    # A database limits how many values a query may list.
    only = [attempts.c.trial_id.in_(list(last_attempts))] if len(trials) <= _PAGE else []
    of_scores = store.read(reports_of_scores, study, last_attempts, study.spec.goal(), *only)
    return {trial_id: report.metrics for trial_id, report in of_scores.items()}


def count_trials(store: Store, study: StudyRow) -> int:
    return store.read(_count_trials, study)


def _count_trials(connection: sa.Connection, study: StudyRow) -> int:
    query = sa.select(sa.func.count()).select_from(optuna_trials)
    return connection.execute(query.where(optuna_trials.c.study_id == study.study_id)).scalar_one()


def varying_params(store: Store, study: StudyRow) -> list[str]:
    """The parameters that vary: of a function that asks for them itself, those that its trials have
    asked for so far."""
    return store.read(_varying, study)


def _varying(connection: sa.Connection, study: StudyRow) -> list[str]:
    if not study.spec.function_kind.defines_space:
        return study.spec.space.varying()
    return params_asked_for(connection, study.study_id)


def find_best(store: Store, study: StudyRow) -> Best:
    """The COMPLETE trial with the best finite score; the earliest among equals. A comparison, which
    selects nothing, has none."""
    return store.read(_find_best, study)


def _find_best(connection: sa.Connection, study: StudyRow) -> Best:
    damaged: list[TrialRow] = []
    if not study.spec.selects:
        return Best()
    scored = (state_of_trial() == "COMPLETE") & finite_value().is_not(None)
    query = _best_first(study).where(scored)
    # The first is the best unless it is damaged: read one, then whole pages.
    size, after = 1, 0
    while trial_ids := connection.execute(query.limit(size).offset(after)).scalars().all():
        for row in read_by_ids(connection, study, trial_ids):
            if row.usable:
                return Best(row, tuple(damaged))
            damaged.append(row)
        size, after = _PAGE, after + size
    return Best(None, tuple(damaged))


def require_best(study: StudyRow, best: Best) -> TrialRow:
    """The best trial. Raises StudyError where there is none, and for a comparison."""
    if study.spec.is_comparison:
        raise StudyError(f"study {study.name!r} is a comparison: nothing is chosen in it")
    if not study.spec.selects:
        raise StudyError(
            f"study {study.name!r} has several objectives, and no best trial; its Pareto front: "
            + command("study", "best", in_command(study.name))
        )
    if best.trial is not None:
        return best.trial
    if best.damaged:
        raise StudyError(f"study {study.name!r} has no finished trial that can be read")
    raise no_finished_trial(study)


def summarize(store: Store, study: StudyRow) -> Summary:
    """Computed in SQL, as one snapshot."""
    return store.read(_summarize, study)


def _summarize(connection: sa.Connection, study: StudyRow) -> Summary:
    lost = (
        sa.select(sa.func.count())
        .select_from(attempts)
        .where(attempts.c.study_uuid == study.uuid, attempts.c.end.in_(LOSSES))
    )
    return Summary(
        trials=_count_trials(connection, study),
        ends=_ends(connection, study),
        lost=connection.execute(lost).scalar_one(),
        best=_find_best(connection, study),
        varying=tuple(_varying(connection, study)),
        total=total_slots_in(connection, study),
        drawn_again=drawn_again_in(connection, study.study_id),
    )


def count_ends(store: Store, study: StudyRow) -> dict[str, int]:
    """How many trials have each end, the most frequent first; unfinished ones under their state."""
    return store.read(_ends, study)


def _ends(connection: sa.Connection, study: StudyRow) -> dict[str, int]:
    last = (
        sa.select(attempts.c.end)
        .where(attempts.c.study_uuid == study.uuid)
        .where(attempts.c.trial_id == optuna_trials.c.trial_id)
        .order_by(attempts.c.attempt.desc())
        .limit(1)
        .scalar_subquery()
    )
    each = (
        sa.select(optuna_trials.c.trial_id, state_of_trial().label("state"), last.label("ended"))
        .where(optuna_trials.c.study_id == study.study_id)
        .subquery()
    )
    number, first = sa.func.count(), sa.func.min(each.c.trial_id)
    query = (
        sa.select(each.c.state, each.c.ended, number)
        .group_by(each.c.state, each.c.ended)
        .order_by(number.desc(), first)
    )
    counts: dict[str, int] = {}
    for state, ended, trials in connection.execute(query):
        is_unfinished = not ended or state in ("WAITING", "RUNNING")
        name = shortened(state).lower() if is_unfinished else shortened(ended)
        if state == "WAITING" and ended == TrialEnd.AT_RUNG:
            name = "paused"
        name = name if len(counts) < _MOST_ENDS or name in counts else "others"
        counts[name] = counts.get(name, 0) + trials
    return counts


def table_row(trial: TrialRow, only: Sequence[str] | None = None) -> dict[str, Any]:
    """A row that `trial list` prints and `study export` writes, with all params or `only` these.
    The key "metrics" has what the study records, if it records any. The state of a damaged trial is
    "damaged", and the key "damage" says why."""
    last = trial.last
    row: dict[str, Any] = {
        "trial": trial.number if trial.number >= 0 else None,
        "state": "damaged" if trial.damage else trial.state.lower(),
        "end": trial.end,
        "score": trial.value,
        **({"metrics": dict(trial.metrics)} if trial.metrics else {}),
        "epochs": last.epochs if last else None,
        "seconds": round(trial.seconds, 2) if trial.seconds is not None else None,
        "params": {
            name: value for name, value in trial.params.items() if only is None or name in only
        },
    }
    return row | {"damage": trial.damage} if trial.damage else row


def param_column(name: str, metrics: Collection[str] = ()) -> str:
    """A parameter's column. `epochs` may be searched, and is also the number of epochs trained; a
    parameter of an own network may be called as one of the recorded `metrics`."""
    return f"{name}_param" if name in TABLE_COLUMNS or name in metrics else name


def enqueue(store: Store, study: StudyRow, configuration: Params) -> tuple[int, int]:
    """Queue a configuration; its trial's number, and how many trials wait. Raises SpaceError for
    values that are not in the study's space, StudyError for a comparison. A function that asks for
    its parameters itself gets those values that it asks for."""
    check_is_search(study, "trial add")
    space = study.spec.space
    flat = configuration if space.function_kind.defines_space else space.flatten(configuration)
    return _queue(store, study, dict(flat), {})


def retry(store: Store, study: StudyRow, number: int) -> tuple[int, int]:
    """Queue a trial's configuration again, as a new trial with another seed; its number, and how
    many trials wait. Raises StudyError, also for a comparison."""
    check_is_search(study, "trial retry")
    trial = find_trial(store, study, number)
    if trial.damage:
        raise StudyError(f"trial {number} of study {study.name!r} is damaged: {trial.damage}")
    flat = store.optuna.get_trial(trial.trial_id).params
    if trial.state in ("WAITING", "RUNNING") or not flat:
        raise StudyError(
            f"trial {number} of study {study.name!r} is {trial.state.lower()} and has no "
            "params yet that could be tried again"
        )
    return _queue(store, study, flat, {"retry_of": number})


def _queue(
    store: Store, study: StudyRow, flat: dict[str, Any], attributes: dict[str, Any]
) -> tuple[int, int]:
    from optuna.trial import TrialState, create_trial

    trial = create_trial(
        state=TrialState.WAITING,
        system_attrs={"fixed_params": flat},
        user_attrs={"added_by": "user"} | attributes,
    )
    with store.asking_optuna():
        trial_id = store.optuna.create_trial(study.study_id, trial)
    return store.read(_queued, study, trial_id)


def _queued(connection: sa.Connection, study: StudyRow, trial_id: int) -> tuple[int, int]:
    """The trial's number, and how many trials of the study wait."""
    numbers = sa.select(optuna_trials.c.number).where(optuna_trials.c.trial_id == trial_id)
    waiting = (
        sa.select(sa.func.count())
        .select_from(optuna_trials)
        .where(optuna_trials.c.study_id == study.study_id, state_of_trial() == "WAITING")
    )
    return connection.execute(numbers).scalar_one(), connection.execute(waiting).scalar_one()
