"""A study's definition replaced, when its user has corrected the code that it keeps."""

from typing import NamedTuple

import sqlalchemy as sa

from tuner.storage import leases
from tuner.storage.optuna_rows import state_of_trial
from tuner.storage.schema import StudyKey, deliveries, intervals, optuna_trials, studies
from tuner.storage.store import Store, reads, writes
from tuner.storage.studies import StudyRow, load_study


class CorrectionRefused(NamedTuple):
    """Why a study cannot be corrected."""

    reason: str


def correct_study(
    store: Store, study: StudyRow, definition: str, changes_data: bool
) -> StudyRow | CorrectionRefused:
    """Put another definition in the place of the study's, which then runs other code, as long as
    that changes no result: no trial has finished, and no search runs. `changes_data`: whether it
    describes other data, which the study's run in MLflow cannot."""
    reason = _correct(store, study, definition, changes_data)
    if reason is not None:
        return CorrectionRefused(reason)
    store.optuna.remove_session()  # it must not remember the reports
    return load_study(store, study.name)


@writes
def _correct(
    connection: sa.Connection, study: StudyKey, definition: str, changes_data: bool
) -> str | None:
    # One that was held up may be about to finish a trial, whatever its lease.
    leases.hold_all(connection, study)
    # No search begins meanwhile: opening a lease waits for this.
    leases.one_at_a_time(connection, study.study_id)
    if reason := _why_not(connection, study, changes_data):
        return reason
    leases.cut_off(connection, study)
    connection.execute(
        sa.update(studies).where(studies.c.uuid == study.uuid).values(spec=definition)
    )
    # What interrupted trials have reported was of the code of before: they begin again.
    unfinished = _trials(study).where(state_of_trial().in_(("WAITING", "RUNNING")))
    connection.execute(
        sa.delete(intervals).where(
            intervals.c.study_uuid == study.uuid, intervals.c.trial_id.in_(unfinished)
        )
    )
    reports = _reports()
    connection.execute(sa.delete(reports).where(reports.c.trial_id.in_(unfinished)))
    return None


def _why_not(connection: sa.Connection, study: StudyKey, changes_data: bool) -> str | None:
    if searching := leases.live_holders(connection, study):
        return f"the study is being searched by {searching[0]}: stop that search first"
    if number := _count_finished(connection, study):
        trials = "1 trial has" if number == 1 else f"{number} trials have"
        return f"{trials} finished with the code as it was"
    delivered = sa.select(deliveries.c.study_uuid).where(deliveries.c.study_uuid == study.uuid)
    if changes_data and connection.execute(delivered).first() is not None:
        return "the study's run in MLflow shows the data of before"
    return None


def _count_finished(connection: sa.Connection, study: StudyKey) -> int:
    finished = _trials(study).where(state_of_trial().in_(("COMPLETE", "PRUNED")))
    count = sa.select(sa.func.count()).select_from(finished.subquery())
    return connection.execute(count).scalar_one()


@reads
def has_finished(connection: sa.Connection, study: StudyKey) -> bool:
    """Whether any trial of the study has: its code is then what its scores are of."""
    return _count_finished(connection, study) > 0


def _trials(study: StudyKey) -> sa.Select[tuple[int]]:
    return sa.select(optuna_trials.c.trial_id).where(optuna_trials.c.study_id == study.study_id)


def _reports() -> sa.Table:
    from optuna.storages._rdb.models import TrialIntermediateValueModel

    table = TrialIntermediateValueModel.__table__
    assert isinstance(table, sa.Table)
    return table


@reads
def has_definition(connection: sa.Connection, study: StudyRow) -> bool:
    """Whether the study is still defined as it was when it was read."""
    stored = sa.select(studies.c.spec).where(studies.c.uuid == study.uuid)
    return connection.execute(stored).scalar() == study.definition
