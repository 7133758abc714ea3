"""How MLflow differs from SQL for a study: what is missing, and what has another value.

Nothing is changed here. `tuner sync`, `sync --check`, `doctor` and the last line of `optimize` all
use this one definition of "delivered".
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tuner.storage import attempt_rows, deliveries
from tuner.storage.attempt_rows import ReportRow
from tuner.storage.deliveries import TrackedTrial
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.study.engines import is_same_engine
from tuner.tracking import content
from tuner.tracking.client import Client
from tuner.tracking.content import PARENT_TAG, TRIAL_TAG, UUID_TAG
from tuner.tracking.experiments import own_runs, own_study_runs
from tuner.tracking.kept_models import unused_models, wants_model
from tuner.tracking.logged_models import (
    has_files,
    is_readable,
    is_registered,
    linked_models,
)

# MLflow returns an infinity as the largest float.
_INFINITY = 1.7e308

# How a difference is corrected. drop: the runs go into MLflow's bin. replace: so do they, and the
# trial is delivered again. send: the run gets its values once more. none: not at all.
Remedy = Literal["drop", "replace", "send", "none"]


@dataclass(frozen=True)
class Difference:
    """`trial`: its number, None for the study's own run. `run_ids`: the runs that differ."""

    trial: int | None
    what: str
    run_ids: tuple[str, ...] = ()
    remedy: Remedy = "replace"


@dataclass
class CheckResult:
    """`unmarked`: runs of the study that an earlier version made, without its UUID. `is_whole`:
    whether there was time to check all runs."""

    differences: list[Difference] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)
    is_whole: bool = True

    @property
    def lacking(self) -> int:
        """The number of trials that differ."""
        return len({d.trial for d in self.differences if d.trial is not None})


def find_differences(
    store: Store,
    client: Client,
    study: StudyRow,
    log_models: str = "best",
    networks: str | Path = ".",
    within_s: float = math.inf,
) -> CheckResult:
    """Compare a study's runs with SQL. For a running trial only the number of its runs is checked.
    Of the objective all points are compared, of other metrics the last one."""
    return _DeliveryCheck(store, client, study, log_models, networks, within_s).run()


def find_all_missing(store: Store, study: StudyRow) -> CheckResult:
    """The differences of an MLflow that does not exist yet: every run is missing."""
    trials = deliveries.outlines(store, study)
    missing = [Difference(None, "the study's own run is missing", (), "send")] if trials else []
    missing += [Difference(trial.number, "its run is missing") for trial in trials if trial.ended]
    return CheckResult(missing)


@dataclass
class _RunCheck:
    """The differences of one run of a trial."""

    run_id: str
    differences: list[Difference]


