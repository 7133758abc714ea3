"""A network whose saved file is gone comes from MLflow before it is trained again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from described_networks import describe
from mlflow_server import MlflowServer
from test_logged_models import keras_file
from tracking_helpers import Search, make_settings

from tuner.models import trial_networks
from tuner.models.trial_networks import NetworkSource, save_network
from tuner.preparation.keras_file import write_description
from tuner.storage.trials import TrialRow, find_trial
from tuner.tracking.client import Client, open_client
from tuner.tracking.study_delivery import StudyDelivery

Runs = Callable[[], dict[str, Any]]


def described(file: Path) -> Path:
    write_description(file, describe())
    return file


def nothing_trained(
    settings: object, store: object, study: object, trial: object, target: Path, data: object
) -> list[str]:
    target.write_bytes(b"trained")
    return []


@pytest.fixture
def delivered(
    search: Search, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> bytes:
    """A trial whose network MLflow has, and this machine no longer: the bytes of its file."""
    monkeypatch.setattr(trial_networks, "_train_again", nothing_trained)
    file = described(keras_file(tmp_path / "saved.keras"))
    search.complete(search.start(), 0.9, file)
    StudyDelivery(search.store, client, search.study, networks=tmp_path).deliver()
    content = file.read_bytes()
    file.unlink()
    return content


def save(
    search: Search, uri: str, target: Path, trial: TrialRow | None = None
) -> trial_networks.WrittenNetwork:
    found = trial or find_trial(search.store, search.study, 0)
    # As a loop writes it: relative to the project.
    here = [replace(attempt, model_path="0/1.keras") for attempt in found.attempts]
    found = replace(found, attempts=here)
    return save_network(make_settings(search, uri), search.store, search.study, found, target)


def test_it_is_mlflow_s_copy(
    search: Search,
    delivered: bytes,
    tracking_uri: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    capfd.readouterr()
    done = save(search, tracking_uri, tmp_path / "best.keras")
    assert capfd.readouterr() == ("", "")  # no bar of progress either
    assert (done.source, done.remarks) == (NetworkSource.MLFLOW, [])
    assert (tmp_path / "best.keras").read_bytes() == delivered
    assert not list(tmp_path.glob(".tuner-*"))


@pytest.mark.slow
def test_the_copy_of_a_server(search: Search, tmp_path: Path) -> None:
    file = described(keras_file(tmp_path / "saved.keras"))
    search.complete(search.start(), 0.9, file)
    server = MlflowServer(tmp_path)
    try:
        StudyDelivery(
            search.store, open_client(server.uri), search.study, networks=tmp_path
        ).deliver()
        content = file.read_bytes()
        file.unlink()
        done = save(search, server.uri, tmp_path / "best.keras")
    finally:
        server.stop()
    assert (done.source, done.remarks) == (NetworkSource.MLFLOW, [])
    assert (tmp_path / "best.keras").read_bytes() == content


def test_another_file_in_mlflow_is_not_used(
    search: Search, delivered: bytes, client: Client, runs: Runs, tracking_uri: str, tmp_path: Path
) -> None:
    (output,) = runs()["trial 0"].outputs.model_outputs
    location = client.get_logged_model(output.model_id).artifact_location
    file = Path(location.removeprefix("file://")) / "data" / "model.keras"
    assert file.read_bytes() == delivered
    file.write_bytes(delivered[:-1] + b"?")
    done = save(search, tracking_uri, tmp_path / "best.keras")
    assert done.source == NetworkSource.TRAINED
    (remark,) = done.remarks
    assert remark.startswith("MLflow's copy (run ") and remark.endswith("; it is not used")
    assert (tmp_path / "best.keras").read_bytes() == b"trained"


def test_an_older_attempt_in_mlflow_is_not_used(
    search: Search, delivered: bytes, tracking_uri: str, tmp_path: Path
) -> None:
    trial = find_trial(search.store, search.study, 0)
    later = replace(trial, attempts=[replace(a, attempt=a.attempt + 1) for a in trial.attempts])
    assert (
        save(search, tracking_uri, tmp_path / "best.keras", later).source == NetworkSource.TRAINED
    )


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///{folder}/none/mlflow.db", None),  # never made: nothing is made by asking
        ("http://127.0.0.1:9", "no copy from MLflow: MLflow at http://127.0.0.1:9 does not answer"),
    ],
)
def test_an_mlflow_that_cannot_be_asked(
    search: Search, delivered: bytes, tmp_path: Path, uri: str, expected: str | None
) -> None:
    done = save(search, uri.format(folder=tmp_path), tmp_path / "best.keras")
    assert done.source == NetworkSource.TRAINED
    assert not (tmp_path / "none").exists()
    remarks = [remark[: len(expected or "")] for remark in done.remarks]
    assert remarks == ([expected] if expected else [])


def test_a_run_that_mlflow_does_not_have(
    search: Search, delivered: bytes, client: Client, tmp_path: Path
) -> None:
    """Another MLflow than the one that was written to."""
    uri = f"sqlite:///{tmp_path}/other.db"
    open_client(uri)
    done = save(search, uri, tmp_path / "best.keras")
    assert done.source == NetworkSource.TRAINED
    (remark,) = done.remarks
    assert remark.startswith("no copy from MLflow: ") and "\n" not in remark
