"""Which networks MLflow has: those that the study keeps. SQL decides (`storage.kept_networks`)."""

from collections.abc import Iterable
from typing import Any

from tuner.storage.deliveries import TrackedTrial
from tuner.tracking.client import Client, is_not_found
from tuner.tracking.logged_models import (
    has_users_tags,
    is_ours,
    is_registered,
    linked_models,
    remove_model,
)


def wants_model(trial: TrackedTrial, log_models: str) -> bool:
    """Whether the trial's network belongs in MLflow. A search that logs all networks keeps them
    all."""
    return log_models != "none" and trial.attempt.model is not None


def drop_released(client: Client, run_id: str) -> None:
    """Delete the models of a run whose network is no longer kept, where nobody uses them. A run
    that MLflow no longer has, has none."""
    try:
        run = client.get_run(run_id)
    except Exception as error:
        if is_not_found(error):
            return
        raise
    for model in unused_models(client, linked_models(client, run), run):
        remove_model(client, model)


def unused_models(client: Client, models: Iterable[Any], run: Any) -> list[Any]:
    """Those of the run's models that we have made and nobody uses: they are neither registered nor
    tagged by a user."""
    return [
        model
        for model in models
        if is_ours(model, run)
        if not has_users_tags(model)
        if not (is_registered(model) or _has_versions(client, model))
    ]


def _has_versions(client: Client, model: Any) -> bool:
    """Whether the registry has a version of the model. One that a client made by the files' place
    leaves no mark on the model."""
    places = (model.artifact_location, f"models:/{model.model_id}")
    return any(client.search_model_versions(f"source_path = {_quoted(place)}") for place in places)


def _quoted(place: str) -> str:
    return f'"{place}"' if "'" in place else f"'{place}'"
