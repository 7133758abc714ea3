"""A project that was moved or copied with MLflow's local store in it."""

import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from test_logged_models import keras_file
from tracking_helpers import Search, make_spec

from tuner.storage import open_store
from tuner.storage.studies import create_study, load_study
from tuner.system.locations import sqlite_url
from tuner.tracking import remove_study
from tuner.tracking.client import artifact_location, open_client
from tuner.tracking.experiments import all_experiments
from tuner.tracking.moved_store import relocate_store
from tuner.tracking.sync import check_study, sync_study


def uri_of(project: Path) -> str:
    return sqlite_url(project / "mlruns" / "mlflow.db")


def project_in(folder: Path, tables: Path, names: tuple[str, ...] = ("s",)) -> Path:
    """With one delivered trial a study."""
    folder.mkdir(parents=True)
    shutil.copy(tables, folder / "tuner.db")
    for name in names:
        store = open_store(sqlite_url(folder / "tuner.db"))
        search = Search(store, create_study(store, name, make_spec()))
        trial = search.start()
        search.complete(trial, 0.5, keras_file(folder / f"{search.study.uuid}.keras"))
        sync_study(store, uri_of(folder), search.study, networks=folder)
        store.close()
    return folder


def locations(project: Path) -> set[str]:
    """Of experiments, runs and models."""
    client = open_client(uri_of(project))
    found = set()
    for experiment in all_experiments(client):
        found.add(experiment.artifact_location)
        for run in client.search_runs([experiment.experiment_id]):
            found.add(run.info.artifact_uri)
        for model in client.search_logged_models([experiment.experiment_id]):
            found.add(model.artifact_location)
    return found


def differences(project: Path, name: str = "s") -> list[str]:
    store = open_store(sqlite_url(project / "tuner.db"))
    try:
        study = load_study(store, name)
        found = check_study(store, uri_of(project), study, networks=project).differences
        return [one.what for one in found]
    finally:
        store.close()


def test_a_moved_project_takes_its_files_with_it(tmp_path: Path, made_tables: Path) -> None:
    old = project_in(tmp_path / "old", made_tables, ("s", "t"))
    new = old.rename(tmp_path / "new")
    assert differences(new) == ["its model's files are missing"]
    assert relocate_store(uri_of(new)) == 3  # MLflow's default experiment too
    assert relocate_store(uri_of(new)) == 0
    assert all(place.startswith(str(new / "mlruns")) for place in locations(new))
    assert differences(new) == differences(new, "t") == []
    store = open_store(f"sqlite:///{new}/tuner.db")
    assert sync_study(store, uri_of(new), load_study(store, "s"), networks=new).sent == 0
    removed = remove_study(uri_of(new), load_study(store, "s"), store)
    store.close()
    assert (removed.runs, removed.models) == (2, 1)
    assert len(list((new / "mlruns").rglob("model.keras"))) == 1
    assert not old.exists()


def test_a_copy_leaves_the_original_alone(tmp_path: Path, made_tables: Path) -> None:
    old = project_in(tmp_path / "old", made_tables)
    files = sorted(path for path in (old / "mlruns").rglob("*") if path.suffix == ".keras")
    copy = Path(shutil.copytree(old, tmp_path / "copy"))
    assert relocate_store(uri_of(copy)) == 0
    store = open_store(f"sqlite:///{copy}/tuner.db")
    remove_study(uri_of(copy), load_study(store, "s"), store)
    store.close()
    assert all(file.exists() for file in files)
    assert differences(old) == []


def test_a_project_that_the_user_says_was_moved(tmp_path: Path, made_tables: Path) -> None:
    """Though the old folder is there: it may be another project's by now."""
    old = project_in(tmp_path / "old", made_tables)
    new = Path(shutil.copytree(old, tmp_path / "new"))
    assert relocate_store(uri_of(new), even_if_there=True) == 2
    assert all(place.startswith(str(new)) for place in locations(new))
    assert all(place.startswith(str(old)) for place in locations(old))


def test_what_lies_elsewhere_stays(tmp_path: Path, made_tables: Path) -> None:
    """An experiment whose folder is away, on a disk that is not mounted perhaps."""
    old = project_in(tmp_path / "old", made_tables)
    away = f"{tmp_path}/disk/s"
    experiment_id = open_client(uri_of(old)).create_experiment("away", away)
    new = old.rename(tmp_path / "new")
    relocate_store(uri_of(new))
    assert open_client(uri_of(new)).get_experiment(experiment_id).artifact_location == away


@pytest.mark.parametrize("name", ["with space", "50%20", "a#b", "ü", "x'y\"z", "[a]"])
def test_folders_of_any_name(tmp_path: Path, made_tables: Path, name: str) -> None:
    old = project_in(tmp_path / name / "old", made_tables)
    new = old.rename(tmp_path / f"{name} new")
    relocate_store(uri_of(new))
    assert differences(new) == []
    places = {unquote(place.removeprefix("file://")) for place in locations(new)}
    assert all(place.startswith(str(new)) for place in places)
    assert artifact_location(new / "mlruns") == f"file://{(new / 'mlruns').as_uri()[7:]}"


def test_a_project_of_an_earlier_version(tmp_path: Path, made_tables: Path) -> None:
    """Its experiments carry no mark; their folders tell whose they are."""
    import sqlite3

    old = project_in(tmp_path / "old", made_tables)
    with sqlite3.connect(old / "mlruns" / "mlflow.db") as connection:
        connection.execute("DELETE FROM experiment_tags")
        connection.execute("DELETE FROM tags WHERE key = 'tuner.study_uuid'")
    connection.close()
    new = old.rename(tmp_path / "new")
    assert relocate_store(uri_of(new)) == 2
    assert differences(new) == []
