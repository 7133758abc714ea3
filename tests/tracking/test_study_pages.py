"""What MLflow's pages show of a study: its saved view, and the description of its own run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracking_helpers import Search, make_spec

from tuner.storage.studies import create_study
from tuner.tracking.client import Client
from tuner.tracking.links import charts_page, server_address
from tuner.tracking.study_delivery import StudyDelivery
from tuner.tracking.study_pages import find_pages, missing_view, view_tag
from tuner.tracking.sync import remove_runs

Runs = Callable[[], dict[str, Any]]
NOTE = "mlflow.note.content"


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("sqlite:///mlruns/mlflow.db", None),
        ("postgresql+psycopg://me:secret@host/mlflow", None),
        ("http://me:secret@host:5000/", "http://host:5000"),
        ("https://host/mlflow", "https://host/mlflow"),
    ],
)
def test_the_address_of_a_server(uri: str, address: str | None) -> None:
    assert server_address(uri) == address


def shared(search: Search, name: str, direction: str = "maximize") -> Search:
    """Another study, in an experiment that it shares."""
    metric = "val_accuracy" if direction == "maximize" else "val_loss"
    more = {"metric": metric, "direction": direction, "record": ("val_auc",)}
    spec = make_spec().model_copy(update=more)
    return Search(search.store, create_study(search.store, name, spec, experiment="everybody's"))


def delivered(search: Search, client: Client) -> Any:
    """The experiment that the study is delivered to."""
    StudyDelivery(search.store, client, search.study).deliver(last=True)
    uuid = search.study.uuid
    (found,) = [
        experiment
        for experiment in client.search_experiments()
        if client.search_runs([experiment.experiment_id], f"tags.`tuner.study_uuid` = '{uuid}'")
    ]
    return found


def state_of(tags: dict[str, str], search: Search) -> dict[str, Any]:
    view = json.loads(tags[view_tag(search.study)])
    assert search.study.name in view["name"]
    return dict(json.loads(view["state"]))


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_view_lists_the_studys_trials_best_first(
    search: Search, client: Client, direction: str
) -> None:
    ann, bob = (shared(search, f"{search.study.name}-{who}", direction) for who in ("ann", "bob"))
    scores = {0: 0.5, 1: 0.9, 2: 0.7}
    for one in (ann, bob):
        for score in scores.values():
            one.complete(one.start(), score)
        experiment = delivered(one, client)
    state = state_of(experiment.tags, ann)
    order = f"{state['orderByKey']} {'ASC' if state['orderByAsc'] else 'DESC'}"
    listed = client.search_runs([experiment.experiment_id], state["searchFilter"], order_by=[order])
    wanted = sorted(scores, key=scores.__getitem__, reverse=direction == "maximize")
    assert [run.data.tags["tuner.trial"] for run in listed] == [
        f"{ann.study.name}/{number}" for number in wanted
    ]


def test_columns_are_what_varies_and_charts_are_curves(search: Search, client: Client) -> None:
    search.complete(search.start(), 0.5)
    alone = state_of(delivered(search, client).tags, search)
    assert alone["searchFilter"] == f'tags.study = "{search.study.name}"'
    varying = ("width", "learning_rate", "optimizer", "momentum")
    params = [f"params.`{name}`" for name in varying]
    assert alone["selectedColumns"] == ["metrics.`score`", *params, "tags.`end`"]
    drawn = [chart for chart in alone["compareRunCharts"] if not chart["deleted"]]
    curves = [chart["metricKey"] for chart in drawn if chart["type"] == "LINE"]
    assert curves == ["val_accuracy", "val_loss", "loss"]
    # MLflow leaves out trials without one of the parameters: momentum is of some trials only.
    (parallel,) = [chart for chart in drawn if chart["type"] == "PARALLEL"]
    assert parallel["selectedParams"] == ["width", "learning_rate", "optimizer"]
    both = shared(search, f"{search.study.name}-recording")
    both.complete(both.start(), 0.5)
    state = state_of(delivered(both, client).tags, both)
    assert state["selectedColumns"][:2] == ["metrics.`score`", "metrics.`best_val_auc`"]
    assert state["compareRunCharts"][1]["metricKey"] == "val_auc"


def test_people_keep_room_for_their_own_views(search: Search) -> None:
    others = {f"mlflow.sharedViewState.{number}": "{}" for number in range(20)}
    listed, unlisted = missing_view({}, search.study), missing_view(others, search.study)
    assert listed is not None
    assert unlisted is not None
    assert json.loads(json.loads(listed)["state"]) == json.loads(unlisted)
    assert "name" not in json.loads(unlisted)
    for view in (listed, unlisted):
        assert missing_view(others | {view_tag(search.study): view}, search.study) is None


def test_the_description_says_how_far_the_search_is(
    search: Search, delivery: StudyDelivery, client: Client, runs: Runs
) -> None:
    search.complete(search.start(), 0.5)
    delivery.deliver()

    def note() -> str:
        return str(runs()[search.study.name].data.tags[NOTE])

    assert "1 trial: 1 complete. Best: [trial 0](#/" in note()
    search.prune(search.start(), 0.1)
    search.complete(search.start(), 0.75)
    delivery.deliver(last=True)
    best = runs()["trial 2"].info
    page = f"#/experiments/{best.experiment_id}/runs"
    assert f"Best: [trial 2]({page}/{best.run_id}), val_accuracy 0.75." in note()
    assert f"]({page}?viewStateShareKey={search.study.uuid[:8]})" in note()
    assert "3 trials: 2 complete, 1 pruned." in note()


def test_what_people_write_into_the_description_stays(
    search: Search, client: Client, runs: Runs
) -> None:
    search.complete(search.start(), 0.5)
    StudyDelivery(search.store, client, search.study).deliver(last=True)
    run = runs()[search.study.name]
    client.set_tag(run.info.run_id, NOTE, f"Mine.\n{run.data.tags[NOTE]}\nMine too.")
    search.complete(search.start(), 0.75)
    StudyDelivery(search.store, client, search.study).deliver(last=True)
    note = runs()[search.study.name].data.tags[NOTE]
    assert note.startswith("Mine.\n<!-- tuner -->\n")
    assert note.endswith("<!-- /tuner -->\nMine too.")
    assert note.count("trials: ") == 1
    assert "2 trials: " in note
    client.set_tag(run.info.run_id, NOTE, "All mine.")
    search.complete(search.start(), 0.8)
    StudyDelivery(search.store, client, search.study).deliver(last=True)
    assert runs()[search.study.name].data.tags[NOTE] == "All mine."


def test_pages_of_studies_that_an_earlier_version_delivered(
    search: Search, client: Client, tracking_uri: str, tmp_path: Path
) -> None:
    name, names = search.study.name, [search.study.name]
    assert find_pages(search.store, tracking_uri, names) == {}  # nothing was delivered
    search.complete(search.start(), 0.5)
    experiment_id = delivered(search, client).experiment_id
    client.delete_experiment_tag(experiment_id, view_tag(search.study))
    page = f"#/experiments/{experiment_id}/runs?viewStateShareKey={search.study.uuid[:8]}"
    assert find_pages(search.store, tracking_uri, names) == {name: page}
    assert charts_page(experiment_id, search.study) == f"{page}&compareRunsMode=CHART"
    assert view_tag(search.study) in client.get_experiment(experiment_id).tags
    assert find_pages(search.store, f"sqlite:///{tmp_path}/no.db", names) == {}
    assert not (tmp_path / "no.db").exists()


def test_a_removed_study_takes_its_view_along(search: Search, client: Client) -> None:
    stays, goes = (shared(search, f"{search.study.name}-{what}") for what in ("stays", "goes"))
    for one in (stays, goes):
        one.complete(one.start(), 0.5)
        experiment = delivered(one, client)
    remove_runs(client, goes.study, goes.store)
    tags = client.get_experiment(experiment.experiment_id).tags
    assert view_tag(stays.study) in tags
    assert view_tag(goes.study) not in tags
