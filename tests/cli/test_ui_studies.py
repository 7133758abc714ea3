"""What `tuner ui` prints of studies, and which servers it starts, without any server."""

import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from toy_study import toy_spec
from trial_writes import begun, complete

from tuner.cli import ui_servers
from tuner.errors import StudyError, TrackingError, UsageError
from tuner.settings import Settings, load_settings
from tuner.storage import Store, leases, open_store, slots
from tuner.storage.studies import create_study

TEAM = "https://me:secret@mlflow.example/ml"


@pytest.fixture
def store(tmp_path: Path, made_tables: Path) -> Iterator[Store]:
    shutil.copy(made_tables, tmp_path / "tuner.db")
    opened = open_store(f"sqlite:///{tmp_path}/tuner.db")
    for name in ("old", "middle", "new"):
        study = create_study(opened, name, toy_spec())
        if name != "new":
            lease = leases.open_lease(opened, study)
            slots.ensure_slots(opened, study, 2)
            complete(opened, lease, begun(opened, lease))
    yield opened
    opened.close()


def settings(store: Store, tracking_uri: str) -> Settings:
    return load_settings(f"sqlite:///{store.url.database}", tracking_uri)


def lines(store: Store, tracking_uri: str = TEAM) -> list[str]:
    given = settings(store, tracking_uri)
    mlflow, dashboard = ui_servers._pages(given, 0, 0)
    dashboard = replace(dashboard, address="http://127.0.0.1:8080")
    return list(ui_servers._study_lines(store, given, mlflow, dashboard))


def test_each_study_has_its_addresses(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "#/experiments/1/runs?viewStateShareKey=3fca58ce"
    monkeypatch.setattr(ui_servers, "find_pages", lambda *_: {"middle": page})
    shown = lines(store)
    assert shown == [
        "new: no finished trial yet; next: tuner optimize new --trials 100",
        "middle: 1 finished trial, best val_accuracy 0.5000",
        f"  https://mlflow.example/ml/{page}",
        "  http://127.0.0.1:8080/dashboard/studies/2",
        "old: 1 finished trial, best val_accuracy 0.5000",
        "  to send it to MLflow: tuner sync old",
        "  http://127.0.0.1:8080/dashboard/studies/1",
    ]
    monkeypatch.setattr(ui_servers, "_MOST_STUDIES", 1)
    assert lines(store)[1:] == ["2 older studies: tuner study list"]


def test_an_mlflow_that_does_not_answer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise TrackingError("MLflow at https://mlflow.example does not answer")

    monkeypatch.setattr(ui_servers, "find_pages", refuse)
    shown = lines(store)
    assert shown[-1].endswith("are unknown: MLflow at https://mlflow.example does not answer")
    assert "  http://127.0.0.1:8080/dashboard/studies/1" in shown
    assert not any("tuner sync" in line for line in shown)


def test_a_server_that_runs_is_not_started(store: Store) -> None:
    mlflow, dashboard = ui_servers._pages(settings(store, TEAM), 0, 0)
    assert (mlflow.address, mlflow.command) == ("https://mlflow.example/ml", None)
    assert dashboard.command is not None
    own, _ = ui_servers._pages(settings(store, "sqlite:///mlruns/mlflow.db"), 0, 0)
    assert own.command is not None
    assert own.address == f"http://127.0.0.1:{own.port}"


def test_ports_that_are_taken(store: Store) -> None:
    local = settings(store, "sqlite:///mlruns/mlflow.db")
    with pytest.raises(UsageError, match="must differ, both are 5000"):
        ui_servers._pages(local, 5000, 5000)
    with pytest.raises(UsageError, match="--mlflow-port must be from 0 to 65535, got 70000"):
        ui_servers._pages(local, 70_000, 0)
    with socket.create_server((ui_servers.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        for ports, option in [((port, 0), "--mlflow-port"), ((0, port), "--dashboard-port")]:
            with pytest.raises(StudyError, match=f"port {port} is in use.*tuner ui {option} 0$"):
                ui_servers._pages(local, *ports)
