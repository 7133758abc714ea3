"""`tuner sync`: a study's runs made whole from SQL, at any time and as often as one likes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tuner.errors import TrackingError
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.storage.tracked import count_delivered, ever_run, forget
from tuner.storage.turn import Turn
from tuner.tracking.check import Difference, check
from tuner.tracking.client import Client, open_client, tracking_errors
from tuner.tracking.mirror import Mirror


@dataclass(frozen=True)
class Synced:
    """How many ended trials were sent now, how many MLflow lacks still, and why."""

    study: str
    sent: int
    owed: int
    problem: str | None = None


@dataclass(frozen=True)
class Checked:
    """How many ended trials SQL has, and where MLflow differs."""

    study: str
    trials: int
    differences: list[Difference] = field(default_factory=list)


def check_study(
    store: Store, tracking_uri: str, study: StudyRow, log_models: str = "best"
) -> Checked:
    """Raises TrackingError where MLflow cannot be asked."""
    client = open_client(tracking_uri)
    with tracking_errors():
        found = check(store, client, study, log_models)
    trials = ever_run(store, study)
    return Checked(study.name, sum(trial.ended for trial in trials), found)


def sync_study(
    store: Store, tracking_uri: str, study: StudyRow, log_models: str = "best"
) -> Synced:
    """Deliver what MLflow lacks, or shows otherwise than SQL has it. Raises TrackingError where
    MLflow cannot be asked, or a tracker is at work on the study."""
    with _turn(store, study) as turn:
        client = open_client(tracking_uri)
        with tracking_errors():
            _take_back(store, client, study, check(store, client, study, log_models))
        mirror = Mirror(store, client, study, log_models, still_mine=turn.mine)
        sent, problem = 0, None
        try:
            sent = mirror.deliver(live=False, last=True)
        except TrackingError as error:
            problem = str(error)
        return Synced(study.name, sent, count_delivered(store, study)[1], problem)


def _take_back(
    store: Store, client: Client, study: StudyRow, differences: list[Difference]
) -> None:
    """Delete the runs that show something else, and forget that they were delivered: MLflow keeps
    them in its bin."""
    trial_ids = {trial.number: trial.trial_id for trial in ever_run(store, study)}
    for run_id in {run_id for difference in differences for run_id in difference.run_ids}:
        client.delete_run(run_id)
    for number in {difference.trial for difference in differences}:
        if number is not None:
            forget(store, study, trial_ids[number])


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
