"""Which runs of an MLflow are a study's own: those that carry its UUID, and those that SQL
remembers and that carry no other. What several people or studies have in one MLflow is told apart
by that alone; names are free to be equal, or to be changed."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from tuner.storage import deliveries
from tuner.storage.schema import StudyKey
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.tracking.client import Client, is_missing

UUID_TAG = "tuner.study_uuid"
STUDY_TAG = "tuner.study"
TRIAL_TAG = "tuner.trial"

T = TypeVar("T")

# Views of MLflow's API, by the names of its ViewType.
ACTIVE, DELETED, ALL = 1, 2, 3

_RUNS_A_PAGE = 200
_IDS_A_QUERY = 200
_EXPERIMENTS_A_QUERY = 500


def is_own(run: Any, study: StudyKey, remembered: bool) -> bool:
    """`remembered`: whether SQL remembers it. Versions before this one wrote no UUID."""
    uuid = run.data.tags.get(UUID_TAG)
    return bool(uuid == study.uuid or (uuid is None and remembered))


def own_filter(study: StudyKey, more: str = "") -> str:
    condition = f"tags.`{UUID_TAG}` = '{study.uuid}'"
    return f"{condition} AND {more}" if more else condition


def find_run(client: Client, run_id: str) -> Any | None:
    """The run, also one in MLflow's bin; None where MLflow has none of that id."""
    try:
        return client.get_run(run_id)
    except Exception as error:
        if is_missing(error):
            return None
        raise


def is_active(entity: Any) -> bool:
    return bool(entity.lifecycle_stage == "active")


def all_experiments(client: Client, condition: str | None = None) -> Iterator[Any]:
    """Those in the bin too."""
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
    """The runs that meet the condition, newest first, a page at a time and none of them twice,
    though others may begin meanwhile."""
    seen: set[str] = set()
    for ids in chunks(experiment_ids, _EXPERIMENTS_A_QUERY):
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
    """All logged models of an experiment that meet the condition. A list: who deletes some of them
    between two pages would pass over others."""
    found, token = [], None
    while True:
        page = client.search_logged_models([experiment_id], condition, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def own_runs(
    store: Store, client: Client, study: StudyRow, view: int = ACTIVE
) -> Iterator[list[Any]]:
    """The study's own runs, in whatever experiment, a page at a time."""
    experiment_ids = [experiment.experiment_id for experiment in all_experiments(client)]
    seen: set[str] = set()
    for page in find_runs(client, experiment_ids, own_filter(study), view):
        seen.update(run.info.run_id for run in page)
        yield page
    rest = set(deliveries.known_runs(store, study).values()) - seen
    for page in runs_by_id(client, experiment_ids, sorted(rest), view):
        yield [run for run in page if is_own(run, study, remembered=True)]


def own_study_runs(store: Store, client: Client, study: StudyRow) -> list[Any]:
    """The runs that stand for the study itself: one, unless something went wrong."""
    experiment_ids = [experiment.experiment_id for experiment in all_experiments(client)]
    condition = own_filter(study, f"tags.`{STUDY_TAG}` LIKE '%'")
    runs = [run for page in find_runs(client, experiment_ids, condition) for run in page]
    known = deliveries.known_runs(store, study, deliveries.PARENT).get(deliveries.PARENT)
    if known is not None and known not in {run.info.run_id for run in runs}:
        run = find_run(client, known)
        if run is not None and is_active(run.info) and is_own(run, study, remembered=True):
            runs.append(run)
    return runs


def runs_by_id(
    client: Client, experiment_ids: Sequence[str], run_ids: Sequence[str], view: int = ACTIVE
) -> Iterator[list[Any]]:
    """Those of them that are there."""
    for some in chunks(run_ids, _IDS_A_QUERY):
        listed = ", ".join(f"'{run_id}'" for run_id in some)
        yield from find_runs(client, experiment_ids, f"attributes.run_id IN ({listed})", view)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
