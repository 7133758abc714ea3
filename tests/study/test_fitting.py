"""A space made to fit the data, and the metric that compares its trials rightly."""

from typing import Any

import pytest
from optuna.trial import FixedTrial

from tuner.errors import SpecError
from tuner.search_space import Space, load_space, make_space
from tuner.search_space.parameters import ALL_LOSSES, LOSSES, TRAINING
from tuner.study.fitting import choose_objective, fit_space, incomparable_parameter
from tuner.study.metrics import Task, metrics_of
from tuner.values import Scalar

EXERCISES = {
    "augment_flip": "test_what_the_data_have_no_use_for_is_left_out",
    "augment_shift": "test_what_the_data_have_no_use_for_is_left_out",
    "label_smoothing": "test_what_the_data_have_no_use_for_is_left_out",
    "loss": "test_a_loss_of_another_task_is_refused",
}

FLIPS = {"augment_flip": {"type": "categorical", "choices": [True, False]}}
SHIFTS = {"augment_shift": {"type": "int", "low": 0, "high": 3}}
SMOOTHS = {"label_smoothing": {"type": "float", "low": 0.0, "high": 0.2}}
IMAGE, TABLE = (28, 28), (6,)
TASKS: tuple[Task, ...] = ("classes", "binary", "regression")


def space(network: str = "mlp", **parameters: Any) -> Space:
    return make_space(network, parameters)


@pytest.mark.parametrize(
    ("parameter", "off", "task", "shape"),
    [
        (FLIPS, False, "classes", TABLE),
        (SHIFTS, 0, "binary", TABLE),
        (SMOOTHS, 0.0, "regression", IMAGE),
        (SMOOTHS, 0.0, "regression", TABLE),
    ],
)
@pytest.mark.parametrize("network", ["mlp", "net.py:build"])
def test_what_the_data_have_no_use_for_is_left_out(
    parameter: dict[str, Any], off: Scalar, task: Task, shape: tuple[int, ...], network: str
) -> None:
    (name,) = parameter
    others = {"batch_size": {"type": "categorical", "choices": [16, 32]}}
    found = fit_space(space(network, **parameter, **others), task, shape)
    assert found.varying() == ["batch_size"]
    assert found.sample(FixedTrial({"batch_size": 16}))[name] == off


@pytest.mark.parametrize(
    ("parameter", "task", "shape"),
    [
        (FLIPS, "classes", IMAGE),
        (SHIFTS, "regression", (28, 28, 3)),
        (SMOOTHS, "classes", TABLE),
        (SMOOTHS, "binary", TABLE),
    ],
)
def test_what_the_data_have_a_use_for_stays(
    parameter: dict[str, Any], task: Task, shape: tuple[int, ...]
) -> None:
    one = space(**parameter)
    assert fit_space(one, task, shape) == one


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("shape", [TABLE, IMAGE])
def test_a_space_that_asks_for_nothing_stays(task: Task, shape: tuple[int, ...]) -> None:
    off = {"augment_flip": False, "augment_shift": 0, "label_smoothing": 0.0}
    for one in (space(), space(**off)):
        assert fit_space(one, task, shape) is one


@pytest.mark.parametrize(
    ("parameters", "task", "message"),
    [
        (
            {"augment_flip": True},
            "classes",
            "augment_flip cannot apply: the data are no images; leave it out, or let it be false",
        ),
        (
            {"augment_shift": {"type": "int", "low": 1, "high": 3}},
            "regression",
            "augment_shift cannot apply: the data are no images; leave it out, or let it be 0",
        ),
        (
            {"label_smoothing": 0.1},
            "regression",
            "label_smoothing cannot apply: the target is a number; leave it out, or let it be 0.0",
        ),
    ],
)
def test_what_cannot_be_left_out_is_refused(
    parameters: dict[str, Any], task: Task, message: str
) -> None:
    with pytest.raises(SpecError) as refusal:
        fit_space(space(**parameters), task, TABLE)
    assert str(refusal.value) == message


