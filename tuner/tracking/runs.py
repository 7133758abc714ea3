"""Which run shows what: the study's own run, and one run a trial."""

from collections.abc import Callable

from tuner.data import Dataset
from tuner.errors import TrackingError
from tuner.storage import tracked
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.storage.tracked import PARENT, Delivery, TrackedTrial
from tuner.tracking import content
from tuner.tracking.client import Client, find_runs, is_missing, open_experiment
from tuner.tracking.content import STUDY_TAG, TRIAL_TAG, Point, milliseconds
from tuner.tracking.inputs import dataset_input


def send(
    client: Client,
    run_id: str,
    points: list[Point],
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    model_id: str | None = None,
) -> None:
    """All of it in one call: MLflow takes ten times longer for single values. A score is the
    model's too, where there is one."""
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run_id,
        [Metric(*point, model_id=model_id if point.key == "score" else None) for point in points],
        [Param(name, value) for name, value in (params or {}).items()],
        [RunTag(name, value) for name, value in (tags or {}).items()],
    )


class StudyRun:
    """The run that stands for a study; the runs of its trials are shown beneath it."""

    def __init__(self, store: Store, client: Client, study: StudyRow) -> None:
        self._store, self._client, self._study = store, client, study
        self._delivery = tracked.read_delivery(store, study)
        if self._delivery is not None and not self._is_there(self._delivery.run_id):
            # Another MLflow, or an emptied one: everything is to be delivered again.
            tracked.forget(store, study)
            self._delivery = None

    def _is_there(self, run_id: str) -> bool:
        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except Exception as error:
            if is_missing(error):
                return False
            raise

    def open(self, dataset: Dataset | None) -> tuple[str, str]:
        """The ids of experiment and run, made where they are missing. The run is running."""
        experiment_id = open_experiment(self._client, self._study.experiment)
        if self._delivery is None:
            run_id = self._find(experiment_id) or self._create(experiment_id)
            params = content.study_params(self._study.spec)
            send(self._client, run_id, [], params, {STUDY_TAG: self._study.name})
            self._client.log_inputs(run_id, [dataset_input(self._study.spec, dataset)])
            self._mark(Delivery(run_id, 0, 0, "RUNNING"))
        elif self._delivery.state != "RUNNING":
            self._client.update_run(self._delivery.run_id, status="RUNNING")
            self._mark(Delivery(self._delivery.run_id, 0, self._delivery.step, "RUNNING"))
        assert self._delivery is not None
        return experiment_id, self._delivery.run_id

    def _find(self, experiment_id: str) -> str | None:
        runs = find_runs(self._client, experiment_id, STUDY_TAG, self._study.name)
        return str(runs[0].info.run_id) if runs else None

    def _create(self, experiment_id: str) -> str:
        created_at = self._study.created_at
        run = self._client.create_run(
            experiment_id,
            start_time=created_at and milliseconds(created_at.timestamp()),
            tags={STUDY_TAG: self._study.name},
            run_name=self._study.name,
        )
        return str(run.info.run_id)

    def update(self, close: bool) -> None:
        """Tell of the scores that are new; and, with `close`, that the study rests."""
        if self._delivery is None:
            return
        direction = self._study.spec.direction
        trials = tracked.completed(self._store, self._study)
        run_id, sent = self._delivery.run_id, self._delivery.step
        if self._study.spec.selects and len(trials) > sent:
            best = tracked.improvements(trials, direction)[-1]
            tags = {"best_trial": str(best.number), "best_score": f"{best.score:.6g}"}
            send(self._client, run_id, content.best_scores(trials, direction)[sent:], tags=tags)
            self._mark(Delivery(run_id, 0, len(trials), self._delivery.state))
        if close and self._delivery.state == "RUNNING":
            last = max((trial.ended_at for trial in trials), default=None)
            end_time = milliseconds(last) if last else None
            self._client.set_terminated(run_id, "FINISHED", end_time)
            self._mark(Delivery(run_id, 0, self._delivery.step, "FINISHED"))

    def _mark(self, delivery: Delivery) -> None:
        tracked.mark(self._store, self._study, PARENT, delivery)
        self._delivery = delivery


class TrialRuns:
    """Finds the run of a trial before it makes one."""

    def __init__(
        self,
        client: Client,
        study: StudyRow,
        experiment_id: str,
        parent_id: str,
        still_mine: Callable[[], bool],
    ) -> None:
        self._client, self._study, self._still_mine = client, study, still_mine
        self._experiment_id, self._parent_id = experiment_id, parent_id
        self._known: dict[str, Delivery] | None = None

    def of(self, trial: TrackedTrial, trusted: bool) -> Delivery:
        """The run that shows the trial's last attempt. `trusted`: what SQL remembers of it is
        believed. MLflow cannot take points back, so a new attempt gets a new run."""
        run = trial.delivery if trusted else None
        run = run or self._found().get(content.trial_tag(self._study, trial))
        if run is not None and run.attempt != trial.attempt.attempt:
            self._client.delete_run(run.run_id)
            run = None
        return run or self._create(trial)

    def _found(self) -> dict[str, Delivery]:
        """The study's runs as MLflow has them, by tag; asked for once."""
        if self._known is None:
            runs = find_runs(self._client, self._experiment_id, "study", self._study.name)
            found = [(run.data.tags, run.info.run_id) for run in runs if TRIAL_TAG in run.data.tags]
            # The latest attempt's run last: an experiment taken out of the bin has the older too.
            found.sort(key=lambda run: int(run[0]["attempt"]))
            self._known = {
                tags[TRIAL_TAG]: Delivery(run_id, int(tags["attempt"]), 0, "RUNNING")
                for tags, run_id in found
            }
        return self._known

    def forget(self) -> None:
        """Ask again: a call that failed may have made a run nevertheless."""
        self._known = None

    def _create(self, trial: TrackedTrial) -> Delivery:
        if not self._still_mine():
            # The turn ends with the connection to the database: it may have been lost since.
            raise TrackingError("another loop's tracker delivers this study")
        tags = content.identity_tags(self._study, trial, self._parent_id)
        run = self._client.create_run(
            self._experiment_id,
            start_time=milliseconds(trial.started_at),
            tags=tags,
            run_name=f"trial {trial.number}",
        )
        made = Delivery(run.info.run_id, trial.attempt.attempt, 0, "RUNNING")
        self._found()[tags[TRIAL_TAG]] = made
        return made
