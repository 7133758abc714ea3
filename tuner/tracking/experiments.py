"""A study's experiment in MLflow, and which runs there are the study's own.

Own runs carry the study's UUID in a tag; of older runs, SQL has the ids. Names are used only to
create an experiment: several people may use equal names, and rename experiments in MLflow's UI.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tuner.errors import TrackingError
from tuner.storage import deliveries
from tuner.storage.schema import StudyKey
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.system.locations import local_path
from tuner.tracking import content
from tuner.tracking.client import Client, artifact_location, is_not_found, local_folder
from tuner.tracking.content import STUDY_TAG, UUID_TAG

# MLflow's UI shows training runs first, and does not ask what the experiment is.
_KIND = {"mlflow.experimentKind": "custom_model_development"}

# The name of an experiment's folder beside a local store. It stays when the store is moved.
FOLDER_TAG = "tuner.folder"


def is_shared(study: StudyRow) -> bool:
    """Whether the study was created to share an experiment with others."""
    return study.experiment != study.name


def restore_experiment(client: Client, experiment_id: str) -> str:
    """The experiment's id. If the experiment is in MLflow's bin, it is taken out."""
    if not is_active(client.get_experiment(experiment_id)):
        client.restore_experiment(experiment_id)
    return experiment_id


def open_experiment(client: Client, study: StudyRow) -> str:
    """The id of the experiment for a study without runs, created if needed."""
    if is_shared(study):
        return _open_shared(client, study.experiment)
    own = list(all_experiments(client, f"tags.`{UUID_TAG}` = '{study.uuid}'"))
    if own:
        own.sort(key=lambda each: (not is_active(each), int(each.creation_time or 0)))
        return restore_experiment(client, own[0].experiment_id)
    return _create_own(client, study)


def _open_shared(client: Client, name: str) -> str:
    name = content.experiment_name(name)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        new_id = _create(client, name, folder_of(name), {})
        # Another study's tracker may have created it meanwhile.
        experiment = (
            client.get_experiment(new_id) if new_id else client.get_experiment_by_name(name)
        )
    if experiment is None:
        raise TrackingError(f"MLflow has no experiment {name!r}, and tuner cannot create it")
    return restore_experiment(client, str(experiment.experiment_id))


def _create_own(client: Client, study: StudyRow) -> str:
    """The id of a new experiment for this study alone. If the name is taken, perhaps by the study
    of another person, a part of the UUID follows it."""
    for suffix in ("", f" ({study.uuid[:8]})", f" ({study.uuid})"):
        name = content.experiment_name(study.experiment, suffix)
        folder = f"{_plain(study.experiment)}-{study.uuid[:8]}"
        new_id = _create(client, name, folder, {UUID_TAG: study.uuid})
        if new_id is not None:
            return new_id
    raise TrackingError(
        f"MLflow has an experiment for every name that {study.experiment!r} could get"
    )


def _create(client: Client, name: str, folder: str, tags: dict[str, str]) -> str | None:
    """The new experiment's id; None if the name is taken, also by one in the bin."""
    from mlflow.exceptions import MlflowException

    parent = local_folder(client.tracking_uri)
    location = None
    if parent is not None:
        # MLflow's default would follow the working directory. The folder is created at once: a
        # project that was moved is recognised by it.
        (parent / folder).mkdir(parents=True, exist_ok=True)
        location, tags = artifact_location(parent / folder), tags | {FOLDER_TAG: folder}
    try:
        return str(client.create_experiment(name, location, tags=_KIND | tags))
    except MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS":
            return None
        raise


def folder_of(name: str) -> str:
    """The folder of an experiment that several studies share."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    plain = _plain(name)
    return plain if plain == name else f"{plain}-{digest}"


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name)[:80]


def claim_experiment(client: Client, study: StudyRow, experiment_id: str) -> None:
    """Tag the study's own experiment if an earlier version created it."""
    experiment = client.get_experiment(experiment_id)
    if not is_shared(study) and experiment.name == study.name and UUID_TAG not in experiment.tags:
        client.set_experiment_tag(experiment_id, UUID_TAG, study.uuid)


def inside_store(client: Client, location: str) -> bool:
    """Whether files there may be removed. The local store of a copied project may point to files of
    the original project. A server removes its files itself."""
    folder = local_folder(client.tracking_uri)
    if folder is None:
        return True
    path = local_path(location)
    return path is not None and is_below(path, folder)


def is_below(path: Path, folder: Path) -> bool:
    path, folder = path.resolve(), folder.resolve()
    return path != folder and path.is_relative_to(folder)


