"""Where a study and a trial are shown in MLflow and in the Optuna dashboard.

The functions give addresses of this page, known without asking anybody. Whoever follows one is led
on to the tool's page, found by what was delivered; or a line says why there is none.
"""

import contextlib
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from tuner.storage import Store
from tuner.storage.deliveries import PARENT, read_delivery
from tuner.storage.studies import StudyRow
from tuner.system.names import command, in_command
from tuner.tracking.content import UUID_TAG
from tuner.tracking.links import charts_page, run_page
from tuner.tracking.study_pages import missing_view, view_tag
from tuner.web.proxy import MLFLOW, mlflow_server, not_ready, ready_client, unreachable
from tuner.web.tool_servers import NotReady, ToolServer
from tuner.web.web_setup import OpenedStudy, opened_trial

router = APIRouter()


def study_in_mlflow(uuid: str) -> str:
    """MLflow's comparison view of the study's trials, best first, with its charts open."""
    return f"/studies/{uuid}/mlflow"


def trial_in_mlflow(uuid: str, number: int) -> str:
    """The run of a trial."""
    return f"/studies/{uuid}/trials/{number}/mlflow"


def study_in_dashboard(uuid: str) -> str:
    return f"/studies/{uuid}/dashboard"


def trial_in_dashboard(uuid: str, number: int) -> str:
    return f"/studies/{uuid}/trials/{number}/dashboard"


@router.get("/studies/{uuid}/dashboard")
def show_study_in_dashboard(opened: OpenedStudy) -> Response:
    return RedirectResponse(f"/dashboard/studies/{opened[1].study_id}", 303)


@router.get("/studies/{uuid}/trials/{number}/dashboard")
def show_trial_in_dashboard(opened: OpenedStudy, number: int) -> Response:
    opened_trial(*opened, number)
    page = f"/dashboard/studies/{opened[1].study_id}/trials?numbers={number}"
    return RedirectResponse(page, 303)


def study_run(opened: OpenedStudy) -> str:
    """The id of the study's own run. Raises 404 where none was sent."""
    return _sent_run(opened, PARENT, "the study")


def trial_run(opened: OpenedStudy, number: int) -> str:
    """The id of a trial's run. Raises 404 where none was sent."""
    return _sent_run(opened, opened_trial(*opened, number).trial_id, f"trial {number}")


def _sent_run(opened: tuple[Store, StudyRow], trial_id: int, what: str) -> str:
    delivery = read_delivery(*opened, trial_id)
    if delivery is None:
        raise HTTPException(404, f"{what} was not sent to MLflow yet; to send it: {_sync(opened)}")
    return delivery.run_id


def _sync(opened: tuple[Store, StudyRow]) -> str:
    return command("sync", in_command(opened[1].name))


@router.get("/studies/{uuid}/mlflow")
async def show_study_in_mlflow(
    request: Request, opened: OpenedStudy, run_id: Annotated[str, Depends(study_run)]
) -> Response:
    return await _show_run(request, opened, run_id, "the study", is_trial=False)


@router.get("/studies/{uuid}/trials/{number}/mlflow")
async def show_trial_in_mlflow(
    request: Request, opened: OpenedStudy, number: int, run_id: Annotated[str, Depends(trial_run)]
) -> Response:
    return await _show_run(request, opened, run_id, f"trial {number}", is_trial=True)


async def _show_run(
    request: Request, opened: tuple[Store, StudyRow], run_id: str, what: str, is_trial: bool
) -> Response:
    """Lead on to MLflow's page of a run, or of a study's trials."""
    server, study = mlflow_server(request), opened[1]
    client = await ready_client(request, server)
    if isinstance(client, NotReady):
        return not_ready(request, MLFLOW, client)
    try:
        run = await _read(client, server, "runs/get", run_id=run_id)
        if run is None or not _is_own(run["run"], study):
            raise HTTPException(
                404, f"MLflow has no run of {what} any more; to send it again: {_sync(opened)}"
            )
        experiment_id = str(run["run"]["info"]["experiment_id"])
        if is_trial:
            return RedirectResponse(f"{MLFLOW.prefix}/{run_page(experiment_id, run_id)}", 303)
        await _keep_view(client, server, study, experiment_id)
    except httpx.HTTPError as error:
        return not_ready(request, MLFLOW, NotReady(unreachable(MLFLOW.name, server, error)))
    return RedirectResponse(f"{MLFLOW.prefix}/{charts_page(experiment_id, study)}", 303)


def _is_own(run: Any, study: StudyRow) -> bool:
    """Whether MLflow shows the run, and it is of this study: ids of another store may be alike."""
    tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
    is_active = run["info"].get("lifecycle_stage") == "active"
    return is_active and tags.get(UUID_TAG, study.uuid) == study.uuid


async def _keep_view(
    client: httpx.AsyncClient, server: ToolServer, study: StudyRow, experiment_id: str
) -> None:
    """Save the view that the address names, if it is not in the experiment."""
    reply = await _read(client, server, "experiments/get", experiment_id=experiment_id)
    tags = reply["experiment"].get("tags", []) if reply else []
    view = missing_view({tag["key"]: tag["value"] for tag in tags}, study)
    if view is None:
        return
    content = {"experiment_id": experiment_id, "key": view_tag(study), "value": view}
    # Without it, the page shows all runs of the experiment. A server that is read only refuses it.
    with contextlib.suppress(httpx.HTTPStatusError):
        address = f"{server.base}/api/2.0/mlflow/experiments/set-experiment-tag"
        (await client.post(address, json=content)).raise_for_status()


async def _read(
    client: httpx.AsyncClient, server: ToolServer, call: str, **params: str
) -> Any | None:
    """What MLflow has; None if it has nothing of that id. Raises httpx.HTTPError."""
    reply = await client.get(f"{server.base}/api/2.0/mlflow/{call}", params=params)
    if reply.status_code in (400, 404):
        return None
    return reply.raise_for_status().json()
