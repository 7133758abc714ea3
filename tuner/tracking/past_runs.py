"""The finished runs of an MLflow experiment, whoever logged them, as trials of the past."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tuner.errors import TrackingError, UsageError
from tuner.study.history import History, PastTrial
from tuner.system.secret_masking import without_secrets
from tuner.tracking.client import Client, open_existing_client, tracking_errors
from tuner.tracking.experiments import find_runs
from tuner.values import Scalar, parse_scalar

_FINISHED = "FINISHED"


def read_experiment(uri: str, experiment: str, metric: str, maximize: bool) -> History:
    """The runs of the experiment that have logged `metric`. A run's value is the best of its
    history, as a trial's is that of its best epoch. Raises UsageError where there is no such
    experiment, or MLflow does not answer."""
    shown_uri = without_secrets(uri)
    try:
        client = open_existing_client(uri)
        if client is None:
            raise UsageError(f"{shown_uri}: there is no such file")
        with tracking_errors():
            row = client.get_experiment_by_name(experiment)
            if row is None:
                raise UsageError(f"{shown_uri}: has no experiment {experiment!r}")
            runs = [run for page in find_runs(client, [row.experiment_id], "") for run in page]
            runs.sort(key=lambda run: (run.info.start_time, run.info.run_id))
            left_out = Counter(reason for run in runs if (reason := _no_result(run, metric)))
            usable = [run for run in runs if _no_result(run, metric) is None]
            trials = tuple(_trial(client, run, metric, maximize) for run in usable)
    except TrackingError as error:
        raise UsageError(str(error)) from error
    return History(f"MLflow {shown_uri} {experiment}", trials, metric, None, left_out)


def _no_result(run: Any, metric: str) -> str | None:
    """Why a run is no trial with a result; None for one that is."""
    if not math.isfinite(run.data.metrics.get(metric, math.nan)):
        return f"without {metric}"
    return None if run.info.status == _FINISHED else str(run.info.status).lower()


def _trial(client: Client, run: Any, metric: str, maximize: bool) -> PastTrial:
    history = client.get_metric_history(run.info.run_id, metric)
    points = [point for point in history if math.isfinite(point.value)]
    shift = 1 if any(point.step == 0 for point in points) else 0
    curve = {point.step + shift: {metric: point.value} for point in points}
    values = [point.value for point in points]
    return PastTrial(
        key=run.info.run_id,
        params=dict(_params(run)),
        values={metric: max(values) if maximize else min(values)} if values else {},
        curve=curve if len(points) > 1 else {},
        started_at=run.info.start_time / 1000,
        ended_at=(run.info.end_time or run.info.start_time) / 1000,
    )


def _params(run: Any) -> Iterator[tuple[str, Scalar]]:
    """MLflow keeps texts: True and None are Python's words."""
    for name, text in run.data.params.items():
        value = parse_scalar(text)
        if value is not None and text != "None":
            yield name, value
