"""Searches at work, and what dead ones have left."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import optuna
import sqlalchemy as sa
from doctor_helpers import found_in, of, troubles
from trial_writes import begun, complete

from tuner.storage import Store, leases
from tuner.storage.identity import machine_run as this_machine
from tuner.storage.leases import Lease
from tuner.storage.schema import loops, slot_rows
from tuner.storage.studies import StudyRow


def test_a_search_at_work(store: Store, storage_url: str, lease: Lease, tmp_path: Path) -> None:
    begun(store, lease)
    findings = found_in(storage_url, tmp_path)
    assert troubles(findings) == []
    told = of(findings, "leases").message
    assert told.startswith(f"toy: {socket.gethostname()} (pid {os.getpid()}) trains 1 trial, lease")


def test_an_expired_lease(store: Store, storage_url: str, lease: Lease, tmp_path: Path) -> None:
    begun(store, lease)
    leases.renew_lease(store, lease, -300)
    (told,) = troubles(found_in(storage_url, tmp_path))
    assert (told.check, told.state) == ("leases", "warn")
    assert "let its lease expire 5 minutes ago and still holds 1 trial slot" in told.message
    assert "tuner study repair toy" in str(told.advice)


def test_a_dead_search(store: Store, storage_url: str, lease: Lease, tmp_path: Path) -> None:
    begun(store, lease)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    identity = f'{{"machine": "{this_machine()}", "pid": {gone.pid}, "started": "1"}}'
    with store.writing() as connection:
        connection.execute(sa.update(loops).values(process=identity))
    (told,) = troubles(found_in(storage_url, tmp_path))
    assert "has died and still holds 1 trial slot" in told.message


def test_an_ended_search_is_not_reported(
    store: Store, storage_url: str, lease: Lease, tmp_path: Path
):
    leases.renew_lease(store, lease, 0)
    assert of(found_in(storage_url, tmp_path), "leases").message == "no search is running"


def test_a_running_trial_without_a_slot(
    store: Store, storage_url: str, study: StudyRow, tmp_path: Path
) -> None:
    optuna.load_study(study_name=study.name, storage=store.optuna).ask()
    (told,) = troubles(found_in(storage_url, tmp_path))
    assert (told.check, told.state) == ("leftovers", "warn")
    assert told.message == "toy: 1 running trial without a search"
    assert told.advice == "tuner study repair toy"


def test_attempts_without_an_end(
    store: Store, storage_url: str, lease: Lease, tmp_path: Path
) -> None:
    begun(store, lease)
    with store.writing() as connection:
        connection.execute(sa.update(slot_rows).values(state="open", loop_id=None))
    (told,) = troubles(found_in(storage_url, tmp_path))
    assert told.message == "toy: 1 attempt without an end"


def test_what_mlflow_lacks(store: Store, storage_url: str, lease: Lease, tmp_path: Path) -> None:
    complete(store, lease, begun(store, lease))
    assert (
        of(found_in(storage_url, tmp_path), "deliveries").message
        == "toy: 1 ended trial still to be sent"
    )
    leases.renew_lease(store, lease, 0)
    (told,) = troubles(found_in(storage_url, tmp_path))
    assert told.message == "toy: MLflow lacks 1 ended trial"
    assert told.advice == "tuner sync toy"
