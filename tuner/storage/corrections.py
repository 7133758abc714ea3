"""Replacing a study's definition after its user has corrected the code that it stores."""

from typing import NamedTuple

import sqlalchemy as sa

from tuner.storage import leases
from tuner.storage.optuna_rows import state_of_trial
from tuner.storage.schema import StudyKey, deliveries, optuna_trials, reports, slot_rows, studies
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow, load_study


class CorrectionRefused(NamedTuple):
    """Why a study cannot be corrected."""

    reason: str


def correct_study(
    store: Store, study: StudyRow, definition: str, changes_data: bool
) -> StudyRow | CorrectionRefused:
    """Replace the study's definition, so that it runs other code, while that changes no result: no
    trial has finished, and no search runs. `changes_data`: whether the new one describes other
    data; then the study must not have a run in MLflow."""
    reason = store.write(_correct, study, definition, changes_data)
    if reason is not None:
        return CorrectionRefused(reason)
    store.optuna.remove_session()  # it must not cache the reports
    return load_study(store, study.name)


def _correct(
    connection: sa.Connection, study: StudyKey, definition: str, changes_data: bool
) -> str | None:
    from tuner.storage.optuna_tables import REPORTS  # imports Optuna

    # A loop that was suspended may be about to finish a trial, even if its lease has expired.
    leases.lock_loops(connection, study)
    # No search begins meanwhile: opening a lease waits for this lock.
    leases.lock_study(connection, study.study_id)
    if reason := _refusal(connection, study, changes_data):
        return reason
    leases.refuse_loops(connection, study)
    connection.execute(
        sa.update(studies).where(studies.c.uuid == study.uuid).values(spec=definition)
    )
    # Interrupted trials begin again: what they have reported comes from the former code.
    unfinished = _trial_ids(study).where(state_of_trial().in_(("WAITING", "RUNNING")))
    connection.execute(
        sa.delete(reports).where(
            reports.c.study_uuid == study.uuid, reports.c.trial_id.in_(unfinished)
        )
    )
    connection.execute(sa.delete(REPORTS).where(REPORTS.c.trial_id.in_(unfinished)))
    connection.execute(  # also those that were paused at a rung
        sa.update(slot_rows)
        .where(slot_rows.c.study_id == study.study_id, slot_rows.c.state == "paused")
        .values(state="open")
    )
    return None


def _refusal(connection: sa.Connection, study: StudyKey, changes_data: bool) -> str | None:
    if searching := leases.live_holders(connection, study):
        return f"the study is being searched by {searching[0]}: stop that search first"
    if number := _count_finished(connection, study):
        trials = "1 trial has" if number == 1 else f"{number} trials have"
        return f"{trials} finished with the former code"
    delivered = sa.select(deliveries.c.study_uuid).where(deliveries.c.study_uuid == study.uuid)
    if changes_data and connection.execute(delivered).first() is not None:
        return "the study's run in MLflow shows the former data"
    return None


def _count_finished(connection: sa.Connection, study: StudyKey) -> int:
    finished = _trial_ids(study).where(state_of_trial().in_(("COMPLETE", "PRUNED")))
    count = sa.select(sa.func.count()).select_from(finished.subquery())
    return connection.execute(count).scalar_one()


def has_finished(store: Store, study: StudyKey) -> bool:
    """Whether any trial of the study has finished: then its scores belong to its code."""
    return store.read(_count_finished, study) > 0


def _trial_ids(study: StudyKey) -> sa.Select[tuple[int]]:
    return sa.select(optuna_trials.c.trial_id).where(optuna_trials.c.study_id == study.study_id)


def has_definition(store: Store, study: StudyRow) -> bool:
    """Whether the study still has the definition that it had when it was read."""
    query = sa.select(studies.c.spec).where(studies.c.uuid == study.uuid)
    definition = store.read(lambda connection: connection.execute(query).scalar())
    return bool(definition == study.definition)
