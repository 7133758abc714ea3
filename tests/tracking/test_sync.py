"""`tuner sync`: MLflow as SQL has it, whatever became of it."""

from collections.abc import Callable
from typing import Any

import pytest
from tracking_helpers import Search

from tuner.errors import TrackingError
from tuner.storage import attempt_rows
from tuner.storage.deliveries import Turn
from tuner.storage.studies import load_study
from tuner.tracking.client import Client
from tuner.tracking.study_delivery import StudyDelivery
from tuner.tracking.sync import check_study, sync_study

Runs = Callable[[], dict[str, Any]]


@pytest.fixture
def searched(search: Search) -> Search:
    """Trials of every end, one of them put back before; one still runs."""
    first = search.start()
    search.train(first, epochs=2)
    search.put_back(first)
    again = search.start()
    search.train(again, epochs=3)
    search.complete(again, score=0.9)
    pruned, failed = search.start(), search.start()
    search.train(pruned, epochs=1)
    search.prune(pruned, score=0.4)
    search.fail(failed, "Traceback: no such layer")
    search.train(search.start(), epochs=1)
    return search


def differences(search: Search, uri: str) -> list[tuple[int | None, str]]:
    found = check_study(search.store, uri, search.study).differences
    return [(difference.trial, difference.what) for difference in found]


def test_an_empty_mlflow_is_filled(searched: Search, tracking_uri: str, runs: Runs) -> None:
    missing = differences(searched, tracking_uri)
    assert missing[0] == (None, "the study's own run is missing")
    assert missing[1:] == [(number, "its run is missing") for number in (0, 1, 2)]
    synced = sync_study(searched.store, tracking_uri, searched.study)
    assert (synced.sent, synced.missing, synced.problem) == (3, 0, None)
    assert differences(searched, tracking_uri) == []
    assert set(runs()) == {searched.study.name, "trial 0", "trial 1", "trial 2"}
    assert sync_study(searched.store, tracking_uri, searched.study).sent == 0


@pytest.mark.parametrize(
    ("harm", "seen"),
    [
        (lambda client, run: client.delete_run(run), "its run is missing"),
        (lambda client, run: client.set_tag(run, "state", "FAIL"), "tag state is another"),
        (lambda client, run: client.delete_tag(run, "end"), "tag end is missing"),
        (lambda client, run: client.update_run(run, "KILLED"), "its run is KILLED, not FINISHED"),
        (
            lambda client, run: client.log_metric(run, "val_accuracy", 0.1, step=9),
            "val_accuracy has 4 points, not 3",
        ),
        (lambda client, run: client.log_metric(run, "score", 0.1), "metric score is another"),
    ],
)
def test_what_was_changed_is_seen_and_put_right(
    searched: Search,
    tracking_uri: str,
    client: Client,
    runs: Runs,
    harm: Callable[[Client, str], None],
    seen: str,
) -> None:
    sync_study(searched.store, tracking_uri, searched.study)
    before = runs()
    harm(client, before["trial 0"].info.run_id)
    assert (0, seen) in differences(searched, tracking_uri)
    assert {number for number, _ in differences(searched, tracking_uri)} == {0}
    assert sync_study(searched.store, tracking_uri, searched.study).sent == 1
    assert differences(searched, tracking_uri) == []
    after = runs()
    assert after["trial 1"].info.run_id == before["trial 1"].info.run_id


def test_runs_of_an_earlier_version_are_as_good(
    searched: Search, tracking_uri: str, client: Client, runs: Runs
) -> None:
    sync_study(searched.store, tracking_uri, searched.study)
    run = runs()["trial 0"]
    attempt = attempt_rows.read_attempts(searched.store, searched.study)[1][-1]
    assert attempt.ended_at is not None
    numbers = {"best_epoch": 3.0, "epochs": 4.0, "parameter_count": 1234.0}
    numbers["seconds"] = attempt.ended_at - attempt.started_at
    for name, number in numbers.items():  # they were metrics
        client.log_metric(run.info.run_id, name, number)
        client.delete_tag(run.info.run_id, name)
    assert differences(searched, tracking_uri) == []
    client.log_metric(run.info.run_id, "epochs", 77.0)
    assert differences(searched, tracking_uri) == [(0, "tag epochs is missing")]
    assert sync_study(searched.store, tracking_uri, searched.study).missing == 0
    assert runs()["trial 0"].data.tags["epochs"] == "4"


