"""Networks in MLflow by run, by logged model and by registered version; without any study."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from described_networks import describe, write_network

from tuner.errors import ArtifactError, TrackingError
from tuner.models.logged_networks import fetch_logged
from tuner.models.model_opening import bring_network
from tuner.models.model_texts import is_logged
from tuner.preparation.keras_file import read_description
from tuner.settings import Settings
from tuner.tracking.client import Client

KERAS = {"keras": {"data": "data", "keras_version": "3.15"}, "python_function": {}}


def log(client: Client, folder: Path, flavors: dict[str, Any], trial: int = 3) -> Any:
    """A run with a logged model of these flavours."""
    experiment = client.get_experiment_by_name("fetched")
    place = experiment.experiment_id if experiment else client.create_experiment("fetched")
    run = client.create_run(place)
    model = client.create_logged_model(place, name="model", source_run_id=run.info.run_id)
    (folder / "model" / "data").mkdir(parents=True)
    (folder / "model" / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors}))
    write_network(folder / "model" / "data" / "model.keras", trial=trial)
    client.log_model_artifacts(model.model_id, str(folder / "model"))
    client.finalize_logged_model(model.model_id, "READY")
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])
    return SimpleNamespace(
        run=run.info.run_id, model=model.model_id, location=model.artifact_location
    )


@pytest.fixture(scope="module")
def logged(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A network of a run, registered twice as flowers: 2 is the champion."""
    network = log(client, tmp_path_factory.mktemp("network"), KERAS)
    other = log(client, tmp_path_factory.mktemp("other"), KERAS, trial=4)
    client.create_registered_model("flowers")
    for each in (network, other):
        client.create_model_version("flowers", each.location)
    client.set_registered_model_alias("flowers", "champion", "2")
    return network


@pytest.fixture
def settings(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of an empty folder, without a database of studies."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return Settings("sqlite:///tuner.db", tracking_uri, here, here, here)


def test_every_form_of_a_logged_network(logged: Any, settings: Settings, tmp_path: Path) -> None:
    run, model = f"run {logged.run}", f"logged model {logged.model}"
    forms = {
        f"runs:/{logged.run}": (run, 3),
        f"runs:/{logged.run}/model": (run, 3),
        logged.run: (run, 3),
        logged.model: (model, 3),
        f"models:/{logged.model}": (model, 3),
        "models:/flowers/1": ("flowers, version 1", 3),
        "models:/flowers/latest": ("flowers, version 2", 4),
        "models:/flowers@champion": ("flowers, version 2 (champion)", 4),
    }
    for number, (text, expected) in enumerate(forms.items()):
        brought = bring_network(text, settings, tmp_path / str(number))
        assert (brought.where, read_description(brought.file)) == (
            expected[0],
            describe(trial=expected[1]),
        )
    assert list(settings.data_home.iterdir()) == []  # nothing was made in the current folder


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models:/flower@champion", "no registered model 'flower' (did you mean 'flowers'?)"),
        ("models:/zzz/1", "no registered model 'zzz'; it has flowers"),
        ("models:/flowers@best", "no alias 'best'; it has models:/flowers@champion, models:/flow"),
        ("models:/flowers/9", "no version '9'; it has models:/flowers@champion, models:/flowers/2"),
        ("models:/flowers/new", "no version 'new'; it has"),
        ("models:/flowers", "say which version of flowers: models:/flowers@champion, "),
        (f"runs:/{'0' * 32}", f"MLflow has no run {'0' * 32}"),
        (f"m-{'0' * 32}", f"MLflow has no logged model m-{'0' * 32}"),
        ("runs:/abc", "runs:/abc: names no model in MLflow; write models:/NAME@ALIAS"),
    ],
)
def test_what_mlflow_does_not_know(
    logged: Any, settings: Settings, tmp_path: Path, text: str, problem: str
) -> None:
    assert is_logged(text)
    with pytest.raises(TrackingError) as refused:
        fetch_logged(text, settings, tmp_path)
    assert problem in str(refused.value) and "\n" not in str(refused.value)


def test_a_model_of_another_program(client: Client, settings: Settings, tmp_path: Path) -> None:
    other = log(client, tmp_path / "sklearn", {"sklearn": {}, "python_function": {}})
    with pytest.raises(
        ArtifactError, match="is no Keras network but one of python_function, sklearn"
    ):
        fetch_logged(other.model, settings, tmp_path)


def test_a_server_that_is_down(settings: Settings, tmp_path: Path) -> None:
    down = Settings(settings.storage, "http://127.0.0.1:9", tmp_path, tmp_path, tmp_path)
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:9 does not answer"):
        fetch_logged("models:/flowers@champion", down, tmp_path)
