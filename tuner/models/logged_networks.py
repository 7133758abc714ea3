"""Networks in MLflow: of a run, of a logged model, of a registered model. They need no database of
studies."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tuner.errors import ArtifactError, TrackingError
from tuner.models.model_texts import LOGGED, LOGGED_FORMS, REGISTERED, RUN
from tuner.preparation.served_network import NETWORK_FILE
from tuner.settings import Settings
from tuner.system.secret_masking import without_secrets
from tuner.tracking.client import (
    Client,
    download_file,
    is_not_found,
    open_existing_client,
    tracking_errors,
)
from tuner.tracking.logged_models import linked_models
from tuner.values import join_names, suggest_names

MLMODEL = "MLmodel"


@dataclass(frozen=True)
class LoggedPlace:
    """A model in MLflow. `location`: of its artifacts. `where`: its name for people."""

    location: str
    where: str


def fetch_logged(text: str, settings: Settings, folder: Path) -> tuple[Path, str]:
    """Download the network that the text names into `folder`. Returns its file, and its name for
    people.

    Raises TrackingError, one line, where MLflow does not answer or does not know it; ArtifactError
    for a model that is no network of Keras.
    """
    client = open_existing_client(settings.tracking_uri)
    if client is None:
        raise TrackingError(
            f"{text}: there is no MLflow store at {without_secrets(settings.tracking_uri)}; say "
            "where it is: --tracking-uri URI"
        )
    with tracking_errors():
        place = _find(client, text)
        return _download(client, place, folder), place.where


def _find(client: Client, text: str) -> LoggedPlace:
    readers: Sequence[tuple[re.Pattern[str], Callable[..., LoggedPlace]]] = (
        (LOGGED, _find_logged),
        (RUN, _find_of_run),
        (REGISTERED, _find_registered),
    )
    for pattern, find in readers:
        if match := pattern.fullmatch(text):
            return find(client, **match.groupdict())
    raise TrackingError(f"{text}: names no model in MLflow; write {LOGGED_FORMS}")


def _find_logged(client: Client, model: str) -> LoggedPlace:
    logged = _known(lambda: client.get_logged_model(model), f"MLflow has no logged model {model}")
    return LoggedPlace(logged.artifact_location, f"logged model {model}")


def _find_of_run(client: Client, run: str, path: str | None) -> LoggedPlace:
    content = _known(lambda: client.get_run(run), f"MLflow has no run {run}")
    models = list(linked_models(client, content))
    named = [model for model in models if path is None or model.name == path.rstrip("/")]
    if named:
        return LoggedPlace(named[-1].artifact_location, f"run {run}")
    if path is not None:  # as MLflow 2 logs a model: among the run's own artifacts
        return LoggedPlace(f"{content.info.artifact_uri}/{path}", f"run {run}")
    raise TrackingError(f"run {run} has no logged model: --log-models chooses which trials log one")


def _find_registered(
    client: Client, name: str, alias: str | None, version: str | None
) -> LoggedPlace:
    registered = _known(lambda: client.get_registered_model(name), None)
    if registered is None:
        names = [each.name for each in client.search_registered_models(max_results=1000)]
        near = suggest_names(name, names) or f"; it has {join_names(names) or 'none'}"
        raise TrackingError(f"MLflow has no registered model {name!r}{near}")
    if alias is None and version is None:
        raise TrackingError(f"say which version of {name}: {_choices(client, registered)}")
    if alias is not None:
        version = registered.aliases.get(alias)
    elif version == "latest":
        version = str(max((int(each) for each in _versions(client, name)), default=""))
    if version is None or str(version) not in _versions(client, name):
        wanted = f"alias {alias!r}" if alias is not None else f"version {version!r}"
        raise TrackingError(
            f"registered model {name!r} has no {wanted}; it has {_choices(client, registered)}"
        )
    location = client.get_model_version_download_uri(name, str(version))
    if match := LOGGED.fullmatch(location):
        location = _find_logged(client, **match.groupdict()).location
    called = f" ({alias})" if alias is not None else ""
    return LoggedPlace(location, f"{name}, version {version}{called}")


def _versions(client: Client, name: str) -> list[str]:
    return [str(each.version) for each in client.search_model_versions(f"name = '{name}'")]


def _choices(client: Client, registered: Any) -> str:
    name = registered.name
    uris = [f"models:/{name}@{alias}" for alias in registered.aliases]
    return join_names([*uris, *(f"models:/{name}/{each}" for each in _versions(client, name))])


def _known(read: Callable[[], Any], problem: str | None) -> Any:
    """What MLflow answers. Where it does not know the thing: TrackingError, or None where `problem`
    is None."""
    try:
        return read()
    except Exception as error:
        if not is_not_found(error):
            raise
        if problem is None:
            return None
        raise TrackingError(problem) from error


def network_in_model(described: bytes, where: str) -> str:
    """Where the Keras file lies in the folder of a model, by its file MLmodel. Raises ArtifactError
    for a model that has none."""
    try:
        flavors = yaml.safe_load(described)["flavors"]
        data = flavors["keras"]["data"] if "keras" in flavors else None
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise ArtifactError(f"{where}: its file {MLMODEL} cannot be read") from error
    if data is None:
        raise ArtifactError(
            f"{where}: is no Keras network but one of {join_names(flavors)}, which another program "
            "logged; load it by mlflow.pyfunc.load_model"
        )
    return f"{data}/{NETWORK_FILE}"


def _download(client: Client, place: LoggedPlace, folder: Path) -> Path:
    described = download_file(client, f"{place.location}/{MLMODEL}", folder).read_bytes()
    network = network_in_model(described, place.where)
    return download_file(client, f"{place.location}/{network}", folder)
