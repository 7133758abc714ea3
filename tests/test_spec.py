"""A study's definition: its parts fit together and survive JSON."""

from typing import Any

import pytest

from tuner.errors import SpecError
from tuner.space import load_space
from tuner.spec import (
    DIRECTIONS,
    METRICS,
    Choice,
    CodeFile,
    DataSpec,
    StudySpec,
    Task,
    default_metric,
    direction_of,
)


def spec(**changes: Any) -> StudySpec:
    return StudySpec(
        **{
            "space": load_space("mlp"),
            "data": DataSpec(source="digits", task="classes"),
            "fingerprint": "0" * 64,
            "train_rows": 50_000,
            "task": "classes",
            "sampler": Choice(name="tpe", options={"n_startup_trials": 5, "group": False}),
            "pruner": Choice(name="hyperband"),
            "metric": "val_accuracy",
            "direction": "maximize",
            "seed": 7,
            "code": {"net.py": CodeFile.of(b"x = 'caf\xc3\xa9'\n")},
            **changes,
        }
    )


def test_json_round_trip() -> None:
    one = spec()
    assert StudySpec.from_json(one.model_dump_json()) == one
    assert StudySpec.from_json(one.model_dump_json()).data.validation == 1 / 6


@pytest.mark.parametrize(
    ("rows", "intervals"), [(1, 1), (9_999, 1), (29_999, 2), (50_000, 5), (10**6, 5)]
)
def test_the_first_epoch_has_a_report_for_each_ten_thousand_rows(rows: int, intervals: int) -> None:
    one = spec(train_rows=rows)
    assert (one.intervals, one.epochs, one.max_step) == (intervals, 27, 27 * intervals)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "val_mae", "direction": "minimize"}, "unknown metric 'val_mae' for classes"),
        ({"metric": "val_acuracy"}, "there are: val_accuracy, val_loss"),
        ({"direction": "minimize"}, "better when it is larger: the direction must be maximize"),
        ({"metric": "val_loss"}, "better when it is smaller: the direction must be minimize"),
        ({"task": "regression"}, "the data's task is classes, the study's is regression"),
        ({"seed": -1}, "the seed must be a whole number from 0 to 4294967295, got -1"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec(**changes)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"space": 3}', '{"space": {"network": "mlp", "parameters": {"x": 1}}}'],
)
def test_foreign_json_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SpecError, match=r"^not a study of this version of tuner: [^\n]+$"):
        StudySpec.from_json(text)


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_shares_lie_between_none_and_all(split: str, share: float) -> None:
    with pytest.raises(SpecError, match=f"the {split} share must lie between 0 and 1"):
        DataSpec.model_validate({split: share})


@pytest.mark.parametrize("task", METRICS)
def test_default_metric_belongs_to_its_task(task: Task) -> None:
    metric, direction = default_metric(task)
    assert metric in METRICS[task]
    assert direction == direction_of(metric) == DIRECTIONS[metric]


def test_unknown_metric_has_no_direction() -> None:
    with pytest.raises(SpecError, match="unknown metric 'val_auc'; there are: val_"):
        direction_of("val_auc")


def test_code_is_hashed_as_bytes() -> None:
    code = CodeFile.of(b"")
    assert code.sha256 == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with pytest.raises(SpecError, match=r"not UTF-8 text \(byte 0\)"):
        CodeFile.of(b"\xff")
