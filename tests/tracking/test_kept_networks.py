"""Which networks a study keeps, as files and in MLflow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_logged_models import models, save_networks
from tracking_helpers import Search

from tuner.runner.network_keeping import KeptNetworks
from tuner.storage import deliveries
from tuner.storage.kept_networks import EVERY, release_beyond, released
from tuner.storage.trials import list_trials
from tuner.study.artifacts import FolderArtifacts
from tuner.study.messages import Direction, Goal
from tuner.tracking.check import find_differences
from tuner.tracking.client import Client
from tuner.tracking.content import UUID_TAG
from tuner.tracking.kept_models import unneeded_models
from tuner.tracking.study_delivery import StudyDelivery

Runs = Callable[[], dict[str, Any]]


def keeping(search: Search, folder: Path | None, most: int, selects: bool = True) -> KeptNetworks:
    return KeptNetworks(
        store=search.store,
        study=search.study,
        goal=Goal("val_accuracy", "maximize"),
        most=most,
        selects=selects,
        artifacts=None if folder is None else FolderArtifacts(folder),
    )


def files(folder: Path) -> list[str]:
    return sorted(file.parent.name for file in folder.glob("*/trial-*/*.keras"))


def kept(search: Search) -> list[int]:
    """The numbers of the trials whose networks SQL has."""
    trials = list_trials(search.store, search.study)
    return [trial.number for trial in trials if trial.last and trial.last.model]


@pytest.mark.parametrize(
    ("most", "score", "is_kept"),
    [
        (2, 0.7, True),
        (2, 0.5, False),  # an equal one, which is later
        (2, 0.4, False),
        (4, 0.1, True),
        (0, 0.9, False),
        (EVERY, 0.1, True),
    ],
)
def test_a_trial_among_the_best_saves_its_network(
    search: Search, tmp_path: Path, most: int, score: float, is_kept: bool
) -> None:
    save_networks(search, tmp_path, [0.5, 0.8, 0.3])
    networks, trial = keeping(search, tmp_path, most), search.start()
    assert networks.keeps(trial.slot.trial_id or 0, score) is is_kept
    # Once more, from what it has learned from SQL.
    assert networks.keeps(trial.slot.trial_id or 0, score) is is_kept


def test_of_equal_scores_the_earlier_trial_keeps_its_network(
    search: Search, tmp_path: Path
) -> None:
    first = search.start()
    save_networks(search, tmp_path, [0.5, 0.8])
    later = search.start()
    networks = keeping(search, tmp_path, 2)
    assert networks.keeps(first.slot.trial_id or 0, 0.5)
    assert not networks.keeps(later.slot.trial_id or 0, 0.5)


def test_the_first_trial_of_a_search_releases_what_an_earlier_one_kept(
    search: Search, tmp_path: Path
) -> None:
    save_networks(search, tmp_path, [0.5, 0.4, 0.6])
    keeping(search, tmp_path, 1).trial_ended(has_saved=False)
    assert files(tmp_path) == ["trial-2"]


def test_a_study_that_selects_nothing_keeps_all_or_none(search: Search, tmp_path: Path) -> None:
    assert not keeping(search, tmp_path, 3, selects=False).keeps(1, 0.9)
    assert keeping(search, tmp_path, EVERY, selects=False).keeps(1, 0.9)


@pytest.mark.parametrize(
    ("direction", "best"), [("maximize", [1, 2]), ("minimize", [0, 3])], ids=str
)
def test_the_best_are_those_of_sql(
    search: Search, tmp_path: Path, direction: Direction, best: list[int]
) -> None:
    save_networks(search, tmp_path, [0.3, 0.8, 0.5, 0.3, 0.5])
    gone = release_beyond(search.store, search.study, direction, 2)
    assert kept(search) == best
    assert [network.name.split("/")[1] for network in gone] == [
        f"trial-{number}" for number in range(5) if number not in best
    ]
    assert release_beyond(search.store, search.study, direction, 2) == []


def test_a_network_that_falls_out_goes_with_its_record(search: Search, tmp_path: Path) -> None:
    networks = keeping(search, tmp_path, 2)
    save_networks(search, tmp_path, [0.5, 0.4])
    networks.trial_ended(has_saved=True)
    assert files(tmp_path) == ["trial-0", "trial-1"]
    save_networks(search, tmp_path, [0.6])
    networks.trial_ended(has_saved=True)
    assert files(tmp_path) == ["trial-0", "trial-2"]
    assert kept(search) == [0, 2]
    assert released(search.store, search.study) == []
    assert not list(tmp_path.glob("*/trial-1"))  # nor its empty folder


def test_what_a_killed_search_has_released_is_removed_by_the_next(
    search: Search, tmp_path: Path
) -> None:
    save_networks(search, tmp_path, [0.5, 0.4])
    release_beyond(search.store, search.study, "maximize", 1)  # and here it is killed
    assert files(tmp_path) == ["trial-0", "trial-1"]
    keeping(search, tmp_path / "of another machine", 1).remove_released()
    keeping(search, None, 1).remove_released()  # the database may be a copy
    assert files(tmp_path) == ["trial-0", "trial-1"]
    keeping(search, tmp_path, 1).remove_released()
    assert files(tmp_path) == ["trial-0"]


def test_a_file_that_an_earlier_version_kept_elsewhere_stays(
    search: Search, tmp_path: Path
) -> None:
    trial = search.start()
    file = tmp_path / "toy" / "trial-0" / "attempt-1.keras"
    file.parent.mkdir(parents=True)
    file.write_text("of a study of that name")
    search.complete(trial, 0.5, file, "toy/trial-0/attempt-1.keras")
    keeping(search, tmp_path, 0).trial_ended(has_saved=False)
    assert file.exists()
    assert kept(search) == [0]


def logged(client: Client, shown: dict[str, Any]) -> list[str]:
    def has_model(run: Any) -> bool:
        try:
            return bool(models(client, run))
        except Exception as error:
            assert "not found" in str(error)
            return False

    return sorted(name for name, run in shown.items() if has_model(run))


def test_mlflow_loses_the_models_that_are_no_longer_kept(
    search: Search, client: Client, runs: Runs, tmp_path: Path
) -> None:
    delivery = StudyDelivery(search.store, client, search.study, networks=tmp_path)
    save_networks(search, tmp_path, [0.5, 0.4, 0.3, 0.2])
    delivery.deliver()
    shown = runs()
    assert logged(client, shown) == ["trial 0", "trial 1", "trial 2", "trial 3"]
    (registered,), (tagged,) = models(client, shown["trial 2"]), models(client, shown["trial 3"])
    client.set_logged_model_tags(tagged.model_id, {"for": "the demo"})
    client.create_registered_model(search.study.name)
    client.create_model_version(search.study.name, registered.artifact_location)
    release_beyond(search.store, search.study, "maximize", 1)
    delivery.deliver()
    assert logged(client, runs()) == ["trial 0", "trial 2", "trial 3"]
    assert set(tagged.tags) >= {UUID_TAG}
    assert find_differences(search.store, client, search.study, networks=tmp_path).differences == []


def test_a_model_that_is_released_while_it_is_sent_goes_too(
    search: Search, client: Client, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_networks(search, tmp_path, [0.5, 0.4])
    delivery = StudyDelivery(search.store, client, search.study, networks=tmp_path)
    send = client.log_model_artifacts

    def send_late(*words: Any) -> None:
        send(*words)
        release_beyond(search.store, search.study, "maximize", 1)

    with monkeypatch.context() as patch:
        patch.setattr(client, "log_model_artifacts", send_late)
        delivery.deliver()
    delivery.deliver()
    assert logged(client, runs()) == ["trial 0"]


def test_a_network_that_is_released_before_it_is_sent_leaves_no_trace(
    search: Search, client: Client, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_networks(search, tmp_path, [0.5, 0.4])
    delivery = StudyDelivery(search.store, client, search.study, networks=tmp_path)
    undelivered = deliveries.undelivered

    def read_early(*words: Any) -> Any:
        trials = undelivered(*words)
        keeping(search, tmp_path, 1).trial_ended(has_saved=True)
        return trials

    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "undelivered", read_early)
        delivery.deliver()
    delivery.deliver()
    assert logged(client, runs()) == ["trial 0"]
    assert "model" not in runs()["trial 1"].data.tags


def test_the_models_that_gc_may_remove(
    search: Search, client: Client, tracking_uri: str, runs: Runs, tmp_path: Path
) -> None:
    save_networks(search, tmp_path, [0.5, 0.9, 0.7])
    StudyDelivery(search.store, client, search.study, networks=tmp_path).deliver()
    assert unneeded_models(tracking_uri, search.store, search.study) == []
    best = {trial.trial_id for trial in list_trials(search.store, search.study)[:2]}
    assert len(unneeded_models(tracking_uri, search.store, search.study, beyond=best)) == 2
    release_beyond(search.store, search.study, "maximize", 1)
    models = unneeded_models(tracking_uri, search.store, search.study)
    assert all(model.size for model in models)
    assert [model.remove() for model in models] == [True, True]
    assert logged(client, runs()) == ["trial 1"]
