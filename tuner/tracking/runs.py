"""Which run shows what: the study's own run, and one run a trial."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tuner.data import Dataset
from tuner.errors import TrackingError
from tuner.storage import deliveries
from tuner.storage.deliveries import PARENT, Delivery, TrackedTrial
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.tracking import content
from tuner.tracking.client import Client
from tuner.tracking.content import PARENT_TAG, Point, dataset_input, to_milliseconds
from tuner.tracking.experiments import (
    ALL,
    DELETED,
    STUDY_TAG,
    TRIAL_TAG,
    UUID_TAG,
    all_experiments,
    claim_experiment,
    find_run,
    find_runs,
    is_active,
    is_own_run,
    open_experiment,
    own_filter,
    own_runs,
    restore_experiment,
    runs_by_id,
)
from tuner.tracking.logged_models import remove_models

# A server refuses requests of more than a million bytes, of any form that JSON gives them.
_LONGEST_REQUEST = 500_000
# Of more trials than these all runs are asked for at once.
_MOST_QUERIES = 20


def send_to_run(
    client: Client,
    run_id: str,
    points: list[Point],
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    model_id: str | None = None,
) -> None:
    """All of it in one call where it fits: MLflow takes ten times longer for single values. A score
    is the model's too, where there is one."""
    from mlflow.entities import Metric, Param, RunTag

    metrics = [
        Metric(*point, model_id=model_id if point.key == "score" else None) for point in points
    ]
    texts: list[Any] = [Param(name, value) for name, value in (params or {}).items()]
    texts += [RunTag(name, value) for name, value in (tags or {}).items()]
    for some in _requests(texts):
        some_params = [text for text in some if isinstance(text, Param)]
        some_tags = [text for text in some if isinstance(text, RunTag)]
        client.log_batch(run_id, metrics, some_params, some_tags)
        metrics = []


def _requests(texts: list[Any]) -> Iterator[list[Any]]:
    """One request at least."""
    request: list[Any] = []
    length = 0
    for text in texts:
        more = len(json.dumps([text.key, text.value]))
        if request and length + more > _LONGEST_REQUEST:
            yield request
            request, length = [], 0
        request.append(text)
        length += more
    yield request


def restore_run(client: Client, run: Any) -> None:
    """Take a run, and its experiment, out of the bin where they are there."""
    restore_experiment(client, run.info.experiment_id)
    if not is_active(client.get_run(run.info.run_id).info):
        client.restore_run(run.info.run_id)


class Child(NamedTuple):
    """Of a trial's run in MLflow. `parent_id`: of the run that it is shown beneath."""

    run_id: str
    experiment_id: str
    parent_id: str | None


