"""A user's own metric: what it is given, what it may return, how its mistakes are told."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tuner.errors import MetricError
from tuner.study.messages import FunctionCode
from tuner.study.metrics import TASKS, Task
from tuner.study.own_metrics import OwnMetric, made_up_predictions
from tuner.system.user_modules import Surroundings

Y, P = np.array([0, 1, 1, 0], np.int32), np.array([0.1, 0.9, 0.4, 0.2], np.float32)


def own(body: str, modules: dict[str, str] | None = None, above: str = "") -> OwnMetric:
    """The metric of a file that begins with `above`."""
    text = f"{above}\ndef gain(y_true, y_pred):\n    {body}\n"
    return OwnMetric(FunctionCode("my/gain.py", "gain", text, tuple((modules or {}).items())))


@pytest.mark.parametrize(
    "returned", ["1.5", "np.float32(1.5)", "np.array(1.5)", "(y_true + 0.75).min() * 2"]
)
def test_it_returns_a_number(returned: str) -> None:
    assert own(f"return {returned}", above="import numpy as np")(Y, P) == 1.5


@pytest.mark.parametrize(
    ("returned", "kind"),
    [("None", "NoneType"), ("'1.5'", "str"), ("[1.0]", "list"), ("y_pred", "ndarray")],
)
def test_anything_else_is_refused(returned: str, kind: str) -> None:
    message = rf"^my/gain\.py:gain: must return one number, it returned a {kind}$"
    with pytest.raises(MetricError, match=message):
        own(f"return {returned}")(Y, P)


def test_it_may_change_its_arrays() -> None:
    y, predictions = Y.copy(), P.copy()
    y.flags.writeable = predictions.flags.writeable = False  # as mapped files are
    metric = own("y_true += 1; y_pred *= 0; return y_true.sum()")
    assert [metric(y, predictions), metric(y, predictions)] == [6, 6]


@pytest.mark.parametrize(
    ("body", "above", "message"),
    [
        ("return y_pred[9]", "", r"my/gain\.py:3: IndexError: index 9 is out of bounds"),
        ("raise SystemExit(3)", "", r"my/gain\.py:3: SystemExit: 3"),
        ("return 1", "import nothing_of_that_name", r"my/gain\.py:1: ModuleNotFoundError"),
        ("return 1", "x = (", r"my/gain\.py:1: SyntaxError"),
    ],
)
def test_mistakes_are_told_with_their_line(body: str, above: str, message: str) -> None:
    with pytest.raises(MetricError, match=message) as refusal:
        own(body, above=above)(Y, P)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_function_must_be_there_and_take_two_arguments() -> None:
    for text, message in {
        "def lift(y_true, y_pred): return 1": "no function 'gain'; it has lift",
        "gain = 3": "no function 'gain'; it has none",
        "def gain(y_true): return 1": r"must take \(y_true, y_pred\)",
        "def gain(y_true, y_pred, weights): return 1": r"must take \(y_true, y_pred\)",
        "def gain(y_pred, y_true): return 1": r"must take \(y_true, y_pred\), in this order",
    }.items():
        with pytest.raises(MetricError, match=f"^gain.py.*: {message}"):
            OwnMetric(FunctionCode("gain.py", "gain", text, ()))(Y, P)


LAZY = {"helper.py": "CALLS = []\ndef half(y):\n    CALLS.append(1)\n    return len(y) / 2\n"}


def test_modules_of_its_folder_are_those_that_were_stored() -> None:
    metric = own("import helper; return helper.half(y_pred)", LAZY)
    assert [metric(Y, P), metric(Y, P)] == [2.0, 2.0]
    assert "helper" not in sys.modules
    broken = own("return helper.half()", LAZY, above="import helper")
    with pytest.raises(MetricError, match=r"^my/gain\.py:3: TypeError"):
        broken(Y, P)
    inside = own("return helper.half(None)", LAZY, above="import helper")
    with pytest.raises(MetricError, match=r"^my/helper\.py:4: TypeError"):
        inside(Y, P)


def test_modules_of_an_own_network_stay(tmp_path: Path) -> None:
    network = Surroundings(tmp_path / "net.py", "net.py", {"blocks.py": b"made = []"}, True)
    with network.entered():
        import blocks

        for modules in ({}, LAZY):
            own("return 1.0", modules)(Y, P)
            assert sys.modules["blocks"] is blocks
    assert "blocks" not in sys.modules


@pytest.mark.parametrize("task", [task for task in TASKS if task != "several"])
def test_it_is_tried_with_predictions_as_a_network_makes_them(task: Task) -> None:
    draw = np.random.default_rng(0)
    y = draw.normal(size=50).astype(np.float32) if task == "regression" else draw.integers(0, 2, 50)
    predictions = made_up_predictions(y, task, classes=4)
    shape = (50, 4) if task == "classes" else (50,)
    assert (predictions.shape, predictions.dtype) == (shape, np.float32)
    if task != "regression":
        assert 0 <= predictions.min() <= predictions.max() <= 1
    if task == "classes":
        np.testing.assert_allclose(predictions.sum(axis=1), 1.0, rtol=1e-5)
    own("return (y_true - y_pred.T).mean()").check(y, task, classes=4)
    message = r"returned nan for made-up predictions of 50 validation rows"
    with pytest.raises(MetricError, match=message):
        own("return float('nan')").check(y, task, classes=4)


def test_of_large_data_it_is_tried_with_some_rows_of_every_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tuner.study.own_metrics._MOST_VALUES", 30)
    y = np.zeros(1000, np.int32)
    y[567] = 2
    own("assert len(y_true) == 11 and set(y_true) == {0, 2}; return 1").check(y, "classes", 3)
    own("assert len(y_true) == 30; return 1").check(y.astype(np.float32), "regression", 0)
