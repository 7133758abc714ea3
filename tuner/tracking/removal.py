"""Taking a study out of MLflow again."""

import shutil
from dataclasses import dataclass
from typing import Any

from tuner.storage import Store, deliveries
from tuner.storage.studies import StudyRow
from tuner.system.locations import local_path
from tuner.tracking import content
from tuner.tracking.client import Client, local_folder, open_client, tracking_errors
from tuner.tracking.experiments import is_below, is_empty, is_shared
from tuner.tracking.models import remove_model, remove_models
from tuner.tracking.moved import relocate
from tuner.tracking.ownership import (
    UUID_TAG,
    all_experiments,
    find_models,
    is_active,
    own_filter,
    own_runs,
)


@dataclass(frozen=True)
class Removed:
    """How many runs and models went; models in MLflow's registry stay, with their files."""

    runs: int
    models: int
    registered: int


def remove_study(tracking_uri: str, study: StudyRow, store: Store) -> Removed:
    """`remove`, by MLflow's address. MLflow is not asked about a study of which nothing was ever
    delivered. Raises TrackingError."""
    if not deliveries.known_runs(store, study):
        return Removed(0, 0, 0)
    relocate(tracking_uri)
    with tracking_errors():
        return remove(open_client(tracking_uri), study, store)


def remove(client: Client, study: StudyRow, store: Store) -> Removed:
    """Delete a study's own runs and models, and its experiment where that was its own and nothing
    of others is in it. MLflow keeps what it deleted in a bin, which `mlflow gc` empties; the
    models' files go at once, if they lie in this project."""
    # All of them first: a search would pass over runs while others vanish.
    runs = [run for page in own_runs(store, client, study) for run in page]
    counts = [remove_models(client, run) for run in runs]
    models, registered = sum(gone for gone, _ in counts), sum(stay for _, stay in counts)
    homes = {run.info.experiment_id for run in runs}
    for run in runs:
        client.delete_run(run.info.run_id)
    for experiment in list(all_experiments(client)):
        tag = experiment.tags.get(UUID_TAG)
        is_home = experiment.experiment_id in homes
        models += _remove_orphans(client, study, experiment) if is_home or tag else 0
        is_legacy = tag is None and is_home and experiment.name == study.name
        is_own = tag == study.uuid or (is_legacy and not is_shared(study))
        if is_own and is_active(experiment) and not registered and is_empty(client, experiment):
            _remove_experiment(client, experiment)
    return Removed(len(runs), models, registered)


def _remove_orphans(client: Client, study: StudyRow, experiment: Any) -> int:
    """Models of the study whose runs went before."""
    found = find_models(client, experiment.experiment_id, own_filter(study))
    return sum(remove_model(client, model) for model in found)


def _remove_experiment(client: Client, experiment: Any) -> None:
    """It goes into the bin under another name: taken out for a new study of that name, it would
    bring the old runs back."""
    experiment_id = experiment.experiment_id
    name = content.experiment_name(experiment.name[:200], f" (deleted {experiment_id})")
    client.rename_experiment(experiment_id, name)
    client.delete_experiment(experiment_id)
    folder, path = local_folder(client.tracking_uri), local_path(experiment.artifact_location)
    if folder is None or path is None or not is_below(path, folder):
        return
    # Nothing of another experiment may lie there, or above it.
    others = [
        other
        for one in all_experiments(client)
        if one.experiment_id != experiment_id and (other := local_path(one.artifact_location))
    ]
    if not any(other.is_relative_to(path) or path.is_relative_to(other) for other in others):
        shutil.rmtree(path, ignore_errors=True)
