"""Optuna's own dashboard on our database file, as its users start it."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_study import toy_spec
from trial_writes import begun, complete

from tuner.errors import LeaseLost, StudyError
from tuner.storage import Store, leases, open_store, slots
from tuner.storage.attempt_rows import read_attempts
from tuner.storage.studies import create_study, list_studies, load_study

Ask = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield opened
    opened.close()


@pytest.fixture
def dashboard(store: Store) -> Iterator[Ask]:
    """ask("/api/studies", "DELETE") of a running dashboard."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = str(Path(sys.executable).with_name("optuna-dashboard"))
    url = f"sqlite:///{store.url.database}"
    process = subprocess.Popen([command, url, "--port", str(port)], stderr=subprocess.DEVNULL)

    def ask(path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            ask("/api/studies")
            break
        time.sleep(0.2)
    yield ask
    process.kill()
    process.wait()


def test_it_shows_our_study_and_its_deletion_is_one_for_us(store: Store, dashboard: Ask) -> None:
    study = create_study(store, "toy", toy_spec())
    lease = leases.open_lease(store, study)
    slots.ensure_slots(store, study, 2)
    complete(store, lease, begun(store, lease))

    (shown,) = dashboard("/api/studies")["study_summaries"]
    assert shown["study_name"] == "toy"
    details = dashboard(f"/api/studies/{study.study_id}")
    assert [trial["state"] for trial in details["trials"]] == ["Complete"]
    assert details["objective_names"] == [study.spec.metric]

    dashboard(f"/api/studies/{study.study_id}", "DELETE")
    assert list_studies(store) == []
    with pytest.raises(StudyError):
        load_study(store, "toy")
    # Optuna gives the id out again; nothing of the deleted study clings to it.
    again = create_study(store, "toy", toy_spec())
    assert again.study_id == study.study_id
    assert read_attempts(store, again) == {}
    assert slots.slot_counts(store, again) == {}
    with pytest.raises(LeaseLost):
        slots.claim(store, lease, 9)
