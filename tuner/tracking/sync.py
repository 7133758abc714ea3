"""`tuner sync`: a study's runs made whole from SQL, at any time and as often as one likes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tuner.errors import TrackingError
from tuner.storage import deliveries
from tuner.storage.deliveries import PARENT, Delivery, TrackedTrial, Turn
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.tracking.check import CheckResult, Difference, check, nothing_there
from tuner.tracking.client import Client, open_client, open_existing, tracking_errors
from tuner.tracking.mirror import Mirror
from tuner.tracking.moved import relocate
from tuner.tracking.ownership import UUID_TAG, chunks, find_run, is_own
from tuner.tracking.runs import drop_run, restored

# What one round puts right may show another difference: a run that was purged is missing first.
_ROUNDS = 3
_SHOWN = 3
_TRIALS_A_QUERY = 500


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
    store: Store,
    tracking_uri: str,
    study: StudyRow,
    log_models: str = "best",
    networks: Path = Path(),
) -> Checked:
    """Raises TrackingError where MLflow cannot be asked. `networks`: the project's folder of saved
    networks."""
    client = open_existing(tracking_uri)
    if client is None:
        found = nothing_there(store, study)
    else:
        with tracking_errors():
            found = check(store, client, study, log_models, networks)
    ended = sum(trial.ended for trial in deliveries.outlines(store, study))
    return Checked(study.name, ended, found.differences)


def sync_study(
    store: Store,
    tracking_uri: str,
    study: StudyRow,
    log_models: str = "best",
    networks: Path = Path(),
) -> Synced:
    """Deliver what MLflow lacks, or shows otherwise than SQL has it; then look whether it was of
    use. Raises TrackingError where MLflow cannot be asked, or a tracker is at work on the study."""
    with _turn(store, study) as turn:
        relocate(tracking_uri)
        client = open_client(tracking_uri)
        mirror = Mirror(store, client, study, log_models, still_mine=turn.mine, networks=networks)
        return _Sync(store, client, study, mirror, log_models, networks).run()


class _Sync:
    def __init__(
        self,
        store: Store,
        client: Client,
        study: StudyRow,
        mirror: Mirror,
        log_models: str,
        networks: Path,
    ) -> None:
        self._store, self._client, self._study = store, client, study
        self._mirror, self._log_models, self._networks = mirror, log_models, networks

    def run(self) -> Synced:
        sent: set[int] = set()
        problem, found = None, self._look()
        for _ in range(_ROUNDS):
            with tracking_errors():
                self._put_right(found)
            due = self._owed()
            try:
                self._mirror.deliver(live=False, last=True)
            except TrackingError as error:
                problem = str(error)
            sent |= due - self._owed()
            if problem is not None or not (found.differences or due):
                break
            found = self._look()
            if all(difference.remedy == "none" for difference in found.differences):
                break
        owed = len(self._owed()) if problem else max(found.lacking, len(self._owed()))
        return Synced(self._study.name, len(sent), owed, problem or told(found.differences))

    def _look(self) -> CheckResult:
        self._mirror.open_study_run()  # taken out of the bin, with its experiment
        with tracking_errors():
            return check(self._store, self._client, self._study, self._log_models, self._networks)

    def _owed(self) -> set[int]:
        """The ended trials that SQL does not remember as delivered."""
        trials = deliveries.undelivered(self._store, self._study)
        return {trial.number for trial in trials if trial.ended}

    def _put_right(self, found: CheckResult) -> None:
        """Take back what is shown wrongly; MLflow keeps it in its bin. What is missing is owed
        again."""
        mark_runs(self._client, self._study, found)
        by_trial: dict[int, list[Difference]] = {}
        for difference in found.differences:
            if difference.trial is not None:
                by_trial.setdefault(difference.trial, []).append(difference)
        for numbers in chunks(by_trial, _TRIALS_A_QUERY):
            for trial in deliveries.numbered(self._store, self._study, numbers):
                self._put_trial_right(trial, by_trial[trial.number])
        self._put_study_right([one for one in found.differences if one.trial is None])

    def _put_trial_right(self, trial: TrackedTrial, differences: list[Difference]) -> None:
        self._drop(differences)
        remedies = {difference.remedy for difference in differences}
        shown = next((d.run_ids[0] for d in differences if d.remedy == "send"), None)
        if "replace" in remedies:
            delivery = self._in_bin(trial, differences)
            if delivery is None:
                deliveries.forget(self._store, self._study, [trial.trial_id])
        elif shown is not None:
            delivery = Delivery(shown, trial.attempt.attempt, 0, "RUNNING")
        else:
            return
        if delivery is not None:
            deliveries.mark(self._store, self._study, trial.trial_id, delivery)

    def _in_bin(self, trial: TrackedTrial, differences: list[Difference]) -> Delivery | None:
        """The trial's run, if somebody deleted it by hand: taken out of the bin again."""
        if trial.delivery is None or any(d.run_ids for d in differences if d.remedy == "replace"):
            return None
        run = find_run(self._client, trial.delivery.run_id)
        if run is None or not is_own(run, self._study, remembered=True):
            return None
        restored(self._client, run)
        return Delivery(trial.delivery.run_id, trial.delivery.attempt, 0, "RUNNING")

    def _put_study_right(self, differences: list[Difference]) -> None:
        self._drop(differences)
        remedies = {difference.remedy for difference in differences}
        if "replace" in remedies:
            deliveries.forget(self._store, self._study, [PARENT])
            self._mirror.look_again()
        if remedies & {"replace", "send"}:
            self._mirror.show_study_again()

    def _drop(self, differences: list[Difference]) -> None:
        wrong = {
            run_id
            for difference in differences
            if difference.remedy in ("drop", "replace")
            for run_id in difference.run_ids
        }
        for run_id in wrong:
            drop_run(self._client, run_id)


def told(differences: list[Difference]) -> str | None:
    """Some of them in one line."""
    lines = [
        one.what if one.trial is None else f"trial {one.trial}: {one.what}" for one in differences
    ]
    if len(lines) > _SHOWN:
        lines = [*lines[:_SHOWN], f"and {len(lines) - _SHOWN} more"]
    return "; ".join(lines) or None


def mark_runs(client: Client, study: StudyRow, found: CheckResult) -> None:
    """Give the runs that an earlier version made the study's UUID."""
    for run_id in found.unmarked:
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
