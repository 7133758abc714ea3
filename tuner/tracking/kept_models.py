"""Which networks MLflow has: those that the study keeps. SQL decides (`storage.kept_networks`)."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from tuner.storage import Store
from tuner.storage.deliveries import TrackedTrial
from tuner.storage.kept_networks import kept_numbers, unfinished_numbers
from tuner.storage.studies import StudyRow
from tuner.system.locations import local_path
from tuner.tracking.client import Client, is_not_found, open_existing_client, tracking_errors
from tuner.tracking.experiments import all_experiments, find_models, own_filter
from tuner.tracking.logged_models import (
    has_users_tags,
    is_ours,
    is_registered,
    linked_models,
    remove_model,
)


def wants_model(trial: TrackedTrial, log_models: str) -> bool:
    """Whether the trial's network belongs in MLflow, which takes those of Keras. A search that logs
    all networks keeps them all."""
    model = trial.attempt.model
    return log_models != "none" and model is not None and model.path.endswith(".keras")


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
    return [model for model in models if is_ours(model, run) and _is_unused(client, model)]


def _is_unused(client: Client, model: Any) -> bool:
    in_use = has_users_tags(model) or is_registered(model) or _has_versions(client, model)
    return not in_use


def _has_versions(client: Client, model: Any) -> bool:
    """Whether the registry has a version of the model. One that a client made by the files' place
    leaves no mark on the model."""
    places = (model.artifact_location, f"models:/{model.model_id}")
    return any(client.search_model_versions(f"source_path = {_quoted(place)}") for place in places)


def _quoted(place: str) -> str:
    return f'"{place}"' if "'" in place else f"'{place}'"


@dataclass(frozen=True)
class UnneededModel:
    """A model of a trial whose network is not kept. `size` in bytes; None for one on a server."""

    uri: str
    size: int | None
    remove: Callable[[], bool]


def unneeded_models(
    tracking_uri: str, store: Store, study: StudyRow, beyond: Collection[int] = ()
) -> list[UnneededModel]:
    """The study's models in MLflow that nobody uses, of finished trials whose networks are not
    kept. `beyond`: ids of trials whose networks count as not kept. Raises TrackingError."""
    client = open_existing_client(tracking_uri)
    if client is None:
        return []
    numbers = kept_numbers(store, study, beyond) | unfinished_numbers(store, study)
    needed = {str(number) for number in numbers}
    with tracking_errors():
        return [
            UnneededModel(f"models:/{model.model_id}", _local_size(model), _remover(client, model))
            for experiment in all_experiments(client)
            for model in find_models(client, experiment.experiment_id, own_filter(study))
            if model.tags.get("trial") not in needed and _is_unused(client, model)
        ]


def _remover(client: Client, model: Any) -> Callable[[], bool]:
    def remove() -> bool:
        with tracking_errors():
            current = client.get_logged_model(model.model_id)
            return _is_unused(client, current) and remove_model(client, current)

    return remove


def _local_size(model: Any) -> int | None:
    folder = local_path(model.artifact_location)
    if folder is None:
        return None
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
