"""The trials that run now, anywhere: what `study watch`, `worker list` and the page show."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from tuner.errors import SpecError
from tuner.storage.damage import Damage, count
from tuner.storage.identity import is_process_dead
from tuner.storage.optuna_rows import flat_params, is_finite
from tuner.storage.schema import (
    attempts,
    loops,
    optuna_trials,
    reports,
    slot_rows,
    studies,
    trial_intermediate_values,
)
from tuner.storage.store import Store, now
from tuner.storage.studies import StudyRow, newest_first
from tuner.study.messages import WorkerPlace


@dataclass(frozen=True)
class TrialAtWork:
    """A trial that runs now. `epoch`: of its last report, 0 before the first; `epochs`: the most it
    may train, None where that is not known. `best`: its running best. `worker`: the number that
    its loop, in the process `pid` of `host`, gives the worker. `since`: when the attempt began, in
    seconds since 1970. `daemon_id`: of the loop's daemon, None for a search in the foreground.
    `place`: the machine and the cluster's node that train it; None for the loop's machine."""

    study: str
    study_uuid: str
    number: int
    attempt: int
    epoch: int
    epochs: int | None
    best: float | None
    host: str
    pid: int
    worker: int
    since: float
    daemon_id: str | None = None
    place: WorkerPlace | None = None

    @property
    def place_text(self) -> str | None:
        """`place` as tables show it."""
        return None if self.place is None else str(self.place)


def running_trials(store: Store, study: StudyRow | None = None) -> list[TrialAtWork]:
    """The trials that live loops train, of one study or of all: by study, then by number."""
    return store.read(read_running_trials, study)


def read_running_trials(
    connection: sa.Connection, study: StudyRow | None = None
) -> list[TrialAtWork]:
    """The same within a transaction."""
    query = _query(connection.dialect.name)
    if study is not None:
        query = query.where(studies.c.uuid == study.uuid)
    rows = [row for row in connection.execute(query) if not is_process_dead(row.process)]
    if study is None and rows:
        studies_by_uuid = {each.uuid: each for each in newest_first(connection)}
    else:
        studies_by_uuid = {} if study is None else {study.uuid: study}
    at_work: list[TrialAtWork] = []
    for uuid, of_study in groupby(rows, key=lambda row: row.uuid):
        at_work += _of_study(connection, studies_by_uuid.get(uuid), list(of_study))
    return at_work


def _query(dialect: str) -> sa.Select[Any]:
    """A row for each slot whose trial a loop trains whose lease holds."""
    is_last_attempt = (
        (attempts.c.study_uuid == studies.c.uuid)
        & (attempts.c.trial_id == slot_rows.c.trial_id)
        & (attempts.c.attempt == slot_rows.c.attempt)
    )
    epoch = (
        sa.select(reports.c.epoch)
        .where(reports.c.study_uuid == attempts.c.study_uuid)
        .where(reports.c.trial_id == attempts.c.trial_id)
        .where(reports.c.attempt == attempts.c.attempt)
        .order_by(reports.c.step.desc())
        .limit(1)
        .scalar_subquery()
    )
    columns = (studies.c.name, studies.c.uuid, optuna_trials.c.trial_id, optuna_trials.c.number)
    place = (attempts.c.host.label("trained_on"), attempts.c.node)
    of_attempt = (attempts.c.attempt, attempts.c.worker, attempts.c.started_at, *place)
    of_loop = (loops.c.host, loops.c.pid, loops.c.process, loops.c.worker_id)
    return (
        sa.select(*columns, *of_attempt, *of_loop, epoch.label("epoch"))
        .select_from(slot_rows)
        .join(loops, loops.c.loop_id == slot_rows.c.loop_id)
        .join(studies, studies.c.uuid == loops.c.study_uuid)
        .join(optuna_trials, optuna_trials.c.trial_id == slot_rows.c.trial_id)
        .join(attempts, is_last_attempt)
        .where(slot_rows.c.study_id == studies.c.study_id, slot_rows.c.state == "claimed")
        .where(loops.c.expires_at > now(dialect), attempts.c.ended_at.is_(None))
        .order_by(studies.c.name, studies.c.uuid, optuna_trials.c.number)
    )


def _of_study(
    connection: sa.Connection, study: StudyRow | None, rows: list[Any]
) -> list[TrialAtWork]:
    trials = {row.trial_id: _trial(row) for row in rows}
    try:
        if study is None or study.damage:
            return list(trials.values())
        most = study.spec.epochs
    except SpecError:
        return list(trials.values())
    bests = _bests(connection, study, trials)
    chosen = sa.select(optuna_trials.c.trial_id).where(optuna_trials.c.trial_id.in_(list(trials)))
    own_epochs = {
        trial_id: params["epochs"]
        for trial_id, params in flat_params(connection, chosen).items()
        if isinstance(params.get("epochs"), int)
    }
    return [
        replace(trial, best=bests.get(trial_id), epochs=own_epochs.get(trial_id, most))
        for trial_id, trial in trials.items()
    ]


def _trial(row: Any) -> TrialAtWork:
    damage = Damage()
    return TrialAtWork(
        study=row.name,
        study_uuid=row.uuid,
        number=row.number,
        attempt=row.attempt,
        epoch=damage.optional("epoch", count, row.epoch) or 0,
        epochs=None,
        best=None,
        host=row.host,
        pid=row.pid,
        worker=row.worker,
        since=row.started_at,
        daemon_id=row.worker_id,
        place=None
        if row.trained_on is None
        else WorkerPlace(str(row.trained_on), str(row.node or "")),
    )


def _bests(
    connection: sa.Connection, study: StudyRow, trial_ids: Collection[int]
) -> dict[int, float]:
    """The running best of each trial, of whole epochs if one is over. Optuna is told no values of
    several objectives: then there is none."""
    spec, values = study.spec, trial_intermediate_values
    # Reports within the first epoch have smaller steps. A function's own steps may begin with 0.
    first_whole = 0 if spec.function_kind.trains else spec.first_epoch_reports
    best = sa.func.max if spec.direction == "maximize" else sa.func.min
    value = values.c.intermediate_value
    of_epochs = sa.case((values.c.step >= first_whole, value), else_=sa.null())
    query = (
        sa.select(values.c.trial_id, sa.func.coalesce(best(of_epochs), best(value)).label("best"))
        .where(values.c.trial_id.in_(list(trial_ids)))
        .where(is_finite(value, values.c.intermediate_value_type))
        .group_by(values.c.trial_id)
    )
    return {row.trial_id: float(row.best) for row in connection.execute(query)}