def test_a_second_run_and_a_stranger_are_removed(
    searched: Search, tracking_uri: str, client: Client, runs: Runs
) -> None:
    sync_study(searched.store, tracking_uri, searched.study)
    run = runs()["trial 1"]
    for tag in (run.data.tags["tuner.trial"], f"{searched.study.name}/77"):
        uuid, number = searched.study.uuid, tag.rpartition("/")[2]
        tags = {"tuner.study_uuid": uuid, "tuner.trial": tag, "trial": number, "attempt": "1"}
        client.create_run(run.info.experiment_id, tags=tags)
    assert differences(searched, tracking_uri) == [
        (1, "2 runs"),
        (None, f"a run of {searched.study.name}/77, which SQL does not have"),
    ]
    sync_study(searched.store, tracking_uri, searched.study)
    assert differences(searched, tracking_uri) == []


def test_a_second_run_of_the_study_is_removed(
    searched: Search, tracking_uri: str, client: Client, runs: Runs
) -> None:
    sync_study(searched.store, tracking_uri, searched.study)
    parent = runs()[searched.study.name]
    tags = {"tuner.study": searched.study.name, "tuner.study_uuid": searched.study.uuid}
    client.create_run(parent.info.experiment_id, tags=tags)
    assert differences(searched, tracking_uri) == [(None, "the study has 2 runs of its own")]
    sync_study(searched.store, tracking_uri, searched.study)
    assert differences(searched, tracking_uri) == []
    assert runs()[searched.study.name].info.run_id == parent.info.run_id


def test_a_running_search_is_not_disturbed(searched: Search, tracking_uri: str) -> None:
    turn = Turn(searched.store, searched.study.study_id)
    assert turn.mine()

    class Elsewhere(Turn):
        """As another process sees it: locks of files are a process's own."""

        def mine(self) -> bool:
            return False

    with pytest.MonkeyPatch.context() as patch, pytest.raises(TrackingError, match="delivers"):
        patch.setattr("tuner.tracking.sync.Turn", Elsewhere)
        sync_study(searched.store, tracking_uri, searched.study)
    turn.give_back()


def test_a_study_that_never_ran(search: Search, tracking_uri: str) -> None:
    assert differences(search, tracking_uri) == []
    assert sync_study(search.store, tracking_uri, search.study).missing == 0
    assert differences(search, tracking_uri) == []


def test_without_its_turn_a_tracker_makes_no_run(search: Search, client: Client) -> None:
    search.complete(search.start(), score=0.5)
    delivery = StudyDelivery(search.store, client, search.study, still_mine=lambda: False)
    with pytest.raises(TrackingError, match="another loop's tracker"):
        delivery.deliver()


def test_a_retried_trial_names_its_first(searched: Search, tracking_uri: str, runs: Runs) -> None:
    from tuner.storage.trials import retry

    study = load_study(searched.store, searched.study.name)
    retry(searched.store, study, 1)
    again = searched.start()
    searched.complete(again, score=0.7)
    sync_study(searched.store, tracking_uri, searched.study)
    assert runs()[f"trial {again.number}"].data.tags["retry_of"] == "1"


def test_an_earlier_name_of_the_engine_is_no_difference(
    searched: Search, tracking_uri: str, client: Client, runs: Runs
) -> None:
    sync_study(searched.store, tracking_uri, searched.study)
    run = runs()["trial 0"]
    assert run.data.tags["engine"] == "graph"
    client.set_tag(run.info.run_id, "engine", "shared graph")
    assert differences(searched, tracking_uri) == []
    client.set_tag(run.info.run_id, "engine", "population")
    assert differences(searched, tracking_uri) == [(0, "tag engine is another")]
    sync_study(searched.store, tracking_uri, searched.study)
    assert runs()["trial 0"].data.tags["engine"] == "graph"