@pytest.mark.parametrize("task", TASKS)
def test_a_loss_of_another_task_is_refused(task: Task) -> None:
    for loss in ALL_LOSSES:
        for said in (loss, {"type": "categorical", "choices": ["auto", loss]}):
            one = space(loss=said)
            if loss in LOSSES[task]:
                assert fit_space(one, task, IMAGE) == one
                continue
            with pytest.raises(SpecError) as refusal:
                fit_space(one, task, IMAGE)
            known = ", ".join(LOSSES[task])
            assert str(refusal.value) == f"loss {loss} does not fit {task}; there are: {known}"


def test_convolutions_need_images() -> None:
    for shape in (IMAGE, (28, 28, 1), (32, 32, 3)):
        assert fit_space(space("cnn"), "classes", shape) == space("cnn")
    for wrong in (TABLE, (2, 3, 4, 5)):
        with pytest.raises(SpecError) as refusal:
            fit_space(space("cnn"), "classes", wrong)
        assert str(refusal.value) == (
            f"network cnn needs images, a row of these data has shape {wrong}"
        )


def test_baselines_lose_what_is_left_out() -> None:
    one = make_space(
        "mlp",
        {**FLIPS, "width": {"type": "int", "low": 4, "high": 8}},
        [{"augment_flip": True, "width": 5}],
    )
    assert fit_space(one, "classes", TABLE).baselines == ({"width": 5},)
    assert fit_space(one, "classes", IMAGE).baselines == one.baselines


@pytest.mark.parametrize("task", TASKS)
def test_the_shipped_space_fits_all_data(task: Task) -> None:
    for shape in (TABLE, IMAGE):
        varying = fit_space(load_space("mlp"), task, shape).varying()
        assert ("augment_flip" in varying) == (shape == IMAGE)
        assert ("label_smoothing" in varying) == (task != "regression")


def searched(name: str) -> dict[str, Any]:
    if name == "loss":
        return {"loss": {"type": "categorical", "choices": ["mse", "auto"]}}
    range_ = {"type": "float", "low": 0.1, "high": 0.9}
    return {name: range_} | ({"loss": "huber"} if name == "huber_delta" else {})


@pytest.mark.parametrize("name", ["loss", "huber_delta", "label_smoothing", "l1", "l2"])
def test_a_loss_of_another_meaning_in_each_trial_is_no_objective(name: str) -> None:
    task: Task = "classes" if name == "label_smoothing" else "regression"
    one = space(**searched(name))
    assert incomparable_parameter("val_loss", one) == name
    others = [metric for metric in metrics_of(task) if metric != "val_loss"]
    assert choose_objective(one, task, None) == others[0]
    assert [choose_objective(one, task, metric) for metric in others] == others
    with pytest.raises(SpecError) as refusal:
        choose_objective(one, task, "val_loss")
    assert str(refusal.value) == (
        f"val_loss has another meaning in each trial, since {name} is searched; "
        f"take {', '.join(others)}"
    )


def test_a_constant_leaves_the_loss_comparable() -> None:
    fixed = {"loss": "huber", "huber_delta": 0.3, "l1": 0.1, "l2": 0.1}
    assert choose_objective(space(**fixed), "regression", None) == "val_loss"
    assert choose_objective(space(label_smoothing=0.1), "classes", "val_loss") == "val_loss"


def test_the_first_metric_of_a_task_is_its_default() -> None:
    for task in TASKS:
        assert choose_objective(space(), task, None) == metrics_of(task)[0]
    with pytest.raises(SpecError, match="unknown metric 'val_mae' for classes"):
        choose_objective(space(), "classes", "val_mae")


@pytest.mark.parametrize("name", ["weight_decay", "max_norm", "clip_norm", "learning_rate"])
def test_what_is_no_part_of_the_loss_leaves_it_comparable(name: str) -> None:
    assert name in TRAINING
    assert choose_objective(space(**searched(name)), "regression", "val_loss") == "val_loss"


def test_what_is_left_out_no_longer_spoils_the_objective() -> None:
    one = fit_space(space(**SMOOTHS), "regression", TABLE)
    assert choose_objective(one, "regression", None) == "val_loss"
