"""`tuner sync` and `study delete`: correct a study's runs in MLflow from SQL, or remove them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.errors import TrackingError
from tuner.storage import deliveries
from tuner.storage.deliveries import PARENT, Delivery, TrackedTrial, Turn
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.system.locations import local_path
from tuner.tracking import content
from tuner.tracking.check import CheckResult, Difference, find_all_missing, find_differences
from tuner.tracking.client import (
    Client,
    local_folder,
    open_client,
    open_existing_client,
    tracking_errors,
)
from tuner.tracking.content import UUID_TAG
from tuner.tracking.experiments import (
    all_experiments,
    find_models,
    find_run,
    is_active,
    is_below,
    is_empty,
    is_own_run,
    is_shared,
    own_filter,
    own_runs,
    split_into_chunks,
)
from tuner.tracking.logged_models import remove_model, remove_models
from tuner.tracking.moved_store import relocate_store
from tuner.tracking.runs import drop_run, restore_run
from tuner.tracking.study_delivery import StudyDelivery
from tuner.tracking.study_pages import drop_view

# A corrected difference may reveal another one: a purged run is missing first.
_ROUNDS = 3
_SHOWN = 3
_TRIALS_A_QUERY = 500


@dataclass(frozen=True)
class Synced:
    """How many ended trials were sent, how many MLflow still lacks (`missing`), and why."""

    study: str
    sent: int
    missing: int
    problem: str | None = None


@dataclass(frozen=True)
class Checked:
    """The number of ended trials in SQL, and how MLflow differs."""

    study: str
    trials: int
    differences: list[Difference] = field(default_factory=list)


def check_study(
    store: Store,
    tracking_uri: str,
    study: StudyRow,
    log_models: str = "best",
    networks: str | Path = ".",
) -> Checked:
    """Compare MLflow with SQL. `networks`: the project's store of them. Raises
    TrackingError if MLflow does not answer."""
    client = open_existing_client(tracking_uri)
    if client is None:
        result = find_all_missing(store, study)
    else:
        with tracking_errors():
            result = find_differences(store, client, study, log_models, networks)
    ended = sum(trial.ended for trial in deliveries.outlines(store, study))
    return Checked(study.name, ended, result.differences)


def sync_study(
    store: Store,
    tracking_uri: str,
    study: StudyRow,
    log_models: str = "best",
    networks: str | Path = ".",
) -> Synced:
    """Deliver what MLflow lacks and correct what differs, then check the result. Raises
    TrackingError if MLflow does not answer, or a tracker is delivering the study."""
    with _turn(store, study) as turn:
        relocate_store(tracking_uri)
        client = open_client(tracking_uri)
        delivery = StudyDelivery(
            store, client, study, log_models, still_mine=turn.mine, networks=networks
        )
        return _Sync(store, client, study, delivery, log_models, networks).run()


class _Sync:
    def __init__(
        self,
        store: Store,
        client: Client,
        study: StudyRow,
        delivery: StudyDelivery,
        log_models: str,
        networks: str | Path,
    ) -> None:
        self._store, self._client, self._study = store, client, study
        self._delivery, self._log_models, self._networks = delivery, log_models, networks

    def run(self) -> Synced:
        sent: set[int] = set()
        problem, result = None, self._check()
        for _ in range(_ROUNDS):
            with tracking_errors():
                self._correct(result)
            due = self._undelivered()
            try:
                self._delivery.deliver(live=False, last=True)
            except TrackingError as error:
                problem = str(error)
            sent |= due - self._undelivered()
            if problem is not None or not (result.differences or due):
                break
            result = self._check()
            if all(difference.remedy == "none" for difference in result.differences):
                break
        missing = (
            len(self._undelivered()) if problem else max(result.lacking, len(self._undelivered()))
        )
        return Synced(
            self._study.name,
            len(sent),
            missing,
            problem or summarize_differences(result.differences),
        )

    def _check(self) -> CheckResult:
        self._delivery.open_study_run()  # takes it and its experiment out of the bin
        with tracking_errors():
            return find_differences(
                self._store, self._client, self._study, self._log_models, self._networks
            )

    def _undelivered(self) -> set[int]:
        """The numbers of the ended trials that SQL does not record as delivered."""
        trials = deliveries.undelivered(self._store, self._study)
        return {trial.number for trial in trials if trial.ended}

    def _correct(self, result: CheckResult) -> None:
        """Put wrong runs into MLflow's bin, and have missing ones delivered again."""
        tag_runs(self._client, self._study, result)
        by_trial: dict[int, list[Difference]] = {}
        for difference in result.differences:
            if difference.trial is not None:
                by_trial.setdefault(difference.trial, []).append(difference)
        for numbers in split_into_chunks(by_trial, _TRIALS_A_QUERY):
            for trial in deliveries.numbered(self._store, self._study, numbers):
                self._correct_trial(trial, by_trial[trial.number])
        self._correct_study([each for each in result.differences if each.trial is None])

    def _correct_trial(self, trial: TrackedTrial, differences: list[Difference]) -> None:
        self._drop(differences)
        remedies = {difference.remedy for difference in differences}
        shown = next((d.run_ids[0] for d in differences if d.remedy == "send"), None)
        if "replace" in remedies:
            delivery = self._restore_deleted(trial, differences)
            if delivery is None:
                deliveries.forget(self._store, self._study, [trial.trial_id])
        elif shown is not None:
            delivery = Delivery(shown, trial.attempt.attempt, 0, "RUNNING")
        else:
            return
        if delivery is not None:
            deliveries.mark(self._store, self._study, trial.trial_id, delivery)

    def _restore_deleted(
        self, trial: TrackedTrial, differences: list[Difference]
    ) -> Delivery | None:
        """Take the trial's run out of the bin, if somebody deleted it by hand."""
        if trial.delivery is None or any(d.run_ids for d in differences if d.remedy == "replace"):
            return None
        run = find_run(self._client, trial.delivery.run_id)
        if run is None or not is_own_run(run, self._study, remembered=True):
            return None
        restore_run(self._client, run)
        return Delivery(trial.delivery.run_id, trial.delivery.attempt, 0, "RUNNING")

    def _correct_study(self, differences: list[Difference]) -> None:
        self._drop(differences)
        remedies = {difference.remedy for difference in differences}
        if "replace" in remedies:
            deliveries.forget(self._store, self._study, [PARENT])
            self._delivery.start_over()
        if remedies & {"replace", "send"}:
            self._delivery.resend_study()

    def _drop(self, differences: list[Difference]) -> None:
        wrong = {
            run_id
            for difference in differences
            if difference.remedy in ("drop", "replace")
            for run_id in difference.run_ids
        }
        for run_id in wrong:
            drop_run(self._client, run_id)


