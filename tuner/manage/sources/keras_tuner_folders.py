"""The folder of a KerasTuner search: oracle.json, and trial_*/trial.json."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuner.errors import UsageError
from tuner.manage.sources import WantedHistory
from tuner.study.history import UNNAMED, History, PastTrial
from tuner.study.messages import Direction, Distribution
from tuner.system.locations import expanded_path, is_file
from tuner.training.hyperparameters import HyperParameters

# KerasTuner's own: which epochs a trial of its Hyperband trains, and from which trial it goes on.
_OWN = "tuner/"
_LAST_EPOCH = "tuner/epochs"
# What it calls the objective where a trial returns nothing but a number.
_DEFAULT_OBJECTIVE = "default_objective"
_DIRECTIONS: dict[str, Direction] = {"max": "maximize", "min": "minimize"}


def recognizes(wanted: WantedHistory) -> bool:
    return is_file(expanded_path(wanted.source) / "oracle.json")


def read(wanted: WantedHistory) -> History:
    """The trials that KerasTuner has completed. It keeps one value of each metric, that of the best
    epoch: a curve has that epoch alone. A trial that its Hyperband did not let train to the last
    epoch counts as pruned."""
    folder = expanded_path(wanted.source)
    contents = [_read_json(path) for path in sorted(folder.glob("trial_*/trial.json"))]
    if not contents:
        raise UsageError(f"{wanted.source}: holds no trial_*/trial.json: no trial has ended there")
    last = max((_last_epoch(content) for content in contents), default=0)
    trials: list[PastTrial] = []
    left_out: Counter[str] = Counter()
    for content in contents:
        score = content.get("score")
        if content.get("status") != "COMPLETED" or not _is_finite(score):
            left_out[str(content.get("status")).lower()] += 1
        else:
            trials.append(_trial(content, last))
    objective, direction = _objective(contents)
    return History(
        name=f"KerasTuner {folder.resolve()}",
        trials=tuple(trials),
        objective=objective,
        direction=direction,
        left_out=left_out,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(content["trial_id"], str)
        assert isinstance(content["hyperparameters"]["values"], dict)
    except (OSError, ValueError, LookupError, TypeError, AssertionError) as error:
        raise UsageError(f"{path}: is no trial of KerasTuner ({error})") from error
    assert isinstance(content, dict)
    return content


def _last_epoch(content: Mapping[str, Any]) -> int:
    return int(content["hyperparameters"]["values"].get(_LAST_EPOCH, 0))


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _observed(content: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """The name, direction and value of each metric of a trial."""
    metrics = (content.get("metrics") or {}).get("metrics") or {}
    for name, metric in metrics.items():
        for observation in metric.get("observations") or []:
            values = [value for value in observation.get("value") or [] if _is_finite(value)]
            if values:  # one for each execution of the trial
                mean = math.fsum(values) / len(values)
                yield name, str(metric.get("direction")), mean


def _objective(contents: list[dict[str, Any]]) -> tuple[str, Direction | None]:
    """The metric whose value is the score of all trials: KerasTuner does not store its name."""
    scored = [content for content in contents if _is_finite(content.get("score"))]
    observed = [{name: (way, value) for name, way, value in _observed(each)} for each in scored]
    for name, (way, _) in observed[0].items() if observed else ():
        if all(
            name in metrics and math.isclose(metrics[name][1], content["score"], rel_tol=1e-9)
            for metrics, content in zip(observed, scored, strict=True)
        ):
            return (UNNAMED if name == _DEFAULT_OBJECTIVE else name), _DIRECTIONS.get(way)
    return UNNAMED, None


def _trial(content: Mapping[str, Any], last: int) -> PastTrial:
    values = {name: value for name, _, value in _observed(content)}
    epoch = int(content.get("best_step") or 0) + 1
    params = content["hyperparameters"]["values"]
    return PastTrial(
        key=content["trial_id"],
        params={name: value for name, value in params.items() if not name.startswith(_OWN)},
        values={**values, UNNAMED: float(content["score"])},
        curve={epoch: values} if values else {},
        pruned=_last_epoch(content) < last,
        distributions=_distributions(content),
    )


def _distributions(content: Mapping[str, Any]) -> dict[str, Distribution]:
    """The distributions that the same search asks tuner for."""
    distributions: dict[str, Distribution] = {}
    hp = HyperParameters()
    for declared in content["hyperparameters"].get("space") or []:
        config: dict[str, Any] = dict(declared["config"])
        config.pop("conditions", None)
        if declared["class_name"] == "Fixed":
            config.pop("default", None)
        name = str(config["name"])
        if name.startswith(_OWN) or name in distributions:
            continue
        getattr(hp, declared["class_name"])(**config)
        distributions[name] = hp.space[-1].distribution
    return distributions
