"""Where the links of a study and of a trial lead in MLflow and in the dashboard."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from toy_study import toy_spec
from trial_writes import begun, complete
from web_client import page_client

from tuner.storage import Store, deliveries, leases, slots
from tuner.storage.deliveries import PARENT, Delivery
from tuner.storage.studies import StudyRow, create_study
from tuner.web import tool_links
from tuner.web.tool_servers import NotReady


@dataclass
class Mlflow:
    """A server under a path, which has these runs. `tags`: of their experiment."""

    base: httpx.URL = field(default_factory=lambda: httpx.URL("http://mlflow.example/ml"))
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    problem: NotReady | None = None

    def open(self) -> httpx.AsyncClient | NotReady:
        return self.problem or httpx.AsyncClient(transport=httpx.MockTransport(self.answer))

    async def close(self) -> None:
        pass

    def has(self, run_id: str, stage: str = "active", uuid: str | None = None) -> None:
        tags = [] if uuid is None else [{"key": "tuner.study_uuid", "value": uuid}]
        info = {"experiment_id": "7", "lifecycle_stage": stage}
        self.runs[run_id] = {"run": {"info": info, "data": {"tags": tags}}}

    def answer(self, request: httpx.Request) -> httpx.Response:
        call = request.url.path.removeprefix("/ml/api/2.0/mlflow/")
        if call == "runs/get":
            run = self.runs.get(request.url.params["run_id"])
            return httpx.Response(404) if run is None else httpx.Response(200, json=run)
        if call == "experiments/get":
            tags = [{"key": key, "value": value} for key, value in self.tags.items()]
            return httpx.Response(200, json={"experiment": {"tags": tags}})
        assert call == "experiments/set-experiment-tag"
        tag = json.loads(request.content)
        self.tags[tag["key"]] = tag["value"]
        return httpx.Response(200, json={})


@pytest.fixture
def study(store: Store) -> StudyRow:
    """A study with one finished trial."""
    row = create_study(store, "links", toy_spec())
    lease = leases.open_lease(store, row)
    slots.ensure_slots(store, row, 1)
    complete(store, lease, begun(store, lease))
    return row


@pytest.fixture
def mlflow() -> Mlflow:
    return Mlflow()


@pytest.fixture
def client(store: Store, mlflow: Mlflow) -> Iterator[Any]:
    with page_client(store) as opened:
        opened.app.state.tools.mlflow = mlflow
        opened.follow_redirects = False
        yield opened


def send(store: Store, study: StudyRow, trial_id: int, run_id: str) -> None:
    deliveries.mark(store, study, trial_id, Delivery(run_id, 1, 0, "RUNNING"))


def test_before_anything_was_sent(client: Any, study: StudyRow) -> None:
    for link in (
        tool_links.study_in_mlflow(study.uuid),
        tool_links.trial_in_mlflow(study.uuid, 0),
    ):
        reply = client.get(link)
        assert reply.status_code == 404
        assert "was not sent to MLflow yet; to send it: tuner sync links" in reply.text
    assert client.get(tool_links.trial_in_mlflow(study.uuid, 99)).status_code == 404
    assert client.get(tool_links.trial_in_dashboard(study.uuid, 99)).status_code == 404


def test_a_study_leads_to_its_charts(
    client: Any, mlflow: Mlflow, study: StudyRow, store: Store
) -> None:
    send(store, study, PARENT, "parent")
    mlflow.has("parent", uuid=study.uuid)
    key = study.uuid[:8]
    wanted = f"/mlflow/#/experiments/7/runs?viewStateShareKey={key}&compareRunsMode=CHART"
    for _ in range(2):
        reply = client.get(tool_links.study_in_mlflow(study.uuid))
        assert (reply.status_code, reply.headers["location"]) == (303, wanted)
    assert list(mlflow.tags) == [f"mlflow.sharedViewState.{key}"]


def test_a_trial_leads_to_its_run(
    client: Any, mlflow: Mlflow, study: StudyRow, store: Store
) -> None:
    trial_id = store.optuna.get_all_trials(study.study_id)[0]._trial_id
    send(store, study, trial_id, "run-0")
    mlflow.has("run-0", uuid=study.uuid)
    reply = client.get(tool_links.trial_in_mlflow(study.uuid, 0))
    assert reply.headers["location"] == "/mlflow/#/experiments/7/runs/run-0"


@pytest.mark.parametrize(("stage", "uuid"), [("deleted", None), ("active", "of another study")])
def test_a_run_that_is_gone(
    stage: str, uuid: str | None, client: Any, mlflow: Mlflow, study: StudyRow, store: Store
) -> None:
    send(store, study, PARENT, "parent")
    assert "no run of the study any more" in client.get(f"/studies/{study.uuid}/mlflow").text
    mlflow.has("parent", stage, uuid)
    assert "tuner sync links" in client.get(f"/studies/{study.uuid}/mlflow").text


def test_mlflow_starts_or_fails(client: Any, mlflow: Mlflow, study: StudyRow, store: Store) -> None:
    send(store, study, PARENT, "parent")
    mlflow.problem = NotReady("MLflow is starting", is_starting=True)
    reply = client.get(f"/studies/{study.uuid}/mlflow")
    assert (reply.status_code, reply.headers["refresh"]) == (202, "1")
    assert "MLflow is starting" in reply.text
    mlflow.problem = NotReady("MLflow has ended: no such table")
    reply = client.get(f"/studies/{study.uuid}/mlflow")
    assert (reply.status_code, "refresh" in reply.headers) == (503, False)
    assert "no such table" in reply.text


def test_the_dashboard_counts_studies_its_own_way(client: Any, study: StudyRow) -> None:
    page = f"/dashboard/studies/{study.study_id}"
    reply = client.get(tool_links.study_in_dashboard(study.uuid))
    assert reply.headers["location"] == page
    reply = client.get(tool_links.trial_in_dashboard(study.uuid, 0))
    assert reply.headers["location"] == f"{page}/trials?numbers=0"
