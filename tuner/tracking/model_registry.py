"""Promoted networks in MLflow: a run of their own, a version of a registered model, the alias.

Each step finds what an interrupted promotion of the same network has left, by the network's SHA-256
in a tag, and goes on from there. The alias is set last: whatever it names is complete.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.data import Dataset
from tuner.errors import StudyError, UsageError
from tuner.storage import Store
from tuner.storage.deliveries import read_delivery
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow
from tuner.system.names import check_name
from tuner.tracking.client import Client, is_not_found
from tuner.tracking.content import (
    Point,
    allowed_key,
    dataset_inputs,
    shown_params,
    tag_value,
    to_milliseconds,
)
from tuner.tracking.experiments import find_run, find_runs, open_experiment, restore_experiment
from tuner.tracking.logged_models import VERSIONS_TAG
from tuner.tracking.runs import send_to_run

CHAMPION = "champion"
# The SHA-256 of the promoted network's file.
NETWORK_TAG = "tuner.network"
# STUDY/TRIAL. These runs lack the study's UUID in their tags: they belong to the registered model,
# and stay when the study is deleted.
PROMOTED_TAG = "tuner.promoted"
CARD_FILE = "MODEL_CARD.md"
EVALUATION_FILE = "evaluation.json"
# Of a version's description: a column of MLflow's database.
LONGEST_DESCRIPTION = 5000


@dataclass(frozen=True)
class RegisteredVersion:
    """`tags`: of the version."""

    name: str
    version: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


def champion_uri(name: str) -> str:
    """What names the champion of a registered model, for `tuner predict`, `tuner.load_model` and
    MLflow."""
    return f"models:/{name}@{CHAMPION}"


def check_model_name(name: str, is_given: bool) -> None:
    """Raises UsageError for a name that a registered model cannot have. `is_given`: by the user,
    else it is the study's."""
    try:
        check_name(name)  # safe in MLflow's URIs and filters too
    except StudyError as error:
        text = str(error).replace("no name for a study", "no name for a registered model")
        raise UsageError(text if is_given else f"{text}; give one: --name NAME") from None


def read_champion(client: Client, name: str) -> RegisteredVersion | None:
    """The version that has the alias; None without one. Raises what MLflow raises."""
    try:
        number = client.get_registered_model(name).aliases.get(CHAMPION)
        if number is None:
            return None
        version = client.get_model_version(name, str(number))
    except Exception as error:
        if is_not_found(error):
            return None
        raise
    return RegisteredVersion(name, str(version.version), dict(version.tags))


def open_run(
    client: Client,
    store: Store,
    study: StudyRow,
    trial: TrialRow,
    sha256: str,
) -> str:
    """The id of the run of a promoted network, created if it is missing. Raises what MLflow
    raises, as all below."""
    experiment_id = _experiment(client, store, study)
    condition = f"tags.`{NETWORK_TAG}` = '{sha256}'"
    for page in find_runs(client, [experiment_id], condition):
        for run in page:
            return str(run.info.run_id)
    tags = {
        NETWORK_TAG: sha256,
        PROMOTED_TAG: tag_value(f"{study.name}/{trial.number}"),
        "study": tag_value(study.name),
        "trial": str(trial.number),
    }
    run = client.create_run(experiment_id, tags=tags, run_name=f"promoted trial {trial.number}")
    return str(run.info.run_id)


def _experiment(client: Client, store: Store, study: StudyRow) -> str:
    """That of the study's own run, or else a new one."""
    delivery = read_delivery(store, study)
    run = None if delivery is None else find_run(client, delivery.run_id)
    if run is None:
        return open_experiment(client, study)
    return restore_experiment(client, run.info.experiment_id)


@dataclass(frozen=True)
class RunContent:
    """What a promotion's run shows. `metrics`: by name, as test_accuracy. `evaluation`: as JSON."""

    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    card: str
    evaluation: Mapping[str, Any]
    dataset: Dataset


def describe_run(
    client: Client,
    run_id: str,
    study: StudyRow,
    trial: TrialRow,
    content: RunContent,
) -> None:
    """Send the run all that it shows, and close it. Values that it has already stay as they are."""
    sent = client.get_run(run_id).data.metrics
    at = to_milliseconds(time.time())
    points = [
        Point(allowed_key(name), value, at, 0)
        for name, value in content.metrics.items()
        if allowed_key(name) not in sent
    ]
    params = shown_params(study.spec, trial.params)
    tags = {name: tag_value(value) for name, value in content.tags.items()}
    send_to_run(client, run_id, points, params, tags)
    client.log_inputs(run_id, dataset_inputs(study.spec, content.dataset))
    client.log_text(run_id, content.card, CARD_FILE)
    client.log_dict(run_id, dict(content.evaluation), EVALUATION_FILE)
    client.set_terminated(run_id, "FINISHED")


def register_version(
    client: Client,
    name: str,
    run_id: str,
    model_id: str,
    tags: Mapping[str, str],
    description: str,
) -> RegisteredVersion:
    """The version of the registered model that is this network, created if it is missing."""
    _create_model(client, name)
    version = _find_version(client, name, tags[NETWORK_TAG])
    if version is None:
        created = client.create_model_version(
            name,
            # Not models:/ID, which MLflow looks up in the process' own store, not in this one.
            source=client.get_logged_model(model_id).artifact_location,
            run_id=run_id,
            model_id=model_id,
            tags={key: tag_value(value) for key, value in tags.items()},
            description=description,
        )
        version = RegisteredVersion(name, str(created.version), dict(tags))
    _mark_registered(client, model_id, version)
    return version


def _find_version(client: Client, name: str, sha256: str) -> RegisteredVersion | None:
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.tags.get(NETWORK_TAG) == sha256 and str(version.status) == "READY":
            return RegisteredVersion(name, str(version.version), dict(version.tags))
    return None


def _mark_registered(client: Client, model_id: str, version: RegisteredVersion) -> None:
    """Have the logged model name its version, as a server does it by itself: a registered model is
    never deleted with its run."""
    known = client.get_logged_model(model_id).tags.get(VERSIONS_TAG)
    versions = json.loads(known) if known else []
    if version.name not in [each["name"] for each in versions]:
        versions.append({"name": version.name, "version": int(version.version)})
        client.set_logged_model_tags(model_id, {VERSIONS_TAG: json.dumps(versions)})


def _create_model(client: Client, name: str) -> None:
    try:
        client.create_registered_model(name)
    except Exception as error:
        if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
            raise


def set_champion(client: Client, version: RegisteredVersion) -> None:
    client.set_registered_model_alias(version.name, CHAMPION, version.version)