class _DeliveryCheck:
    """Reads the runs page by page: those of many trials would not fit into memory."""

    def __init__(
        self,
        store: Store,
        client: Client,
        study: StudyRow,
        log_models: str,
        networks: str | Path,
        within_s: float,
    ) -> None:
        self._store, self._client, self._study = store, client, study
        self._log_models, self._networks = log_models, networks
        self._until = time.monotonic() + within_s
        self._result = CheckResult()
        self._trials = {trial.number: trial for trial in deliveries.outlines(store, study)}
        completed = deliveries.completed(store, study)
        self._completed = completed
        self._run_checks: dict[int, list[_RunCheck]] = {}
        self._unknown_runs: list[Difference] = []
        self._parent: Any = None
        self._delivery = deliveries.read_delivery(store, study)

    def run(self) -> CheckResult:
        self._check_parent()
        for page in own_runs(self._store, self._client, self._study):
            self._check_page([run for run in page if TRIAL_TAG in run.data.tags])
            if time.monotonic() > self._until:
                self._result.is_whole = False
                break
        self._conclude()
        return self._result

    def _add(
        self, trial: int | None, what: str, run_ids: tuple[str, ...], remedy: Remedy = "replace"
    ) -> None:
        self._result.differences.append(Difference(trial, what, run_ids, remedy))

    def _check_parent(self) -> None:
        parents = own_study_runs(self._store, self._client, self._study)
        if not parents:
            if self._trials:
                self._add(None, "the study's own run is missing", (), "send")
            return
        delivered_id = self._delivery.run_id if self._delivery else None
        parents.sort(key=lambda run: run.info.run_id != delivered_id)
        self._parent, *others = parents
        if others:
            ids = tuple(run.info.run_id for run in others)
            self._add(None, f"the study has {len(parents)} runs of its own", ids, "drop")
        self._note_unmarked(self._parent)
        ids = (self._parent.info.run_id,)
        for what, remedy in self._parent_differences(self._parent):
            self._add(None, f"the study's own run: {what}", ids, remedy)

    def _parent_differences(self, run: Any) -> Iterator[tuple[str, Remedy]]:
        yield from _unlike(run.data.params, content.study_params(self._study.spec), "param")
        if any(not trial.ended for trial in self._trials.values()):
            return  # the rest is being delivered
        if self._delivery and self._delivery.state == "FINISHED" != run.info.status:
            yield f"it is {run.info.status}, not FINISHED", "send"
        if not self._completed or not self._study.spec.selects:
            return
        direction = self._study.spec.direction
        yield from _unlike(run.data.tags, content.best_tags(self._completed, direction), "tag")
        last = content.best_scores(self._completed, direction)[-1]
        shown = run.data.metrics.get(last.key)
        if shown is None or not _equal(shown, last.value):
            yield f"metric {last.key} is {'missing' if shown is None else 'another'}", "send"

    def _check_page(self, runs: list[Any]) -> None:
        numbers = {_number(run) for run in runs} & self._trials.keys()
        trials = {
            trial.number: trial
            for trial in (deliveries.numbered(self._store, self._study, numbers) if numbers else [])
        }
        for run in runs:
            self._note_unmarked(run)
            trial = trials.get(_number(run))
            if trial is None:
                what = f"a run of {run.data.tags[TRIAL_TAG]}, which SQL does not have"
                self._unknown_runs.append(Difference(None, what, (run.info.run_id,), "drop"))
                continue
            differences = [
                Difference(trial.number, what, (run.info.run_id,), remedy)
                for what, remedy in self._differences(trial, run)
            ]
            self._run_checks.setdefault(trial.number, []).append(
                _RunCheck(run.info.run_id, differences)
            )

    def _note_unmarked(self, run: Any) -> None:
        if UUID_TAG not in run.data.tags:
            self._result.unmarked.append(run.info.run_id)

    def _conclude(self) -> None:
        """Add the differences that need all runs: missing and superfluous ones."""
        for number, trial in self._trials.items():
            checks = self._run_checks.get(number, [])
            if not checks:
                if trial.ended and self._result.is_whole:
                    self._add(number, "its run is missing", ())
                continue
            checks.sort(key=lambda check: check.run_id != trial.run_id)
            first, *others = checks
            if others:
                ids = tuple(check.run_id for check in others)
                self._add(number, f"{len(checks)} runs", ids, "drop")
            self._result.differences += first.differences
            if trial.ended and trial.run_id != first.run_id and not first.differences:
                what = "its run is not the one that SQL remembers"
                self._add(number, what, (first.run_id,), "send")
        self._result.differences += self._unknown_runs

    def _differences(self, trial: TrackedTrial, run: Any) -> Iterator[tuple[str, Remedy]]:
        if self._parent is not None:
            parent = self._parent.info
            if run.info.experiment_id != parent.experiment_id:
                yield "its run is in another experiment than the study's", "replace"
            if run.data.tags.get(PARENT_TAG) != parent.run_id:
                yield "its run is not shown beneath the study's", "send"
        if not trial.ended:
            return
        status = content.run_status(trial)
        if run.info.status != status:
            yield f"its run is {run.info.status}, not {status}", "send"
        params = content.trial_params(self._study.spec, trial)
        yield from _unlike(run.data.params, params, "param")
        if run.data.tags.get("attempt") != str(trial.attempt.attempt):
            yield "tag attempt is another", "replace"
        yield from _unlike(run.data.tags, content.state_tags(trial), "tag")
        rows = attempt_rows.read_reports(
            self._store, self._study, trial.trial_id, trial.attempt.attempt
        )
        yield from _unlike_numbers(run, content.result_numbers(trial, rows))
        yield from self._unlike_curves(trial, run, rows)
        yield from self._unlike_model(trial, run)

    def _unlike_curves(
        self, trial: TrackedTrial, run: Any, rows: list[ReportRow]
    ) -> Iterator[tuple[str, Remedy]]:
        curve = list(content.curve_points(rows))
        result = content.result_points(self._study.spec, trial, rows)
        last = {point.key: point.value for point in [*curve, *result]}
        for name, value in last.items():
            if name not in run.data.metrics:
                yield f"metric {name} is missing", "send"
            elif not _equal(run.data.metrics[name], value):
                yield f"metric {name} is another", "replace"
        metric = content.allowed_key(self._study.spec.metric)
        wanted = {point.step: point.value for point in curve if point.key == metric}
        points = self._client.get_metric_history(run.info.run_id, metric) if wanted else []
        if len(points) != len(wanted):
            what = f"{metric} has {len(points)} points, not {len(wanted)}"
            yield what, "send" if len(points) < len(wanted) else "replace"
        elif any(not _equal(p.value, wanted.get(p.step, math.nan)) for p in points):
            yield f"{metric} has other points", "replace"

    def _unlike_model(self, trial: TrackedTrial, run: Any) -> Iterator[tuple[str, Remedy]]:
        size = trial.attempt.model_bytes
        models = list(linked_models(self._client, run))
        if trial.attempt.has_released:
            if unused_models(self._client, models, run):
                yield "its model is no longer kept", "send"
            return
        broken = [model for model in models if not has_files(self._client, model, size)]
        if broken:
            if self._is_readable(trial) or not any(map(is_registered, broken)):
                yield "its model's files are missing", "send"
            else:
                what = "its registered model's files are missing, and its network is not here"
                yield what, "none"
        elif not models and self._wants_model(trial) and self._is_readable(trial):
            yield "its model is missing", "send"

    def _wants_model(self, trial: TrackedTrial) -> bool:
        return wants_model(trial, self._log_models)

    def _is_readable(self, trial: TrackedTrial) -> bool:
        return is_readable(self._networks, trial.attempt)