class StudyRun:
    """The run that stands for a study; the runs of its trials are shown beneath it. It is known by
    its id, and taken out of the bin; where it is gone for good, by the study's UUID."""

    def __init__(self, store: Store, client: Client, study: StudyRow) -> None:
        self._store, self._client, self._study = store, client, study
        self._delivery = deliveries.read_delivery(store, study)
        self._experiment_id: str | None = None
        # Whether no run of a trial can be in this MLflow.
        self.is_first = False
        if self._delivery is not None and not self._remembered(self._delivery.run_id):
            # Another MLflow, or an emptied one: what is not there is to be delivered again.
            self._forget_missing()
            self._delivery = None

    def _remembered(self, run_id: str) -> bool:
        run = find_run(self._client, run_id)
        if run is None or not is_own_run(run, self._study, remembered=True):
            return False
        if not is_active(run.info):
            self._take_out(run)
        if UUID_TAG not in run.data.tags:  # an earlier version made it
            send_to_run(self._client, run_id, [], tags=content.study_tags(self._study))
            claim_experiment(self._client, self._study, run.info.experiment_id)
        self._experiment_id = run.info.experiment_id
        return True

    def _take_out(self, run: Any) -> None:
        """Somebody deleted the study's runs by hand: those that SQL remembers come out of the bin,
        and are owed once more."""
        restore_run(self._client, run)
        known = deliveries.known_runs(self._store, self._study)
        experiment_ids = [one.experiment_id for one in all_experiments(self._client)]
        there: set[str] = set()
        for page in runs_by_id(self._client, experiment_ids, sorted(known.values()), DELETED):
            for child in page:
                if is_own_run(child, self._study, remembered=True):
                    restore_run(self._client, child)
            there.update(child.info.run_id for child in page)
        for trial_id, run_id in known.items():
            delivery = deliveries.read_delivery(self._store, self._study, trial_id)
            if trial_id != PARENT and run_id in there and delivery is not None:
                again = Delivery(run_id, delivery.attempt, 0, "RUNNING")
                deliveries.mark(self._store, self._study, trial_id, again)

    def _forget_missing(self) -> None:
        there = {
            run.info.run_id
            for page in own_runs(self._store, self._client, self._study, ALL)
            for run in page
        }
        known = deliveries.known_runs(self._store, self._study)
        gone = [trial_id for trial_id, run_id in known.items() if run_id not in there]
        deliveries.forget(self._store, self._study, [PARENT, *gone])

    def open(self, dataset: Dataset | None, again: bool = False) -> tuple[str, str]:
        """The ids of experiment and run, made where they are missing. The run is running. `again`:
        what it shows is sent once more."""
        if self._delivery is None:
            children = list(self._children())
            run_id = self._find() or self._create(children)
            self._tell(run_id, dataset)
            self._mark(Delivery(run_id, 0, 0, "RUNNING"))
            self._adopt(run_id, children)
            self.is_first = not children
        elif again:
            self._tell(self._delivery.run_id, dataset)
            self._client.update_run(self._delivery.run_id, status="RUNNING")
            self._mark(Delivery(self._delivery.run_id, 0, 0, "RUNNING"))
        elif self._delivery.state != "RUNNING":
            self._client.update_run(self._delivery.run_id, status="RUNNING")
            self._mark(Delivery(self._delivery.run_id, 0, self._delivery.step, "RUNNING"))
        assert self._delivery is not None
        assert self._experiment_id is not None
        return self._experiment_id, self._delivery.run_id

    def _children(self) -> Iterator[Child]:
        for page in own_runs(self._store, self._client, self._study, ALL):
            for run in page:
                tags = run.data.tags
                if TRIAL_TAG in tags:
                    yield Child(run.info.run_id, run.info.experiment_id, tags.get(PARENT_TAG))

    def _find(self) -> str | None:
        """One that was made, but SQL does not know of."""
        experiment_ids = [one.experiment_id for one in all_experiments(self._client)]
        condition = own_filter(self._study, f"tags.`{STUDY_TAG}` LIKE '%'")
        for page in find_runs(self._client, experiment_ids, condition):
            for run in page:
                self._experiment_id = restore_experiment(self._client, run.info.experiment_id)
                return str(run.info.run_id)
        return None

    def _create(self, children: list[Child]) -> str:
        if children:
            self._experiment_id = restore_experiment(self._client, children[0].experiment_id)
        else:
            self._experiment_id = open_experiment(self._client, self._study)
        created_at = self._study.created_at
        run = self._client.create_run(
            self._experiment_id,
            start_time=created_at and to_milliseconds(created_at.timestamp()),
            tags=content.study_tags(self._study),
            run_name=self._study.name,
        )
        return str(run.info.run_id)

    def _tell(self, run_id: str, dataset: Dataset | None) -> None:
        params, tags = content.study_params(self._study.spec), content.study_tags(self._study)
        send_to_run(self._client, run_id, [], params, tags)
        self._client.log_inputs(run_id, [dataset_input(self._study.spec, dataset)])

    def _adopt(self, run_id: str, children: list[Child]) -> None:
        """Show the runs of trials beneath this one, those in the bin left alone."""
        for child in children:
            if child.parent_id != run_id:
                run = find_run(self._client, child.run_id)
                if run is not None and is_active(run.info):
                    self._client.set_tag(child.run_id, PARENT_TAG, run_id)

    def update(self, close: bool) -> None:
        """Tell of the scores that are new; and, with `close`, that the study rests."""
        if self._delivery is None:
            return
        self._send_scores(self._delivery)
        if close and self._delivery.state == "RUNNING":
            trials = deliveries.completed(self._store, self._study)
            last = max((trial.ended_at for trial in trials), default=None)
            end_time = to_milliseconds(last) if last else None
            self._client.set_terminated(self._delivery.run_id, "FINISHED", end_time)
            self._mark(Delivery(self._delivery.run_id, 0, self._delivery.step, "FINISHED"))

    def _send_scores(self, delivery: Delivery) -> None:
        if not self._study.spec.selects:
            return
        # Counting is cheap where reading them all is not.
        if deliveries.count_completed(self._store, self._study) <= delivery.step:
            return
        direction, sent = self._study.spec.direction, delivery.step
        trials = deliveries.completed(self._store, self._study)
        if len(trials) > sent:
            points = content.best_scores(trials, direction)[sent:]
            tags = content.best_tags(trials, direction)
            send_to_run(self._client, delivery.run_id, points, tags=tags)
            self._mark(Delivery(delivery.run_id, 0, len(trials), delivery.state))

    def _mark(self, delivery: Delivery) -> None:
        deliveries.mark(self._store, self._study, PARENT, delivery)
        self._delivery = delivery


