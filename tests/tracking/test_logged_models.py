"""Models as MLflow shows them, and whether MLflow can load them."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tracking_helpers import Search

from tuner.data import save_dataset
from tuner.data.dataset import Dataset, Split
from tuner.data.scaling import IDENTITY, Scaling
from tuner.errors import TrackingError
from tuner.storage.kept_networks import EVERY, release_beyond
from tuner.study.artifacts import network_name
from tuner.tracking.client import Client
from tuner.tracking.study_delivery import StudyDelivery

Runs = Callable[[], dict[str, Any]]


def keras_file(path: Path) -> Path:
    """As much of a .keras file as the tracker reads: the network takes 4 x 2 numbers."""
    layer = {"class_name": "InputLayer", "config": {"batch_shape": [None, 4, 2]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [layer]}}))
    return path


def prepared(folder: Path) -> Path:
    x = np.arange(80, dtype=np.uint8).reshape(10, 4, 2)
    split = Split(x, np.arange(10, dtype=np.int32) % 3)
    scale = Scaling("minmax", np.float32(1 / 255), np.float32(0))
    labels = ("cat", "dog", "owl")
    dataset = Dataset("pets", "classes", split, split, split, scale, IDENTITY, labels, "f" * 64)
    save_dataset(dataset, folder)
    return folder


def models(client: Client, run: Any) -> list[Any]:
    outputs = run.outputs.model_outputs if run.outputs else []
    return [client.get_logged_model(output.model_id) for output in outputs]


def finish(search: Search, folder: Path, scores: list[float]) -> None:
    for score in scores:
        trial = search.start()
        search.complete(trial, score, keras_file(folder / f"trial-{trial.number}.keras"))


def save_networks(search: Search, folder: Path, scores: list[float]) -> None:
    """Trials with these scores, whose networks lie in the folder as a search saves them."""
    for score in scores:
        trial = search.start()
        name = network_name(search.study.uuid, trial.number, 1)
        file = folder / name
        file.parent.mkdir(parents=True)
        search.complete(trial, score, keras_file(file), name)


@pytest.mark.parametrize(
    ("log_models", "kept", "logged"),
    [("best", 2, [True, False, True]), ("all", EVERY, [True] * 3), ("none", 2, [False] * 3)],
)
def test_which_models_are_logged(
    search: Search,
    client: Client,
    runs: Runs,
    tmp_path: Path,
    log_models: str,
    kept: int,
    logged: list[bool],
) -> None:
    save_networks(search, tmp_path, [0.5, 0.4, 0.9])
    release_beyond(search.store, search.study, "maximize", kept)
    StudyDelivery(search.store, client, search.study, log_models, networks=tmp_path).deliver()
    shown = runs()
    assert [bool(models(client, shown[f"trial {number}"])) for number in range(3)] == logged


def test_a_model_says_what_it_takes_and_gives(
    search: Search, client: Client, runs: Runs, tmp_path: Path
) -> None:
    from mlflow.models import Model

    finish(search, tmp_path, [0.5])
    data = prepared(tmp_path / "data")
    StudyDelivery(search.store, client, search.study, data=data, networks=tmp_path).deliver()
    run = runs()["trial 0"]
    (logged,) = models(client, run)
    assert str(logged.status) == "READY"
    assert logged.source_run_id == run.info.run_id
    assert [(metric.key, metric.value) for metric in logged.metrics] == [("score", 0.5)]
    assert logged.params == run.data.params

    folder = Path(logged.artifact_location)
    described = Model.load(str(folder / "MLmodel"))
    assert set(described.flavors) == {"keras", "python_function"}
    (inputs,), (outputs,) = described.signature.inputs.inputs, described.signature.outputs.inputs
    assert (inputs.shape, inputs.type) == ((-1, 4, 2), np.dtype(np.float32))
    assert (outputs.shape, outputs.type) == ((-1, 3), np.dtype(np.float32))
    assert described.metadata["labels"] == ["cat", "dog", "owl"]
    example = described.load_input_example(str(folder))
    np.testing.assert_array_equal(example, np.arange(16).reshape(2, 4, 2))
    requirements = (folder / "requirements.txt").read_text()
    assert "keras==" in requirements and "tensorflow==" in requirements


def test_delivering_again_logs_no_second_model(
    search: Search, client: Client, runs: Runs, tmp_path: Path
) -> None:
    from tuner.storage import deliveries

    finish(search, tmp_path, [0.5])
    StudyDelivery(search.store, client, search.study, networks=tmp_path).deliver()
    deliveries.forget(search.store, search.study)
    StudyDelivery(search.store, client, search.study, networks=tmp_path).deliver()
    assert len(models(client, runs()["trial 0"])) == 1


def test_a_break_within_a_model_is_mended(
    search: Search, client: Client, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner.errors import TrackingError

    finish(search, tmp_path, [0.5])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    delivery = StudyDelivery(search.store, client, search.study, networks=tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(client, "log_model_artifacts", full)
        with pytest.raises(TrackingError, match="No space left"):
            delivery.deliver()
    assert delivery.deliver() == 1
    (logged,) = models(client, runs()["trial 0"])
    assert str(logged.status) == "READY"
    assert runs()["trial 0"].info.status == "FINISHED"


def test_a_model_that_was_made_unheard_is_gone_on_with(
    search: Search, client: Client, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(search, tmp_path, [0.5])
    create = client.create_logged_model

    def create_unheard(*words: Any, **options: Any) -> None:
        create(*words, **options)
        raise OSError("connection reset")

    with monkeypatch.context() as patch, pytest.raises(TrackingError):
        patch.setattr(client, "create_logged_model", create_unheard)
        StudyDelivery(search.store, client, search.study, networks=tmp_path).deliver()
    StudyDelivery(search.store, client, search.study, networks=tmp_path).deliver()
    run = runs()["trial 0"]
    assert len(models(client, run)) == 1
    assert len(client.search_logged_models([run.info.experiment_id])) == 1


def test_a_lost_model_file_does_not_hold_up_its_trial(
    search: Search, client: Client, runs: Runs, tmp_path: Path
) -> None:
    finish(search, tmp_path, [0.5])
    (tmp_path / "trial-0.keras").unlink()
    assert StudyDelivery(search.store, client, search.study, networks=tmp_path).deliver() == 1
    run = runs()["trial 0"]
    assert run.data.tags["model"] == "trial-0.keras cannot be read here"
    assert run.info.status == "FINISHED"


@pytest.mark.tensorflow
@pytest.mark.slow
def test_mlflow_loads_the_model_and_predicts(
    search: Search, client: Client, tracking_uri: str, runs: Runs, tmp_path: Path
) -> None:
    import keras
    import mlflow

    inputs = keras.Input((4, 2), name="inputs")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    network = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(flat))
    path = tmp_path / "trial-0.keras"
    network.save(path)
    trial = search.start()
    search.complete(trial, 0.5, path)
    data = prepared(tmp_path / "data")
    StudyDelivery(search.store, client, search.study, data=data, networks=tmp_path).deliver()

    (logged,) = models(client, runs()["trial 0"])
    mlflow.set_tracking_uri(tracking_uri)
    rows = np.random.default_rng(0).integers(0, 255, (5, 4, 2)).astype(np.float32)
    expected = network.predict(rows, verbose=0)
    uri = f"models:/{logged.model_id}"
    np.testing.assert_allclose(mlflow.keras.load_model(uri).predict(rows, verbose=0), expected)
    loaded = mlflow.pyfunc.load_model(uri)
    np.testing.assert_allclose(loaded.predict(rows), expected)
    assert loaded.predict(loaded.input_example).shape == (2, 3)
    by_run = f"runs:/{runs()['trial 0'].info.run_id}/model"
    np.testing.assert_allclose(mlflow.pyfunc.load_model(by_run).predict(rows), expected)


@pytest.mark.tensorflow
@pytest.mark.slow
def test_mlflow_gives_float64_to_a_network_that_takes_it(
    search: Search, client: Client, tracking_uri: str, runs: Runs, tmp_path: Path
) -> None:
    import mlflow

    from tuner.networks import export_network
    from tuner.networks.layers import KerasLayers
    from tuner.networks.registry import build_network

    x = 1.7e9 + np.arange(2000.0)[:, np.newaxis]
    split = Split((x - 1.7e9).astype(np.float32), (x[:, 0] - 1.7e9).astype(np.float32))
    scaling = Scaling("standardize", np.full(1, 1e-3, np.float32), np.zeros(1, np.float32))
    dataset = Dataset(
        "seconds", "regression", split, split, split, scaling, IDENTITY, (), "f" * 64,
        shift=np.array([1.7e9]), target_shift=1.7e9,
        float64_inputs=True,
    )  # fmt: skip
    params = {"depth": 0, "width": 1, "dropout": 0.0, "batch_norm": False}
    network = build_network("mlp", params, (1,), 1, "regression", KerasLayers())
    network.set_weights([np.full((1, 1), 1e3), np.zeros(1)])
    path = tmp_path / "trial-0.keras"
    export_network("mlp", params, dataset, network.get_weights()).save(path)
    search.complete(search.start(), 0.5, path)
    save_dataset(dataset, tmp_path / "data")
    StudyDelivery(
        search.store, client, search.study, data=tmp_path / "data", networks=tmp_path
    ).deliver()

    (logged,) = models(client, runs()["trial 0"])
    mlflow.set_tracking_uri(tracking_uri)
    loaded = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    np.testing.assert_allclose(loaded.predict(x), x, rtol=0, atol=1e-3)
    np.testing.assert_allclose(loaded.predict(loaded.input_example), x[:2], rtol=0, atol=1e-3)
    bare = mlflow.keras.load_model(f"models:/{logged.model_id}")
    np.testing.assert_allclose(bare.predict_on_batch(x[:9]), x[:9], rtol=0, atol=1e-3)
