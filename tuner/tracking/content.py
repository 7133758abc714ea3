"""What a run shows: params, tags, metrics and data, from SQL's rows and the study's definition.

Every value is first brought into a form that MLflow can store, and is compared in that form: a
value that MLflow itself shortened would differ for ever.
"""

import hashlib
import json
import math
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tuner.data import Dataset, open_dataset
from tuner.data.named_rows import named_parts
from tuner.errors import DatasetError, SpaceError
from tuner.storage.attempt_rows import ReportRow, report_of_score
from tuner.storage.deliveries import Completed, TrackedTrial, improvements
from tuner.storage.studies import StudyRow
from tuner.study.messages import Direction
from tuner.study.spec import Choice, StudySpec
from tuner.values import word

PARENT_TAG = "mlflow.parentRunId"
UUID_TAG = "tuner.study_uuid"
STUDY_TAG = "tuner.study"
TRIAL_TAG = "tuner.trial"
_LONGEST_PARAM = 6000
_LONGEST_TAG = 8000
_LONGEST_KEY = 250
_LONGEST_NAME = 500

# A limit in bytes of JSON, in which one character may take six.
_LONGEST_SOURCE = 65_535 // 7
_ELLIPSIS = "…"


def param_value(text: str) -> str:
    return _shortened(text, _LONGEST_PARAM)


def tag_value(text: str) -> str:
    return _shortened(text, _LONGEST_TAG)


def dataset_name(text: str) -> str:
    return _shortened(text, _LONGEST_NAME)


def dataset_source(text: str) -> str:
    return _shortened(text, _LONGEST_SOURCE)


def experiment_name(text: str, suffix: str = "") -> str:
    """Shortened at the end of `text`, not of `suffix`."""
    return _shortened(text, _LONGEST_NAME - len(suffix)) + suffix


def allowed_key(text: str) -> str:
    """The name of a param, metric or tag as MLflow allows it. A changed name ends with a hash, so
    that two names never become one."""
    allowed = re.sub(r"[^/\w.\- :]", "_", text)
    if posixpath.normpath(allowed) != allowed or allowed.startswith(("/", "..")) or allowed == ".":
        allowed = "_" + allowed.replace("/", "_")
    if allowed == text and len(text) <= _LONGEST_KEY:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{allowed[: _LONGEST_KEY - 9]}-{digest}"


def _shortened(text: str, most: int) -> str:
    # Not every database can store a zero byte or half of a surrogate pair.
    text = text.encode("utf-8", "replace").decode().replace("\0", "?")
    return text if len(text) <= most else text[: most - 1] + _ELLIPSIS


_LONGEST_TRACEBACK = 4000


class Point(NamedTuple):
    """One value of a metric. `at`: milliseconds since 1970, by SQL's clock."""

    key: str
    value: float
    at: int
    step: int


def to_milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def trial_tag(study: StudyRow, trial: TrackedTrial) -> str:
    return tag_value(f"{study.name}/{trial.number}")


def study_tags(study: StudyRow) -> dict[str, str]:
    """The tags by which the study's own run is found; it is created with them."""
    return {UUID_TAG: study.uuid, STUDY_TAG: tag_value(study.name)}


def identity_tags(study: StudyRow, trial: TrackedTrial, parent_id: str) -> dict[str, str]:
    """The tags by which a trial's run is found; it is created with them."""
    return {
        PARENT_TAG: parent_id,
        UUID_TAG: study.uuid,
        TRIAL_TAG: trial_tag(study, trial),
        "study": tag_value(study.name),
        "trial": str(trial.number),
        "attempt": str(trial.attempt.attempt),
    } | ({} if trial.retry_of is None else {"retry_of": str(trial.retry_of)})


def trial_params(spec: StudySpec, trial: TrackedTrial) -> dict[str, str]:
    """The trial's hyperparameters, including constants and defaults; values per layer as a list.
    Those that tuner has got since the study was made are left out: older runs lack them."""
    try:
        params: Mapping[str, object] = spec.space.resolve(trial.params)
    except SpaceError:  # somebody wrote values outside of the space: show them as they are
        params = trial.params
    return shown_params(spec, params)


