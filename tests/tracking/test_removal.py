"""Taking a study out of MLflow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from test_logged_models import keras_file, models
from tracking_helpers import Search, make_spec

from tuner.storage.studies import create_study, delete_study
from tuner.tracking import remove_study
from tuner.tracking.client import Client
from tuner.tracking.content import UUID_TAG
from tuner.tracking.logged_models import log_model
from tuner.tracking.model_folders import read_network
from tuner.tracking.study_delivery import StudyDelivery
from tuner.tracking.sync import remove_runs

Runs = Callable[[], dict[str, Any]]


def deliver(search: Search, client: Client, folder: Path) -> None:
    trial = search.start()
    search.train(trial, epochs=1)
    search.complete(trial, 0.5, keras_file(folder / f"{search.study.name}.keras"))
    StudyDelivery(search.store, client, search.study, networks=folder).deliver(last=True)


def test_a_removed_study_leaves_nothing(
    search: Search, client: Client, tracking_uri: str, runs: Runs, tmp_path: Path
) -> None:
    deliver(search, client, tmp_path)
    (logged,) = models(client, runs()["trial 0"])
    files = Path(logged.artifact_location)
    assert (files / "MLmodel").exists()
    removed = remove_study(tracking_uri, search.study, search.store)
    assert (removed.runs, removed.models, removed.registered) == (2, 1, 0)
    assert client.get_experiment_by_name(search.study.name) is None
    assert not files.exists()


def test_a_new_study_of_the_name_shows_nothing_of_the_old(
    search: Search, client: Client, tracking_uri: str, runs: Runs, tmp_path: Path
) -> None:
    deliver(search, client, tmp_path)
    remove_study(tracking_uri, search.study, search.store)
    delete_study(search.store, search.study, even_while_searched=True)
    again = Search(search.store, create_study(search.store, search.study.name, make_spec()))
    again.start()
    StudyDelivery(search.store, client, again.study).deliver()
    assert set(runs()) == {search.study.name, "trial 0"}
    assert runs()["trial 0"].data.metrics == {}


def test_others_runs_of_a_shared_experiment_stay(
    search: Search, client: Client, tracking_uri: str, tmp_path: Path
) -> None:
    name = search.study.name
    deliver(search, client, tmp_path)
    other = Search(
        search.store, create_study(search.store, f"{name}-2", make_spec(), experiment=name)
    )
    deliver(other, client, tmp_path)
    remove_study(tracking_uri, search.study, search.store)
    experiment = client.get_experiment_by_name(name)
    assert experiment.lifecycle_stage == "active"
    left = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in left) == [f"{name}-2", "trial 0"]
    (trial,) = [run for run in left if "study" in run.data.tags]
    (logged,) = models(client, trial)
    assert (Path(logged.artifact_location) / "MLmodel").exists()


class SmallPages:
    """A client whose MLflow answers with one logged model a page."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def search_logged_models(self, *args: Any, **kwargs: Any) -> Any:
        return self._client.search_logged_models(*args, **kwargs, max_results=1)


def test_models_beyond_the_first_page_go_too(
    search: Search, client: Client, tmp_path: Path
) -> None:
    deliver(search, client, tmp_path)
    experiment_id = client.get_experiment_by_name(search.study.name).experiment_id
    for _ in range(2):  # left behind without a run, they are found by a search alone
        client.create_logged_model(experiment_id, tags={UUID_TAG: search.study.uuid})
    assert len(client.search_logged_models([experiment_id])) == 3
    removed = remove_runs(SmallPages(client), search.study, search.store)
    assert (removed.runs, removed.models) == (2, 3)
    assert len(client.search_logged_models([experiment_id])) == 0


def test_a_model_beyond_the_first_page_is_not_made_again(
    search: Search, client: Client, runs: Runs, tmp_path: Path
) -> None:
    search.start()
    StudyDelivery(search.store, client, search.study).deliver()
    run = runs()["trial 0"]
    mine, _other = (
        client.create_logged_model(
            run.info.experiment_id, source_run_id=run_id, tags={"trial": run.data.tags["trial"]}
        )
        for run_id in (run.info.run_id, runs()[search.study.name].info.run_id)
    )
    path = keras_file(tmp_path / "trial-0.keras")
    found = log_model(SmallPages(client), run.info.run_id, read_network(path), search.study, None)
    assert found == mine.model_id


def test_a_registered_model_stays(
    search: Search, client: Client, tracking_uri: str, runs: Runs, tmp_path: Path
) -> None:
    import mlflow

    deliver(search, client, tmp_path)
    (logged,) = models(client, runs()["trial 0"])
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.register_model(f"models:/{logged.model_id}", "kept")
    removed = remove_study(tracking_uri, search.study, search.store)
    assert (removed.runs, removed.models, removed.registered) == (2, 0, 1)
    assert (Path(logged.artifact_location) / "MLmodel").exists()


def test_a_study_without_runs_asks_no_mlflow(search: Search) -> None:
    assert remove_study("http://127.0.0.1:9", search.study, search.store).runs == 0
