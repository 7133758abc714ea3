"""An MLflow, and a study in a database of its own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tracking_helpers import Search, make_spec

from tuner.storage import open_store
from tuner.storage.studies import create_study
from tuner.tracking.client import Client, open_client
from tuner.tracking.study_delivery import StudyDelivery


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    # Its tables take seconds to make; each test has an experiment of its own.
    return f"sqlite:///{tmp_path_factory.mktemp('mlruns')}/mlflow.db"


@pytest.fixture(scope="session")
def client(tracking_uri: str) -> Client:
    return open_client(tracking_uri)


@pytest.fixture
def search(tmp_path: Path, request: pytest.FixtureRequest, made_tables: Path) -> Iterator[Search]:
    shutil.copy(made_tables, tmp_path / "tuner.db")
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield Search(store, create_study(store, request.node.name, make_spec()))
    store.close()


@pytest.fixture
def mirror(search: Search, client: Client) -> StudyDelivery:
    return StudyDelivery(search.store, client, search.study)


@pytest.fixture
def runs(search: Search, client: Client) -> Callable[[], dict[str, Any]]:
    """The runs that MLflow shows of the study now, by name."""

    def by_name() -> dict[str, Any]:
        experiment = client.get_experiment_by_name(search.study.experiment)
        found = client.search_runs([experiment.experiment_id], max_results=1000)
        names = [run.info.run_name for run in found]
        assert len(names) == len(set(names)), "a run was made twice"
        return dict(zip(names, found, strict=True))

    return by_name