def is_empty(client: Client, experiment: Any) -> bool:
    """Whether the experiment has no runs but those in the bin."""
    return not client.search_runs([experiment.experiment_id], max_results=1)


T = TypeVar("T")

# Views of MLflow's API, by the names of its ViewType.
ACTIVE, DELETED, ALL = 1, 2, 3
_RUNS_A_PAGE = 200
_IDS_A_QUERY = 200
_EXPERIMENTS_A_QUERY = 500


def is_own_run(run: Any, study: StudyKey, remembered: bool) -> bool:
    """`remembered`: whether SQL has its id. Earlier versions wrote no UUID."""
    uuid = run.data.tags.get(UUID_TAG)
    return bool(uuid == study.uuid or (uuid is None and remembered))


def own_filter(study: StudyKey, more: str = "") -> str:
    condition = f"tags.`{UUID_TAG}` = '{study.uuid}'"
    return f"{condition} AND {more}" if more else condition


def find_run(client: Client, run_id: str) -> Any | None:
    """The run, also one in MLflow's bin; None if MLflow has none of that id."""
    try:
        return client.get_run(run_id)
    except Exception as error:
        if is_not_found(error):
            return None
        raise


def is_active(entity: Any) -> bool:
    return bool(entity.lifecycle_stage == "active")


def all_experiments(client: Client, condition: str | None = None) -> Iterator[Any]:
    """All experiments, including those in the bin."""
    token = None
    while True:
        page = client.search_experiments(
            view_type=ALL, max_results=1000, filter_string=condition, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def find_runs(
    client: Client, experiment_ids: Sequence[str], condition: str, view: int = ACTIVE
) -> Iterator[list[Any]]:
    """The runs that meet the condition, newest first, page by page. No run comes twice, even if
    others begin meanwhile."""
    seen: set[str] = set()
    for ids in split_into_chunks(experiment_ids, _EXPERIMENTS_A_QUERY):
        token = None
        while True:
            page = client.search_runs(
                ids, condition, view, max_results=_RUNS_A_PAGE, page_token=token
            )
            fresh = [run for run in page if run.info.run_id not in seen]
            seen.update(run.info.run_id for run in fresh)
            yield fresh
            token = page.token
            if not token:
                break


def find_models(client: Client, experiment_id: str, condition: str) -> list[Any]:
    """All logged models of an experiment that meet the condition. A list, because deleting models
    between two pages would skip others."""
    models, token = [], None
    while True:
        page = client.search_logged_models([experiment_id], condition, page_token=token)
        models += page
        token = page.token
        if not token:
            return models


def own_runs(
    store: Store, client: Client, study: StudyRow, view: int = ACTIVE
) -> Iterator[list[Any]]:
    """The study's own runs in all experiments, page by page."""
    experiment_ids = [experiment.experiment_id for experiment in all_experiments(client)]
    seen: set[str] = set()
    for page in find_runs(client, experiment_ids, own_filter(study), view):
        seen.update(run.info.run_id for run in page)
        yield page
    rest = set(deliveries.known_runs(store, study).values()) - seen
    for page in runs_by_id(client, experiment_ids, sorted(rest), view):
        yield [run for run in page if is_own_run(run, study, remembered=True)]


def own_study_runs(store: Store, client: Client, study: StudyRow) -> list[Any]:
    """The runs that stand for the study itself: one, unless something went wrong."""
    experiment_ids = [experiment.experiment_id for experiment in all_experiments(client)]
    condition = own_filter(study, f"tags.`{STUDY_TAG}` LIKE '%'")
    runs = [run for page in find_runs(client, experiment_ids, condition) for run in page]
    parent_id = deliveries.known_runs(store, study, deliveries.PARENT).get(deliveries.PARENT)
    if parent_id is not None and parent_id not in {run.info.run_id for run in runs}:
        run = find_run(client, parent_id)
        if run is not None and is_active(run.info) and is_own_run(run, study, remembered=True):
            runs.append(run)
    return runs


def runs_by_id(
    client: Client, experiment_ids: Sequence[str], run_ids: Sequence[str], view: int = ACTIVE
) -> Iterator[list[Any]]:
    """The runs of these ids that exist."""
    for some in split_into_chunks(run_ids, _IDS_A_QUERY):
        listed = ", ".join(f"'{run_id}'" for run_id in some)
        yield from find_runs(client, experiment_ids, f"attributes.run_id IN ({listed})", view)


def split_into_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