def shown_params(spec: StudySpec, params: Mapping[str, object]) -> dict[str, str]:
    """Resolved hyperparameters as a run shows them."""
    newer = spec.newer_parameters
    shown = {name: value for name, value in params.items() if name not in newer}
    return _allowed_params({name: _format_value(value) for name, value in shown.items()})


def _allowed_params(params: Mapping[str, str]) -> dict[str, str]:
    return {allowed_key(name): param_value(value) for name, value in params.items()}


def _format_value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_format_value(item) for item in value)
    if isinstance(value, bool):
        return word(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def state_tags(trial: TrackedTrial) -> dict[str, str]:
    """The trial's state; how it ended, once it has."""
    tags = {"state": trial.state}
    if not trial.ended:
        return tags
    if trial.attempt.end:
        tags["end"] = trial.attempt.end
    if trial.attempt.score is not None:
        tags["score"] = f"{trial.attempt.score:.6g}"
    if trial.attempt.engine:
        tags["engine"] = trial.attempt.engine
    if trial.attempt.detail:
        # The end of a traceback says what went wrong.
        tags["traceback"] = trial.attempt.detail[-_LONGEST_TRACEBACK:]
    tags |= {f"log.{name}": _note_text(value) for name, value in trial.notes.items()}
    return {allowed_key(name): tag_value(value) for name, value in tags.items()}


def _note_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def curve_points(rows: Iterable[ReportRow]) -> Iterator[Point]:
    """The metrics of whole epochs. Reports within the first epoch are left out: it would have
    several values."""
    for row in rows:
        if row.whole:
            for name, value in row.metrics.items():
                yield Point(allowed_key(name), value, to_milliseconds(row.at), row.epoch)


def best_key(metric: str) -> str:
    """The metric that holds a recorded metric's value in the epoch that gave the score. The curve
    of the metric itself ends with the last epoch."""
    return allowed_key(f"best_{metric}")


def result_points(spec: StudySpec, trial: TrackedTrial, rows: list[ReportRow]) -> Iterator[Point]:
    """The metrics of an ended trial that are no curves: its score and its values of recorded
    metrics. They are few: MLflow draws a chart for each, of bars that say little."""
    attempt, at = trial.attempt, to_milliseconds(end_seconds(trial))
    if attempt.score is not None:
        yield Point("score", attempt.score, at, 0)
    scoring = report_of_score(rows, attempt, spec.goal())
    for metric in spec.beside_score:
        if scoring is not None and (value := scoring.metrics.get(metric)) is not None:
            yield Point(best_key(metric), value, at, 0)


def result_numbers(trial: TrackedTrial, rows: list[ReportRow]) -> dict[str, float]:
    """The other numbers of an ended trial. They are tags; earlier versions sent them as metrics."""
    attempt = trial.attempt
    whole_epochs = sum(row.whole for row in rows)
    numbers: dict[str, float | None] = {
        "best_epoch": attempt.best_epoch,
        "epochs": attempt.epochs if attempt.epochs is not None else whole_epochs,
        "seconds": end_seconds(trial) - attempt.started_at,
        # Of a function that trains by itself it is not known.
        "parameter_count": attempt.parameter_count or None,
    }
    return {name: float(number) for name, number in numbers.items() if number is not None}


def number_tag(number: float) -> str:
    return f"{number:.0f}" if number.is_integer() else f"{number:.3f}"


def run_status(trial: TrackedTrial) -> str:
    """The state of an ended trial's run, in MLflow's words."""
    return "FAILED" if trial.state == "FAIL" else "FINISHED"


def end_seconds(trial: TrackedTrial) -> float:
    """When an ended trial ended, in seconds since 1970."""
    return trial.attempt.ended_at or trial.attempt.started_at


def study_params(spec: StudySpec) -> dict[str, str]:
    """A study's definition, named as the options of the command that creates it."""
    fixed = {
        "network": spec.space.network,
        **_data_params(spec),
        "sampler": _choice(spec.sampler),
        "pruner": _choice(spec.pruner),
        "metric": ", ".join(goal.metric for goal in spec.goals),
        "direction": ", ".join(goal.direction for goal in spec.goals),
        "seed": str(spec.seed),
    }
    if spec.record:
        fixed["record"] = ", ".join(spec.record)
    if spec.prior.learned_from:
        fixed["learn_from"] = ", ".join(spec.prior.learned_from)
    fixed |= {"prior": "yes"} if spec.prior.of_defaults else {}
    fixed |= {"portfolio": "yes"} if spec.prior.with_portfolio else {}
    if spec.own_metrics:
        fixed["own_metrics"] = ", ".join(map(str, spec.own_metrics.values()))
    if spec.held_out == "test":
        fixed["held_out"] = spec.held_out
    newer = spec.newer_parameters
    rows = {
        f"space.{row.name}": _range(row.range, row.condition)
        for row in spec.space.rows()
        if row.name not in newer
    }
    return _allowed_params(fixed | rows)


def _data_params(spec: StudySpec) -> dict[str, str]:
    if spec.data is None:
        return {"function_kind": spec.function_kind}
    weights = {} if spec.data.weights is None else {"weights": spec.data.weights}
    return {
        "data": spec.data.source,
        "task": spec.known_task,
        "train_rows": str(spec.train_rows),
        "fingerprint": spec.fingerprint,
        **weights,
    }


def _range(values: str, condition: str) -> str:
    return f"{values} (when {condition})" if condition else values


def _choice(choice: Choice) -> str:
    options = ", ".join(f"{name}={value}" for name, value in choice.options.items())
    return f"{choice.name} ({options})" if options else choice.name


def best_tags(trials: list[Completed], direction: Direction) -> dict[str, str]:
    """The best of at least one completed trial."""
    best = improvements(trials, direction)[-1]
    return {"best_trial": str(best.number), "best_score": f"{best.score:.6g}"}


def best_scores(trials: list[Completed], direction: Direction) -> list[Point]:
    """The best score so far after each completed trial; step n is the n-th to complete."""
    bests = improvements(trials, direction)
    points: list[Point] = []
    best = math.nan
    for step, trial in enumerate(trials, start=1):
        if bests and bests[0] is trial:
            best = bests.pop(0).score
        points.append(Point("best_score", best, to_milliseconds(trial.ended_at), step))
    return points


# 64 bits of the fingerprint, short enough to read; MLflow takes at most 36 characters.
_DIGEST = 16


def open_prepared(folder: Path | None) -> Dataset | None:
    """The prepared data, mapped from disk; None if there are none."""
    if folder is None:
        return None
    try:
        return open_dataset(folder)
    except DatasetError:
        return None


def dataset_inputs(spec: StudySpec, dataset: Dataset | None) -> list[Any]:
    """MLflow's record of a run's data: a name, a digest, a small description. None for a study
    without data."""
    if spec.data is None:
        return []
    from mlflow.entities import Dataset as DatasetEntity
    from mlflow.entities import DatasetInput, InputTag

    source = spec.data.source
    entity = DatasetEntity(
        name=dataset_name(Path(source).name or source),
        digest=spec.fingerprint[:_DIGEST],
        source_type="local",
        source=json.dumps({"uri": dataset_source(source)}),
        schema=json.dumps(_schema(dataset)) if dataset else None,
        profile=json.dumps(_profile(spec, dataset)),
    )
    return [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])]


def _schema(dataset: Dataset) -> dict[str, Any]:
    def tensors(rows: Any) -> list[dict[str, Any]]:
        specs = []
        for name, array in named_parts(rows).items():
            shape = [-1, *(int(size) for size in array.shape[1:])]
            tensor = {"dtype": str(array.dtype), "shape": shape}
            specs.append(
                ({"name": name} if name else {}) | {"type": "tensor", "tensor-spec": tensor}
            )
        return specs

    split = dataset.train
    # MLflow expects both as JSON within JSON.
    specs = {"features": json.dumps(tensors(split.x)), "targets": json.dumps(tensors(split.y))}
    return {"mlflow_tensorspec": specs}


def _profile(spec: StudySpec, dataset: Dataset | None) -> dict[str, Any]:
    if dataset is None:
        return {"task": spec.task, "train_rows": spec.train_rows}
    rows = {f"{part}_rows": len(split) for part, split in dataset.splits.items()}
    return {"task": spec.task, **rows, "bytes": dataset.nbytes, "labels": list(dataset.labels)[:50]}
