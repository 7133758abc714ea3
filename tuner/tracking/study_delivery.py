"""Delivers a study from SQL to MLflow: what MLflow lacks is sent. Repeating it does no harm."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from tuner.data import Dataset
from tuner.errors import ArtifactError, TrackingError
from tuner.storage import attempt_rows, deliveries
from tuner.storage.attempt_rows import ReportRow
from tuner.storage.deliveries import RELEASED, Delivery, TrackedTrial
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.tracking import content
from tuner.tracking.client import Client, tracking_errors
from tuner.tracking.content import UUID_TAG, dataset_inputs, open_prepared, to_milliseconds
from tuner.tracking.kept_models import drop_released, wants_model
from tuner.tracking.logged_models import (
    drop_broken_models,
    linked_models,
    log_model,
    saved_network,
)
from tuner.tracking.model_folders import NetworkFile
from tuner.tracking.runs import StudyRun, TrialRuns, send_to_run

# One refusal may be due to that trial; a second one in a row is due to MLflow.
_MOST_REFUSALS = 2
_STATUS = {"RUNNING": "RUNNING", "WAITING": "SCHEDULED"}


class StudyDelivery:
    """Delivers one study.

    `log_models`: best, all or none. `data`: a folder of prepared arrays, for the models' input
    examples. `still_mine`: whether this process may still deliver the study. `networks`: the
    project's store of them, a folder or a URL."""

    def __init__(
        self,
        store: Store,
        client: Client,
        study: StudyRow,
        log_models: str = "best",
        data: Path | None = None,
        still_mine: Callable[[], bool] = lambda: True,
        networks: str | Path = ".",
    ) -> None:
        self._store, self._client, self._study = store, client, study
        self._log_models, self._data, self._networks = log_models, data, networks
        self._still_mine = still_mine
        self._study_run: StudyRun | None = None
        self._trial_runs: TrialRuns | None = None
        self._doubtful: set[int] = set()

    def deliver(self, live: bool = True, last: bool = False) -> int:
        """One pass. `live`: send the curves of running trials too. `last`: close the study's run,
        unless trials of other loops run. Returns how many ended trials were delivered.

        Raises TrackingError, once everything that can be delivered is, and StorageError.
        """
        try:
            study_run = self.open_study_run()
            trials = deliveries.undelivered(self._store, self._study)
            if self._trial_runs is None and any(_is_due(trial, live) for trial in trials):
                with tracking_errors():
                    self._trial_runs = self._open_trial_runs(trials)
            sent = self._deliver_all([trial for trial in trials if _is_due(trial, live)])
            is_last = last and all(trial.state != "RUNNING" for trial in trials)
            with tracking_errors():
                study_run.update(close=is_last)
        except TrackingError:
            self.start_over()
            raise
        return sent

    def start_over(self) -> None:
        """Begin the next pass by reading what MLflow has."""
        self._study_run = self._trial_runs = None

    def open_study_run(self) -> StudyRun:
        """The study's own run as MLflow has it, taken out of the bin."""
        if self._study_run is None:
            with tracking_errors():
                self._study_run = StudyRun(self._store, self._client, self._study)
        return self._study_run

    def resend_study(self) -> None:
        """Send params and tags of the study's own run once more."""
        with tracking_errors():
            self._trial_runs = None
            self.open_study_run().open(self._dataset, again=True)

    def _deliver_all(self, trials: list[TrackedTrial]) -> int:
        sent = refusals = 0
        problem: TrackingError | None = None
        # Trials that were refused before come last, so that they do not block the others.
        for trial in sorted(trials, key=lambda trial: trial.trial_id in self._doubtful):
            try:
                with tracking_errors():
                    self._deliver(trial)
            except TrackingError as error:
                self._doubtful.add(trial.trial_id)
                problem, refusals = problem or error, refusals + 1
                if refusals == _MOST_REFUSALS:
                    break
            else:
                self._doubtful.discard(trial.trial_id)
                sent, refusals = sent + trial.ended, 0
        if problem is not None:
            raise problem
        return sent

    def _deliver(self, trial: TrackedTrial) -> None:
        """Send what the trial's run lacks, and record the delivery."""
        if trial.delivery is not None and trial.delivery.state == RELEASED:
            drop_released(self._client, trial.delivery.run_id)
            whole = replace(trial.delivery, state=trial.state)
            deliveries.mark(self._store, self._study, trial.trial_id, whole)
            return
        assert self._trial_runs is not None
        run = self._trial_runs.find_or_create(trial, trusted=trial.trial_id not in self._doubtful)
        last_attempt = trial.attempt.attempt
        after = 0 if trial.ended else run.step
        rows = attempt_rows.read_reports(
            self._store, self._study, trial.trial_id, last_attempt, after
        )
        if not trial.ended and run == trial.delivery and not rows and run.state == trial.state:
            return
        points = list(content.curve_points(row for row in rows if row.step > run.step))
        if trial.ended:
            points += content.result_points(self._study.spec, trial, rows)
        params = content.trial_params(self._study.spec, trial) if run.step == 0 else {}
        send_to_run(self._client, run.run_id, points, params, self._tags(trial, run, rows))
        if run.step == 0:
            data = dataset_inputs(self._study.spec, self._dataset)
            self._client.log_inputs(run.run_id, data)
        if trial.ended:
            again = trial.delivery is not None and run.step == 0
            self._end(trial, run.run_id, again)
        elif run.state != trial.state:
            self._client.update_run(run.run_id, status=_STATUS[trial.state])
        step = rows[-1].step if rows else run.step
        delivered = Delivery(run.run_id, last_attempt, step, trial.state)
        network = trial.attempt.model_path if trial.ended else None
        deliveries.mark(self._store, self._study, trial.trial_id, delivered, network)

    def _tags(self, trial: TrackedTrial, run: Delivery, rows: list[ReportRow]) -> dict[str, str]:
        """`rows`: all reports of an ended trial."""
        assert self._trial_runs is not None
        tags = content.state_tags(trial)
        if trial.ended:
            numbers = content.result_numbers(trial, rows)
            tags |= {name: content.number_tag(number) for name, number in numbers.items()}
        if run.step == 0:  # a new run, or perhaps beneath another run of the study
            return self._trial_runs.identity_tags(trial) | tags
        # The UUID again: earlier versions created runs without it.
        return {UUID_TAG: self._study.uuid} | tags

    def _open_trial_runs(self, trials: list[TrackedTrial]) -> TrialRuns:
        study_run = self.open_study_run()
        experiment_id, parent_id = study_run.open(self._dataset)
        runs = TrialRuns(
            self._store, self._client, self._study, experiment_id, parent_id, self._still_mine
        )
        if not study_run.is_first:
            runs.expect_untracked(trials)
        return runs

    def _end(self, trial: TrackedTrial, run_id: str, again: bool) -> None:
        self._deliver_model(trial, run_id, again)
        end_time = to_milliseconds(content.end_seconds(trial))
        self._client.set_terminated(run_id, content.run_status(trial), end_time)

    def _deliver_model(self, trial: TrackedTrial, run_id: str, again: bool) -> None:
        """`again`: the run may already have a model, whose files may be gone."""
        if trial.attempt.has_released:
            drop_released(self._client, run_id)
            return
        wanted = wants_model(trial, self._log_models)
        if not wanted and not (again and self._has_model(run_id)):
            return
        try:
            self._log_model(trial, run_id, saved_network(self._networks, trial.attempt))
        except (ArtifactError, OSError) as error:
            path = str(trial.attempt.model_path)
            if not deliveries.keeps_network(self._store, self._study, trial.trial_id, path):
                return  # released while it was sent: the next pass removes what has arrived
            if isinstance(error, OSError):
                raise
            if again:
                drop_broken_models(self._client, run_id, trial.attempt.model_bytes)
            if wanted:
                # Deleted, or on another machine: the rest of the trial is delivered all the same.
                tag = {"model": content.tag_value(str(error))}
                send_to_run(self._client, run_id, [], tags=tag)

    def _has_model(self, run_id: str) -> bool:
        return any(linked_models(self._client, self._client.get_run(run_id)))

    def _log_model(self, trial: TrackedTrial, run_id: str, network: NetworkFile) -> None:
        model_id = log_model(self._client, run_id, network, self._study, self._dataset)
        result = content.result_points(self._study.spec, trial, [])
        score = [point for point in result if point.key == "score"]
        send_to_run(self._client, run_id, score, model_id=model_id)

    @cached_property
    def _dataset(self) -> Dataset | None:
        return open_prepared(self._data)


def _is_due(trial: TrackedTrial, live: bool) -> bool:
    if trial.state == "RUNNING":
        return live
    # A trial that was interrupted before anything of it was sent has no run yet.
    return trial.ended or (trial.delivery is not None and trial.delivery.state != trial.state)
