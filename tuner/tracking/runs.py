"""The runs of a study in MLflow: one for the study itself, and one for each trial."""

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
from tuner.tracking.content import (
    PARENT_TAG,
    STUDY_TAG,
    TRIAL_TAG,
    UUID_TAG,
    Point,
    dataset_inputs,
    to_milliseconds,
)
from tuner.tracking.experiments import (
    ALL,
    DELETED,
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
from tuner.tracking.process import ANOTHER_DELIVERS
from tuner.tracking.study_pages import keep_note, keep_view

# A server refuses requests of more than a million bytes; JSON may need more bytes than the text.
_LONGEST_REQUEST = 500_000
# For more trials than these, all runs are read at once.
_MOST_QUERIES = 20


def send_to_run(
    client: Client,
    run_id: str,
    points: list[Point],
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    model_id: str | None = None,
) -> None:
    """Log everything in one call if it fits: for single values MLflow takes ten times longer. The
    score belongs to the model too, if `model_id` names one."""
    from mlflow.entities import Metric, Param, RunTag

    metrics = [
        Metric(*point, model_id=model_id if point.key == "score" else None) for point in points
    ]
    texts: list[Any] = [Param(name, value) for name, value in (params or {}).items()]
    texts += [RunTag(name, value) for name, value in (tags or {}).items()]
    for batch in _split_into_requests(texts):
        batch_params = [text for text in batch if isinstance(text, Param)]
        batch_tags = [text for text in batch if isinstance(text, RunTag)]
        client.log_batch(run_id, metrics, batch_params, batch_tags)
        metrics = []


def _split_into_requests(texts: list[Any]) -> Iterator[list[Any]]:
    """At least one request."""
    request: list[Any] = []
    length = 0
    for text in texts:
        text_length = len(json.dumps([text.key, text.value]))
        if request and length + text_length > _LONGEST_REQUEST:
            yield request
            request, length = [], 0
        request.append(text)
        length += text_length
    yield request


def restore_run(client: Client, run: Any) -> None:
    """Take a run and its experiment out of MLflow's bin, if they are there."""
    restore_experiment(client, run.info.experiment_id)
    if not is_active(client.get_run(run.info.run_id).info):
        client.restore_run(run.info.run_id)


class ChildRun(NamedTuple):
    """A trial's run. `parent_id`: the id of the run that it is shown beneath."""

    run_id: str
    experiment_id: str
    parent_id: str | None


class StudyRun:
    """The study's own run; the runs of its trials are shown beneath it.

    It is found by the id that SQL has, and taken out of the bin. If it is gone for good, it is
    found by the study's UUID."""

    def __init__(self, store: Store, client: Client, study: StudyRow) -> None:
        self._store, self._client, self._study = store, client, study
        self._delivery = deliveries.read_delivery(store, study)
        # Of the run, once MLflow has it.
        self.experiment_id: str | None = None
        self._has_pages = False
        # Whether this MLflow certainly has no run of a trial.
        self.is_first = False
        if self._delivery is not None and not self._recover(self._delivery.run_id):
            # Another MLflow, or an emptied one: missing runs must be delivered again.
            self._forget_missing()
            self._delivery = None

    def _recover(self, run_id: str) -> bool:
        """Make the run that SQL remembers usable. Returns whether MLflow has it."""
        run = find_run(self._client, run_id)
        if run is None or not is_own_run(run, self._study, remembered=True):
            return False
        if not is_active(run.info):
            self._restore_all(run)
        if UUID_TAG not in run.data.tags:  # an earlier version made it
            send_to_run(self._client, run_id, [], tags=content.study_tags(self._study))
            claim_experiment(self._client, self._study, run.info.experiment_id)
        self.experiment_id = run.info.experiment_id
        return True

    def _restore_all(self, run: Any) -> None:
        """Somebody deleted the study's runs by hand: take those that SQL remembers out of the bin,
        and have them delivered once more."""
        restore_run(self._client, run)
        run_ids = deliveries.known_runs(self._store, self._study)
        deleted: set[str] = set()
        for page in runs_by_id(
            self._client, self._experiment_ids(), sorted(run_ids.values()), DELETED
        ):
            for child in page:
                if is_own_run(child, self._study, remembered=True):
                    restore_run(self._client, child)
            deleted.update(child.info.run_id for child in page)
        for trial_id, run_id in run_ids.items():
            delivery = deliveries.read_delivery(self._store, self._study, trial_id)
            if trial_id != PARENT and run_id in deleted and delivery is not None:
                again = Delivery(run_id, delivery.attempt, 0, "RUNNING")
                deliveries.mark(self._store, self._study, trial_id, again)

    def _forget_missing(self) -> None:
        existing = {
            run.info.run_id
            for page in own_runs(self._store, self._client, self._study, ALL)
            for run in page
        }
        run_ids = deliveries.known_runs(self._store, self._study)
        missing = [trial_id for trial_id, run_id in run_ids.items() if run_id not in existing]
        deliveries.forget(self._store, self._study, [PARENT, *missing])

    def _experiment_ids(self) -> list[str]:
        return [experiment.experiment_id for experiment in all_experiments(self._client)]

    def open(self, dataset: Dataset | None, again: bool = False) -> tuple[str, str]:
        """The ids of experiment and run, created if they are missing. The run's state becomes
        RUNNING. `again`: its params and tags are sent once more."""
        if self._delivery is None:
            children = list(self._children())
            run_id = self._find_untracked() or self._create(children)
            self._send_definition(run_id, dataset)
            self._mark(Delivery(run_id, 0, 0, "RUNNING"))
            self._adopt(run_id, children)
            self.is_first = not children
        elif again:
            self._send_definition(self._delivery.run_id, dataset)
            self._client.update_run(self._delivery.run_id, status="RUNNING")
            self._mark(Delivery(self._delivery.run_id, 0, 0, "RUNNING"))
        elif self._delivery.state != "RUNNING":
            self._client.update_run(self._delivery.run_id, status="RUNNING")
            self._mark(Delivery(self._delivery.run_id, 0, self._delivery.step, "RUNNING"))
        assert self._delivery is not None
        assert self.experiment_id is not None
        return self.experiment_id, self._delivery.run_id

    def _children(self) -> Iterator[ChildRun]:
        for page in own_runs(self._store, self._client, self._study, ALL):
            for run in page:
                tags = run.data.tags
                if TRIAL_TAG in tags:
                    yield ChildRun(run.info.run_id, run.info.experiment_id, tags.get(PARENT_TAG))

    def _find_untracked(self) -> str | None:
        """A run that was created, but whose id never reached SQL."""
        condition = own_filter(self._study, f"tags.`{STUDY_TAG}` LIKE '%'")
        for page in find_runs(self._client, self._experiment_ids(), condition):
            for run in page:
                self.experiment_id = restore_experiment(self._client, run.info.experiment_id)
                return str(run.info.run_id)
        return None

    def _create(self, children: list[ChildRun]) -> str:
        if children:
            self.experiment_id = restore_experiment(self._client, children[0].experiment_id)
        else:
            self.experiment_id = open_experiment(self._client, self._study)
        created_at = self._study.created_at
        run = self._client.create_run(
            self.experiment_id,
            start_time=created_at and to_milliseconds(created_at.timestamp()),
            tags=content.study_tags(self._study),
            run_name=self._study.name,
        )
        return str(run.info.run_id)

    def _send_definition(self, run_id: str, dataset: Dataset | None) -> None:
        params, tags = content.study_params(self._study.spec), content.study_tags(self._study)
        send_to_run(self._client, run_id, [], params, tags)
        self._client.log_inputs(run_id, dataset_inputs(self._study.spec, dataset))

    def _adopt(self, run_id: str, children: list[ChildRun]) -> None:
        """Show the runs of trials beneath this one. Runs in the bin stay as they are."""
        for child in children:
            if child.parent_id != run_id:
                run = find_run(self._client, child.run_id)
                if run is not None and is_active(run.info):
                    self._client.set_tag(child.run_id, PARENT_TAG, run_id)

    def update(self, close: bool) -> None:
        """Send new scores. `close`: also mark the run as finished."""
        if self._delivery is None:
            return
        is_closing = close and self._delivery.state == "RUNNING"
        if self._send_scores(self._delivery) or is_closing or not self._has_pages:
            self._keep_pages(self._delivery.run_id)
        if is_closing:
            trials = deliveries.completed(self._store, self._study)
            last = max((trial.ended_at for trial in trials), default=None)
            end_time = to_milliseconds(last) if last else None
            self._client.set_terminated(self._delivery.run_id, "FINISHED", end_time)
            self._mark(Delivery(self._delivery.run_id, 0, self._delivery.step, "FINISHED"))

    def _keep_pages(self, run_id: str) -> None:
        assert self.experiment_id is not None
        if not self._has_pages:
            keep_view(self._client, self._study, self.experiment_id)
        keep_note(self._client, self._store, self._study, self.experiment_id, run_id)
        self._has_pages = True

    def _send_scores(self, delivery: Delivery) -> bool:
        """Whether there were new ones."""
        if not self._study.spec.selects:
            return False
        # Counting them is cheap, reading them all is not.
        if deliveries.count_completed(self._store, self._study) <= delivery.step:
            return False
        direction, sent = self._study.spec.direction, delivery.step
        trials = deliveries.completed(self._store, self._study)
        if len(trials) <= sent:
            return False
        points = content.best_scores(trials, direction)[sent:]
        tags = content.best_tags(trials, direction)
        send_to_run(self._client, delivery.run_id, points, tags=tags)
        self._mark(Delivery(delivery.run_id, 0, len(trials), delivery.state))
        return True

    def _mark(self, delivery: Delivery) -> None:
        deliveries.mark(self._store, self._study, PARENT, delivery)
        self._delivery = delivery


class TrialRuns:
    """Finds the run of a trial, or creates it."""

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
        # Numbers of trials that may have a run whose id never reached SQL. Trials that begin later
        # have none.
        self._uncertain: set[int] = set()
        self._listed: dict[int, list[Any]] | None = None

    def expect_untracked(self, trials: list[TrackedTrial]) -> None:
        """Search for runs of these trials before creating one: a former tracker may have created
        them, and MLflow's reply was lost."""
        self._uncertain = {trial.number for trial in trials if trial.delivery is None}
        if len(self._uncertain) > _MOST_QUERIES:
            self._listed = {}
            for page in own_runs(self._store, self._client, self._study):
                for run in page:
                    number = run.data.tags.get("trial", "")
                    if TRIAL_TAG in run.data.tags and number.isdecimal():
                        self._listed.setdefault(int(number), []).append(_summarize(run))

    def find_or_create(self, trial: TrackedTrial, trusted: bool) -> Delivery:
        """The run that shows the trial's last attempt. `trusted`: the id in SQL is used unchecked.
        Points cannot be deleted in MLflow, so a new attempt gets a new run."""
        run = trial.delivery if trusted else self._check(trial.delivery)
        if run is None and (trial.number in self._uncertain or not trusted):
            run = self._find_untracked(trial)
        if run is not None and run.attempt != trial.attempt.attempt:
            drop_run(self._client, run.run_id)
            run = None
        return run or self._create(trial)

    def _check(self, delivery: Delivery | None) -> Delivery | None:
        """The run that SQL remembers, taken out of the bin, to get all its values again; None if it
        is gone."""
        run = find_run(self._client, delivery.run_id) if delivery else None
        if delivery is None or run is None or not is_own_run(run, self._study, remembered=True):
            return None
        restore_run(self._client, run)
        return Delivery(delivery.run_id, delivery.attempt, 0, "RUNNING")

    def _find_untracked(self, trial: TrackedTrial) -> Delivery | None:
        """A run that was created, but whose id never reached SQL. Other runs of this number are
        dropped: of earlier attempts, or of a trial in an older copy of the database."""
        wanted = (trial.attempt.attempt, to_milliseconds(trial.started_at))
        delivery = None
        for run in self._candidates(trial.number):
            if delivery is None and (run.attempt, run.started_at) == wanted:
                delivery = Delivery(run.run_id, run.attempt, 0, "RUNNING")
            else:
                drop_run(self._client, run.run_id)
        return delivery

    def _candidates(self, number: int) -> list["_RunSummary"]:
        if self._listed is not None:
            return self._listed.pop(number, [])
        condition = own_filter(self._study, f"tags.trial = '{number}'")
        pages = find_runs(self._client, [self._experiment_id], condition)
        return [_summarize(run) for page in pages for run in page if TRIAL_TAG in run.data.tags]

    def _create(self, trial: TrackedTrial) -> Delivery:
        if not self._still_mine():
            # Another tracker may have got the turn: it is lost with the connection to the database.
            raise TrackingError(ANOTHER_DELIVERS)
        run = self._client.create_run(
            self._experiment_id,
            start_time=to_milliseconds(trial.started_at),
            tags=self.identity_tags(trial),
            run_name=f"trial {trial.number}",
        )
        return Delivery(run.info.run_id, trial.attempt.attempt, 0, "RUNNING")

    def identity_tags(self, trial: TrackedTrial) -> dict[str, str]:
        return content.identity_tags(self._study, trial, self._parent_id)


class _RunSummary(NamedTuple):
    run_id: str
    attempt: int
    started_at: int


def _summarize(run: Any) -> _RunSummary:
    attempt = run.data.tags.get("attempt", "")
    number = int(attempt) if attempt.isdecimal() else 0
    return _RunSummary(run.info.run_id, number, run.info.start_time)


def drop_run(client: Client, run_id: str) -> None:
    """Put a run into MLflow's bin. Its models are deleted, except registered ones."""
    run = find_run(client, run_id)
    if run is not None and is_active(run.info):
        remove_models(client, run)
        client.delete_run(run_id)