def summarize_differences(differences: list[Difference]) -> str | None:
    """The first differences in one line."""
    lines = [
        each.what if each.trial is None else f"trial {each.trial}: {each.what}"
        for each in differences
    ]
    if len(lines) > _SHOWN:
        lines = [*lines[:_SHOWN], f"and {len(lines) - _SHOWN} more"]
    return "; ".join(lines) or None


def tag_runs(client: Client, study: StudyRow, result: CheckResult) -> None:
    """Add the study's UUID to runs that an earlier version created."""
    for run_id in result.unmarked:
        client.set_tag(run_id, UUID_TAG, study.uuid)


@contextmanager
def _turn(store: Store, study: StudyRow) -> Iterator[Turn]:
    turn = Turn(store, study.study_id)
    if not turn.mine():
        raise TrackingError(
            f"the tracker of a running search delivers study {study.name!r} already"
        )
    try:
        yield turn
    finally:
        turn.give_back()


@dataclass(frozen=True)
class Removed:
    """How many runs and models were deleted. `registered`: models that stay, with their files,
    because they are in MLflow's registry."""

    runs: int
    models: int
    registered: int


def remove_study(tracking_uri: str, study: StudyRow, store: Store) -> Removed:
    """Delete a study's runs and models from this MLflow. A study of which nothing was delivered
    costs no request. Raises TrackingError."""
    if not deliveries.known_runs(store, study):
        return Removed(0, 0, 0)
    relocate_store(tracking_uri)
    with tracking_errors():
        return remove_runs(open_client(tracking_uri), study, store)


def remove_runs(client: Client, study: StudyRow, store: Store) -> Removed:
    """Delete a study's own runs and models, and its own experiment unless that holds runs of
    others. MLflow keeps deleted runs in a bin, which `mlflow gc` empties. Files of models in this
    project are deleted at once."""
    # All pages first: deleting runs between two pages would skip others.
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
        drop_view(client, study, experiment)
        is_legacy = tag is None and is_home and experiment.name == study.name
        is_own = tag == study.uuid or (is_legacy and not is_shared(study))
        if is_own and is_active(experiment) and not registered and is_empty(client, experiment):
            _remove_experiment(client, experiment)
    return Removed(len(runs), models, registered)


def _remove_orphans(client: Client, study: StudyRow, experiment: Any) -> int:
    """Delete the study's models whose runs are deleted already. Returns how many."""
    models = find_models(client, experiment.experiment_id, own_filter(study))
    return sum(remove_model(client, model) for model in models)


def _remove_experiment(client: Client, experiment: Any) -> None:
    """Put the experiment into the bin under another name: a new study of its name would otherwise
    take it out, with the old runs."""
    experiment_id = experiment.experiment_id
    name = content.experiment_name(experiment.name[:200], f" (deleted {experiment_id})")
    client.rename_experiment(experiment_id, name)
    client.delete_experiment(experiment_id)
    folder, path = local_folder(client.tracking_uri), local_path(experiment.artifact_location)
    if folder is None or path is None or not is_below(path, folder):
        return
    # Another experiment may have its folder there, or above.
    others = [
        other
        for each in all_experiments(client)
        if each.experiment_id != experiment_id and (other := local_path(each.artifact_location))
    ]
    if not any(other.is_relative_to(path) or path.is_relative_to(other) for other in others):
        shutil.rmtree(path, ignore_errors=True)
