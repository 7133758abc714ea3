"""What MLflow shows of a study, however often and with whatever breaks it was delivered."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracking_helpers import Search, make_spec

from tuner.errors import TrackingError
from tuner.storage import Store, attempt_rows, deliveries
from tuner.storage.studies import create_study
from tuner.study.spec import StudySpec
from tuner.tracking import content
from tuner.tracking.client import Client
from tuner.tracking.study_delivery import StudyDelivery

Runs = Callable[[], dict[str, Any]]


def history(client: Client, run: Any, name: str) -> list[tuple[int, float, int]]:
    """The points of a curve as (step, value, milliseconds)."""
    points = client.get_metric_history(run.info.run_id, name)
    return sorted((point.step, point.value, point.timestamp) for point in points)


def in_sql(search: Search, trial_id: int, attempt: int, name: str) -> list[tuple[int, float, int]]:
    rows = attempt_rows.read_reports(search.store, search.study, trial_id, attempt)
    return [(row.epoch, row.metrics[name], round(row.at * 1000)) for row in rows if row.whole]


def test_a_completed_trial(
    search: Search, delivery: StudyDelivery, runs: Runs, client: Client
) -> None:
    trial = search.start()
    search.train(trial, epochs=4)
    search.complete(trial, score=0.93)
    assert delivery.deliver() == 1

    run, study_run = runs()["trial 0"], runs()[search.study.name]
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == study_run.info.run_id
    assert run.data.tags["tuner.trial"] == f"{search.study.name}/0"
    shown = {name: run.data.tags[name] for name in ("study", "trial", "state", "end", "score")}
    assert shown == {
        "study": search.study.name,
        "trial": "0",
        "state": "COMPLETE",
        "end": "complete",
        "score": "0.93",
    }
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        points = history(client, run, name)
        assert points == in_sql(search, trial.trial._trial_id, 1, name)
        assert [step for step, _, _ in points] == [1, 2, 3, 4]
    assert run.data.metrics["score"] == 0.93
    numbers = {name: run.data.tags[name] for name in ("best_epoch", "epochs", "parameter_count")}
    assert numbers == {"best_epoch": "3", "epochs": "4", "parameter_count": "1234"}
    # MLflow draws a chart for each metric: these are all.
    assert set(run.data.metrics) == {"loss", "accuracy", "val_loss", "val_accuracy", "score"}
    attempt = attempt_rows.read_attempts(search.store, search.study)[trial.trial._trial_id][0]
    assert attempt.ended_at is not None
    seconds = float(run.data.tags["seconds"])
    assert seconds == pytest.approx(attempt.ended_at - attempt.started_at, abs=0.001)
    assert run.info.start_time == round(attempt.started_at * 1000)
    assert run.info.end_time == round(attempt.ended_at * 1000)


def test_params_are_those_that_were_trained_with(
    search: Search, delivery: StudyDelivery, runs: Runs
) -> None:
    trial = search.start()
    search.complete(trial, score=0.5)
    delivery.deliver()
    params = runs()["trial 0"].data.params
    flat = trial.trial.params
    assert params["width"] == f"{flat['width_1']}, {flat['width_2']}"
    assert params["optimizer"] == flat["optimizer"]
    assert params["epochs"] == "15"
    assert params["batch_size"] == "32"  # a default that the space leaves out
    assert ("momentum" in params) == (flat["optimizer"] == "sgd")
    assert float(params["learning_rate"]) == pytest.approx(flat["learning_rate"], rel=1e-5)


def test_pruned_and_failed_trials(search: Search, delivery: StudyDelivery, runs: Runs) -> None:
    pruned, failed = search.start(), search.start()
    search.train(pruned, epochs=2)
    search.prune(pruned, score=0.4)
    search.fail(failed, detail="Traceback\n" + "x" * 20_000 + "\nZeroDivisionError: no")
    delivery.deliver()
    shown = runs()
    assert shown["trial 0"].info.status == "FINISHED"
    assert shown["trial 0"].data.tags["state"] == "PRUNED"
    assert shown["trial 0"].data.metrics["score"] == 0.4
    assert shown["trial 0"].data.tags["epochs"] == "2"
    assert shown["trial 1"].info.status == "FAILED"
    assert shown["trial 1"].data.tags["traceback"].endswith("ZeroDivisionError: no")
    assert len(shown["trial 1"].data.tags["traceback"]) <= 8000


def test_values_that_are_no_numbers(search: Search, delivery: StudyDelivery, runs: Runs) -> None:
    trial = search.start()
    search.report(trial, step=2, epoch=1, whole=True)
    report = attempt_rows.Report(4, 2, True, {"loss": math.nan, "val_loss": math.inf})
    attempt_rows.record_report(search.store, search.lease, trial.slot, report)
    search.prune(trial, score=0.1)
    delivery.deliver()
    assert math.isnan(runs()["trial 0"].data.metrics["loss"])


def test_the_study_has_a_run_of_its_own(
    search: Search, delivery: StudyDelivery, runs: Runs, client: Client
) -> None:
    for score in (0.5, 0.8, 0.7):
        search.complete(search.start(), score)
    delivery.deliver(last=True)
    run = runs()[search.study.name]
    assert run.info.status == "FINISHED"
    assert run.data.tags["tuner.study"] == search.study.name
    assert run.data.tags["best_trial"] == "1"
    params = run.data.params
    assert (params["data"], params["sampler"], params["metric"]) == (
        "digits",
        "random",
        "val_accuracy",
    )
    assert (
        params["space.momentum"].endswith("(when optimizer: sgd)")
        or "sgd" in params["space.momentum"]
    )
    points = history(client, run, "best_score")
    assert [(step, value) for step, value, _ in points] == [(1, 0.5), (2, 0.8), (3, 0.8)]
    ends = [trial.ended_at for trial in deliveries.completed(search.store, search.study)]
    assert [at for _, _, at in points] == [round(end * 1000) for end in ends]
    assert run.info.end_time == round(ends[-1] * 1000)


def test_the_data_are_the_runs_input(search: Search, delivery: StudyDelivery, runs: Runs) -> None:
    search.complete(search.start(), 0.5)
    delivery.deliver()
    for run in runs().values():
        (data,) = run.inputs.dataset_inputs
        assert data.dataset.name == "digits"
        assert search.study.spec.fingerprint.startswith(data.dataset.digest)


def everything(client: Client, runs: Runs) -> dict[str, Any]:
    """All that MLflow shows, to be compared."""
    return {
        name: (
            run.info.run_id,
            run.info.status,
            run.info.end_time,
            run.data.tags,
            run.data.params,
            {metric: history(client, run, metric) for metric in run.data.metrics},
            len(run.inputs.dataset_inputs),
        )
        for name, run in runs().items()
    }


@pytest.mark.parametrize("memory", ["kept", "forgotten"])
def test_delivering_again_doubles_nothing(
    search: Search, delivery: StudyDelivery, runs: Runs, client: Client, memory: str
) -> None:
    done, pruned, running = search.start(), search.start(), search.start()
    search.train(done, epochs=3)
    search.complete(done, score=0.9)
    search.train(pruned, epochs=1)
    search.prune(pruned, score=0.2)
    search.train(running, epochs=2)
    assert delivery.deliver(last=True) == 2
    before = everything(client, runs)
    assert set(before) == {search.study.name, "trial 0", "trial 1", "trial 2"}
    if memory == "forgotten":
        deliveries.forget(search.store, search.study)
    again = StudyDelivery(search.store, client, search.study)
    assert again.deliver(last=True) == (2 if memory == "forgotten" else 0)
    assert again.deliver(last=True) == 0
    assert everything(client, runs) == before


def test_a_running_trials_curve_grows(
    search: Search, delivery: StudyDelivery, runs: Runs, client: Client
) -> None:
    trial = search.start()
    search.report(trial, step=1, epoch=1, whole=False)
    delivery.deliver(live=False)
    assert client.get_experiment_by_name(search.study.experiment) is None
    delivery.deliver()
    assert runs()["trial 0"].info.status == "RUNNING"
    assert runs()["trial 0"].data.metrics == {}
    search.report(trial, step=2, epoch=1, whole=True)
    delivery.deliver()
    search.train(trial, epochs=2, first=2)
    delivery.deliver(live=False)
    assert len(history(client, runs()["trial 0"], "val_loss")) == 1
    delivery.deliver()
    search.complete(trial, score=0.9)
    delivery.deliver(live=False)
    run = runs()["trial 0"]
    assert history(client, run, "val_loss") == in_sql(search, trial.trial._trial_id, 1, "val_loss")
    assert run.info.status == "FINISHED"


def test_only_the_last_attempt_is_drawn(
    search: Search, delivery: StudyDelivery, runs: Runs, client: Client
) -> None:
    first = search.start()
    search.train(first, epochs=3)
    delivery.deliver()
    search.put_back(first)
    delivery.deliver(last=True)
    assert runs()["trial 0"].info.status == "SCHEDULED"
    again = search.start()
    assert (again.number, again.slot.attempt) == (0, 2)
    search.train(again, epochs=2)
    search.complete(again, score=0.9)
    delivery.deliver()
    points = history(client, runs()["trial 0"], "val_accuracy")
    assert points == in_sql(search, again.trial._trial_id, 2, "val_accuracy")
    assert runs()["trial 0"].data.tags["attempt"] == "2"


def test_a_run_deleted_by_hand_stops_nothing(
    search: Search, delivery: StudyDelivery, runs: Runs, client: Client
) -> None:
    trial, other = search.start(), search.start()
    search.train(trial, epochs=1)
    delivery.deliver()
    client.delete_run(runs()["trial 0"].info.run_id)
    search.train(trial, epochs=1, first=2)
    search.complete(trial, score=0.9)
    search.complete(other, score=0.8)
    with pytest.raises(TrackingError, match="MLflow: "):
        delivery.deliver()
    assert runs()["trial 1"].info.status == "FINISHED"
    assert delivery.deliver() == 1
    assert len(history(client, runs()["trial 0"], "loss")) == 2


def test_an_emptied_mlflow_is_filled_again(
    search: Search, delivery: StudyDelivery, runs: Runs, client: Client
) -> None:
    search.complete(search.start(), 0.9)
    delivery.deliver(last=True)
    for run in runs().values():
        client.delete_run(run.info.run_id)
    assert runs() == {}
    assert StudyDelivery(search.store, client, search.study).deliver(last=True) == 1
    assert set(runs()) == {search.study.name, "trial 0"}


def test_a_study_goes_on_after_it_rested(
    search: Search, delivery: StudyDelivery, runs: Runs
) -> None:
    search.complete(search.start(), 0.5)
    delivery.deliver(last=True)
    search.complete(search.start(), 0.6)
    delivery.deliver()
    assert runs()[search.study.name].data.metrics["best_score"] == 0.6
    delivery.deliver(last=True)
    assert runs()[search.study.name].info.status == "FINISHED"


def test_studies_share_an_experiment(search: Search, client: Client, tmp_path: Path) -> None:
    names = [f"{search.study.name} 'one\"", f"{search.study.name} two"]
    for name in names:
        study = create_study(search.store, name, make_spec(), experiment="shared")
        mine = Search(search.store, study)
        mine.complete(mine.start(), 0.5)
        StudyDelivery(search.store, client, study).deliver(last=True)
        deliveries.forget(search.store, study)
        StudyDelivery(search.store, client, study).deliver(last=True)
    experiment = client.get_experiment_by_name("shared")
    found = client.search_runs([experiment.experiment_id])
    studies = sorted(run.data.tags["study"] for run in found if "study" in run.data.tags)
    assert studies == names
    assert len(found) == 4


def test_every_storage_can_be_drawn(
    store: Store, client: Client, request: pytest.FixtureRequest
) -> None:
    search = Search(store, create_study(store, request.node.name, make_spec()))
    done, put_back, running = search.start(), search.start(), search.start()
    search.train(done, epochs=2)
    search.complete(done, score=0.7)
    search.put_back(put_back)
    search.train(running, epochs=1)
    assert StudyDelivery(store, client, search.study).deliver() == 1
    assert deliveries.count_delivered(store, search.study) == (1, 0)
    again = search.start()
    search.prune(again, score=0.2)
    search.complete(running, score=0.8)
    assert StudyDelivery(store, client, search.study).deliver(last=True) == 2
    experiment = client.get_experiment_by_name(search.study.name)
    shown = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert shown["trial 1"].data.tags["attempt"] == "2"
    assert history(client, shown["trial 2"], "loss") == in_sql(
        search, running.trial._trial_id, 1, "loss"
    )
    assert [value for _, value, _ in history(client, shown[search.study.name], "best_score")] == [
        0.7,
        0.8,
    ]


def test_a_dead_server_is_one_line(search: Search) -> None:
    from tuner.tracking.client import open_client

    search.complete(search.start(), 0.5)
    client = open_client("http://user:secret@127.0.0.1:9")
    with pytest.raises(TrackingError) as raised:
        StudyDelivery(search.store, client, search.study).deliver()
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)
    assert deliveries.count_delivered(search.store, search.study) == (0, 1)


def test_a_parameter_newer_than_the_study_is_not_sent(search: Search) -> None:
    """Runs from before it would differ for ever."""
    content_of_study = json.loads(search.study.definition)
    del content_of_study["defaults"]["bias"]
    older = StudySpec.from_json(json.dumps(content_of_study))
    search.complete(search.start(), 0.5)
    (trial,) = deliveries.numbered(search.store, search.study, {0})
    spec = search.study.spec
    of_trial = content.trial_params(spec, trial)
    assert of_trial == content.trial_params(older, trial) | {"bias": of_trial["bias"]}
    of_study = content.study_params(spec)
    assert of_study == content.study_params(older) | {"space.bias": of_study["space.bias"]}