class TrialRuns:
    """Finds the run of a trial before it makes one."""

    def __init__(
        self,
        store: Store,
        client: Client,
        study: StudyRow,
        experiment_id: str,
        parent_id: str,
        still_mine: Callable[[], bool],
    ) -> None:
        self._store, self._client, self._study = store, client, study
        self._still_mine = still_mine
        self._experiment_id, self._parent_id = experiment_id, parent_id
        # Trials of these numbers may have a run that SQL does not know of. Later ones begin under
        # our eyes.
        self._unsure: set[int] = set()
        self._listed: dict[int, list[Any]] | None = None

    def look_for(self, trials: list[TrackedTrial]) -> None:
        """Trials that a former tracker may have begun to deliver, when its answer was lost."""
        self._unsure = {trial.number for trial in trials if trial.delivery is None}
        if len(self._unsure) > _MOST_QUERIES:
            self._listed = {}
            for page in own_runs(self._store, self._client, self._study):
                for run in page:
                    number = run.data.tags.get("trial", "")
                    if TRIAL_TAG in run.data.tags and number.isdecimal():
                        self._listed.setdefault(int(number), []).append(_brief(run))

    def of(self, trial: TrackedTrial, trusted: bool) -> Delivery:
        """The run that shows the trial's last attempt. `trusted`: what SQL remembers of it is
        believed. MLflow cannot take points back, so a new attempt gets a new run."""
        run = trial.delivery if trusted else self._looked_at(trial.delivery)
        if run is None and (trial.number in self._unsure or not trusted):
            run = self._found(trial)
        if run is not None and run.attempt != trial.attempt.attempt:
            drop_run(self._client, run.run_id)
            run = None
        return run or self._create(trial)

    def _looked_at(self, delivery: Delivery | None) -> Delivery | None:
        """The run that SQL remembers, out of the bin; None where it is gone. All is sent again."""
        run = find_run(self._client, delivery.run_id) if delivery else None
        if delivery is None or run is None or not is_own_run(run, self._study, remembered=True):
            return None
        restore_run(self._client, run)
        return Delivery(delivery.run_id, delivery.attempt, 0, "RUNNING")

    def _found(self, trial: TrackedTrial) -> Delivery | None:
        """One that was made, but SQL does not know of. Others of this number are superfluous: of
        earlier attempts, or of a trial that an older copy of the database had."""
        wanted = (trial.attempt.attempt, to_milliseconds(trial.started_at))
        found = None
        for run in self._candidates(trial.number):
            if found is None and (run.attempt, run.started_at) == wanted:
                found = Delivery(run.run_id, run.attempt, 0, "RUNNING")
            else:
                drop_run(self._client, run.run_id)
        return found

    def _candidates(self, number: int) -> list["_Brief"]:
        if self._listed is not None:
            return self._listed.pop(number, [])
        condition = own_filter(self._study, f"tags.trial = '{number}'")
        pages = find_runs(self._client, [self._experiment_id], condition)
        return [_brief(run) for page in pages for run in page if TRIAL_TAG in run.data.tags]

    def _create(self, trial: TrackedTrial) -> Delivery:
        if not self._still_mine():
            # The turn ends with the connection to the database: it may have been lost since.
            raise TrackingError("another loop's tracker delivers this study")
        run = self._client.create_run(
            self._experiment_id,
            start_time=to_milliseconds(trial.started_at),
            tags=self.identity_tags(trial),
            run_name=f"trial {trial.number}",
        )
        return Delivery(run.info.run_id, trial.attempt.attempt, 0, "RUNNING")

    def identity_tags(self, trial: TrackedTrial) -> dict[str, str]:
        return content.identity_tags(self._study, trial, self._parent_id)


class _Brief(NamedTuple):
    run_id: str
    attempt: int
    started_at: int


def _brief(run: Any) -> _Brief:
    attempt = run.data.tags.get("attempt", "")
    number = int(attempt) if attempt.isdecimal() else 0
    return _Brief(run.info.run_id, number, run.info.start_time)


def drop_run(client: Client, run_id: str) -> None:
    """Put a run into MLflow's bin, its models that nobody registered with it."""
    run = find_run(client, run_id)
    if run is not None and is_active(run.info):
        remove_models(client, run)
        client.delete_run(run_id)
