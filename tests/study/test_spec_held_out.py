"""A study that holds the test split out: its metrics, its only sampler and pruner, old JSON."""

import json
from typing import Any

import pytest
from toy_study import toy_spec

from tuner.errors import SpecError
from tuner.study.metrics import TASKS, Task, direction_of, metrics_of
from tuner.study.spec import Choice, StudySpec
from tuner.study.study_differences import study_differences

COMPARISON: dict[str, Any] = {
    "held_out": "test",
    "metric": "test_accuracy",
    "sampler": Choice(name="listed"),
    "pruner": Choice(name="none"),
    "train_rows": 50_000,
}


def comparison(**changes: Any) -> StudySpec:
    return toy_spec(None, [{"x": 0.5}, {"x": 0.25}], **COMPARISON | changes)


def test_json_round_trip() -> None:
    assert StudySpec.from_json(comparison().model_dump_json()) == comparison()


def test_stored_studies_that_do_not_say_are_searches() -> None:
    stored = json.loads(toy_spec().model_dump_json())
    del stored["held_out"]
    assert StudySpec.from_json(json.dumps(stored)) == toy_spec()
    assert toy_spec().held_out == "val"


@pytest.mark.parametrize("task", TASKS)
def test_its_metrics_are_those_of_the_test_split(task: Task) -> None:
    for val, test in zip(metrics_of(task), metrics_of(task, "test"), strict=True):
        assert test == val.replace("val_", "test_")
        assert direction_of(test) == direction_of(val)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "val_accuracy"}, "unknown metric 'val_accuracy' for classes; there are: test_"),
        ({"sampler": Choice(name="tpe")}, "its sampler is listed, its pruner none, got tpe and no"),
        ({"pruner": Choice(name="hyperband")}, "got listed and hyperband"),
    ],
)
def test_nothing_is_selected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        comparison(**changes)
    with pytest.raises(SpecError, match="unknown metric 'test_accuracy' for classes"):
        toy_spec(metric="test_accuracy")


def test_it_reports_by_the_epoch_and_queues_nothing() -> None:
    assert (comparison().first_epoch_reports, comparison().max_step) == (1, 3)
    assert comparison().first_trials() == []


def test_it_is_another_study_than_the_same_on_the_validation_split() -> None:
    other = comparison(held_out="val", metric="val_accuracy")
    assert study_differences(comparison(), other) == [
        "metric was test_accuracy, is val_accuracy",
        "split that is held out was test, is val",
    ]