def _number(run: Any) -> int:
    number = run.data.tags.get("trial", "")
    return int(number) if number.isdecimal() and len(number) < 10 else -1


def _unlike(
    shown: dict[str, str], wanted: dict[str, str], kind: str
) -> Iterator[tuple[str, Remedy]]:
    for name, value in wanted.items():
        if name not in shown:
            yield f"{kind} {name} is missing", "send"
        elif kind == "tag" and name == "engine" and is_same_engine(shown[name], value):
            continue  # sent by an earlier version, which had other words
        elif shown[name] != value:
            yield f"{kind} {name} is another", "replace" if kind == "param" else "send"


def _unlike_numbers(run: Any, numbers: dict[str, float]) -> Iterator[tuple[str, Remedy]]:
    """Of the numbers that are tags. Runs that an earlier version sent have them as metrics."""
    tags, metrics = run.data.tags, run.data.metrics
    is_metric = {
        name
        for name, number in numbers.items()
        if name not in tags and name in metrics and _equal(metrics[name], number)
    }
    wanted = {name: content.number_tag(numbers[name]) for name in numbers.keys() - is_metric}
    return _unlike(tags, wanted, "tag")


def _equal(shown: float, wanted: float) -> bool:
    if math.isnan(wanted) or math.isinf(wanted):
        return math.isnan(shown) if math.isnan(wanted) else abs(shown) > _INFINITY
    return math.isclose(shown, wanted, rel_tol=1e-9, abs_tol=1e-12)
