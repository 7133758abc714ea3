"""What MLflow shows of a study, compared with what SQL has. Nothing is changed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.storage import records, tracked
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow
from tuner.storage.tracked import TrackedTrial
from tuner.tracking import content
from tuner.tracking.client import Client, find_runs
from tuner.tracking.content import STUDY_TAG, TRIAL_TAG
from tuner.tracking.models import input_shape

# MLflow gives an infinity back as the largest float.
_INFINITY = 1.7e308


@dataclass(frozen=True)
class Difference:
    """`trial`: its number, None for the study's own run. `run_ids`: of the runs it is about."""

    trial: int | None
    what: str
    run_ids: tuple[str, ...] = ()


def check(store: Store, client: Client, study: StudyRow, log_models: str) -> list[Difference]:
    """How MLflow differs, by trial. Of a trial that still runs only the existence of its run
    matters. Curves are compared by the objective's points and the other metrics' last ones."""
    shown = Shown.of(client, study)
    trials = tracked.ever_run(store, study)
    found: list[Difference] = []
    if trials and not shown.parents:
        found.append(Difference(None, "the study's own run is missing"))
    if len(shown.parents) > 1:
        what = f"the study has {len(shown.parents)} runs of its own"
        found.append(Difference(None, what, _superfluous(store, study, shown.parents)))
    bests = tracked.improvements(tracked.completed(store, study), study.spec.direction)
    selected = {best.trial_id for best in bests} if study.spec.selects else set()
    wanted = selected if log_models == "best" else None
    for trial in trials:
        runs = shown.runs.get(content.trial_tag(study, trial), [])
        with_model = log_models != "none" and (wanted is None or trial.trial_id in wanted)
        ids = tuple(run.info.run_id for run in runs)
        found += [
            Difference(trial.number, what, ids)
            for what in _differences(store, client, study, trial, runs, with_model)
        ]
    known = {content.trial_tag(study, trial) for trial in trials}
    for tag, runs in shown.runs.items():
        if tag not in known:
            ids = tuple(run.info.run_id for run in runs)
            found.append(Difference(None, f"a run of {tag}, which SQL does not have", ids))
    return found


@dataclass(frozen=True)
class Shown:
    """A study's runs in MLflow: its own, and those of its trials by their tag."""

    parents: list[Any]
    runs: dict[str, list[Any]]

    @classmethod
    def of(cls, client: Client, study: StudyRow) -> "Shown":
        experiment = client.get_experiment_by_name(study.experiment)
        if experiment is None or experiment.lifecycle_stage == "deleted":
            return cls([], {})
        runs: dict[str, list[Any]] = {}
        for run in find_runs(client, experiment.experiment_id, "study", study.name):
            if TRIAL_TAG in run.data.tags:
                runs.setdefault(run.data.tags[TRIAL_TAG], []).append(run)
        return cls(find_runs(client, experiment.experiment_id, STUDY_TAG, study.name), runs)


def _superfluous(store: Store, study: StudyRow, parents: list[Any]) -> tuple[str, ...]:
    """All but the run that is known as the study's own, or but one."""
    ids = [run.info.run_id for run in parents]
    known = tracked.read_delivery(store, study)
    kept = known.run_id if known is not None and known.run_id in ids else ids[0]
    return tuple(run_id for run_id in ids if run_id != kept)


def _differences(
    store: Store,
    client: Client,
    study: StudyRow,
    trial: TrackedTrial,
    runs: list[Any],
    with_model: bool,
) -> Iterator[str]:
    if not trial.ended:
        if len(runs) > 1:
            yield f"{len(runs)} runs"
        return
    if len(runs) != 1:
        yield f"{len(runs)} runs" if runs else "its run is missing"
        return
    (run,) = runs
    status = "FAILED" if trial.state == "FAIL" else "FINISHED"
    if run.info.status != status:
        yield f"its run is {run.info.status}, not {status}"
    yield from _unlike(run.data.params, content.trial_params(study.spec, trial), "param")
    tags = content.state_tags(trial) | {"attempt": str(trial.attempt.attempt)}
    yield from _unlike(run.data.tags, tags, "tag")
    yield from _unlike_curves(store, client, study, trial, run)
    path = trial.attempt.model_path
    has_model = bool(run.outputs and run.outputs.model_outputs)
    if with_model and path and not has_model and input_shape(Path(path)) is not None:
        yield "its model is missing"


def _unlike(shown: dict[str, str], wanted: dict[str, str], kind: str) -> Iterator[str]:
    for name, value in wanted.items():
        if name not in shown:
            yield f"{kind} {name} is missing"
        elif shown[name] != value:
            yield f"{kind} {name} is another"


def _unlike_curves(
    store: Store, client: Client, study: StudyRow, trial: TrackedTrial, run: Any
) -> Iterator[str]:
    rows = records.read_intervals(store, study, trial.trial_id, trial.attempt.attempt)
    curve = list(content.curve(rows))
    last = {p.key: p.value for p in [*curve, *content.results(trial, rows)]}
    for name, value in last.items():
        if name not in run.data.metrics:
            yield f"metric {name} is missing"
        elif not _equal(run.data.metrics[name], value):
            yield f"metric {name} is another"
    metric = study.spec.metric
    wanted = {point.step: point.value for point in curve if point.key == metric}
    points = client.get_metric_history(run.info.run_id, metric) if wanted else []
    if len(points) != len(wanted):
        yield f"{metric} has {len(points)} points, not {len(wanted)}"
    elif any(not _equal(p.value, wanted.get(p.step, math.nan)) for p in points):
        yield f"{metric} has other points"


def _equal(shown: float, wanted: float) -> bool:
    if math.isnan(wanted) or math.isinf(wanted):
        return math.isnan(shown) if math.isnan(wanted) else abs(shown) > _INFINITY
    return math.isclose(shown, wanted, rel_tol=1e-9, abs_tol=1e-12)
