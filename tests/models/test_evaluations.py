"""The figures of a network's outputs, against scikit-learn's and definitions written out."""

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_network import PREPARATION, FakeNetwork, describe
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    brier_score_loss,
    confusion_matrix,
    precision_recall_fscore_support,
    r2_score,
    roc_auc_score,
)

from tuner.errors import DatasetError
from tuner.models import resampling
from tuner.models.evaluations import Evaluation, difference, evaluate_outputs
from tuner.models.model import Model
from tuner.preparation.row_sample import RowSample
from tuner.study.metrics import METRICS, Task

LABELS = ("ant", "bee", "cat")


def outputs_of(task: Task, rows: int, seed: int = 0) -> tuple[Any, Any]:
    draw = np.random.default_rng(seed)
    if task == "regression":
        y = draw.normal(size=rows) * 5 + 20
        return (y + draw.normal(size=rows))[:, np.newaxis].astype(np.float32), y
    y = draw.integers(0, len(LABELS) if task == "classes" else 2, rows).astype(np.int32)
    if task == "binary":
        return np.clip(0.3 * y + 0.7 * draw.random(rows), 0, 1)[:, np.newaxis], y
    shares = draw.random((rows, len(LABELS))) + 0.6 * np.eye(len(LABELS))[y]
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32), y


def labels_of(task: Task) -> tuple[str, ...]:
    return {"classes": LABELS, "binary": LABELS[:2], "regression": ()}[task]


def evaluate(task: Task, rows: int = 200) -> tuple[Evaluation, Any, Any]:
    outputs, y = outputs_of(task, rows)
    return evaluate_outputs(outputs, y, task, labels_of(task)), outputs, y


@pytest.mark.parametrize("task", ["classes", "binary", "regression"])
def test_all_metrics_of_the_task_have_an_interval_around_them(task: Task) -> None:
    evaluation, outputs, y = evaluate(task)
    expected = [name for name, each in METRICS.items() if task in each.tasks]
    assert list(evaluation.metrics) == [name for name in expected if name != "top_5_accuracy"]
    for name, each in evaluation.metrics.items():
        assert each.value is not None and each.low is not None and each.high is not None
        assert each.low < each.value < each.high, name
    assert (evaluation.method, evaluation.resamples, evaluation.notes) == ("BCa", 2000, ())
    assert evaluate_outputs(outputs, y, task, labels_of(task)).metrics == evaluation.metrics
    assert json.loads(json.dumps(evaluation.to_json(), allow_nan=False))["rows"] == 200


def test_an_evaluation_is_printed_as_its_metrics() -> None:
    evaluation, _, _ = evaluate("binary")
    title, *lines = repr(evaluation).splitlines()
    assert title == "Evaluation of 200 rows, 95 % intervals:"
    assert [line.split()[0] for line in lines] == list(evaluation.metrics)
    auc = evaluation.metrics["auc"]
    assert f"{auc.value:.4f} ({auc.low:.4f} to {auc.high:.4f})" in str(evaluation)


def test_a_normal_interval_ends_at_the_best_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_CELLS", 400_000)  # by rows alone it would be BCa
    y = np.arange(200) % 3
    outputs = np.eye(3)[np.where(np.arange(200) == 0, 1, y)] * 0.97 + 0.01
    evaluation = evaluate_outputs(outputs, y, "classes", LABELS)
    assert (evaluation.method, evaluation.resamples) == ("normal", 100)
    accuracy, loss = evaluation.metrics["accuracy"], evaluation.metrics["loss"]
    assert (accuracy.value, accuracy.high) == (0.995, 1.0)
    assert accuracy.low == pytest.approx(0.995 - 1.96 * np.sqrt(0.995 * 0.005 / 200), abs=0.003)
    assert loss.low == 0.0


def test_each_label_has_its_figures() -> None:
    evaluation, outputs, y = evaluate("classes")
    predicted = outputs.argmax(1)
    figures = [(each.precision, each.recall, each.f1, each.rows) for each in evaluation.per_class]
    expected = np.transpose(precision_recall_fscore_support(y, predicted))
    assert np.array(figures) == pytest.approx(expected)
    areas = [roc_auc_score(y == number, outputs[:, number]) for number in range(3)]
    assert [each.auc for each in evaluation.per_class] == pytest.approx(areas)
    assert [each.predicted for each in evaluation.per_class] == np.bincount(predicted).tolist()


def test_confused_labels_are_counted_and_sorted() -> None:
    evaluation, outputs, y = evaluate("classes")
    assert evaluation.confusion is not None
    counts = confusion_matrix(y, outputs.argmax(1))
    assert evaluation.confusion.counts.tolist() == counts.tolist()
    pairs = evaluation.confusion.most_confused(2)
    wrong = sorted(counts[~np.eye(3, dtype=bool)], reverse=True)
    assert [rows for _, _, rows in pairs] == wrong[:2]
    true, predicted, rows = pairs[0]
    assert counts[LABELS.index(true), LABELS.index(predicted)] == rows


def test_two_labels_are_calibrated_by_the_probability_of_the_second() -> None:
    evaluation, outputs, y = evaluate("binary", 500)
    calibration = evaluation.calibration
    assert calibration is not None
    shares, means = calibration_curve(y, outputs[:, 0], n_bins=10)
    assert [each.share for each in calibration.bins] == pytest.approx(shares)
    assert [each.probability for each in calibration.bins] == pytest.approx(means)
    assert calibration.brier == pytest.approx(brier_score_loss(y, outputs[:, 0]))
    rows = np.array([each.rows for each in calibration.bins])
    expected = (rows * abs(shares - means)).sum() / 500
    assert calibration.expected_error == pytest.approx(expected)


def test_several_labels_are_calibrated_by_that_of_the_predicted_one() -> None:
    evaluation, outputs, y = evaluate("classes", 500)
    calibration = evaluation.calibration
    assert calibration is not None
    is_right = outputs.argmax(1) == y
    shares, means = calibration_curve(is_right, outputs.max(1), n_bins=10)
    assert [each.share for each in calibration.bins] == pytest.approx(shares)
    assert [each.probability for each in calibration.bins] == pytest.approx(means, rel=1e-6)
    squares = ((outputs.astype(np.float64) - np.eye(3)[y]) ** 2).sum(1)
    assert calibration.brier == pytest.approx(squares.mean())


def test_the_errors_of_a_regression_are_summed_up() -> None:
    evaluation, outputs, y = evaluate("regression", 501)
    errors, residuals = outputs[:, 0] - y, evaluation.residuals
    assert residuals is not None
    assert (residuals.mean, residuals.deviation) == pytest.approx((errors.mean(), errors.std()))
    assert residuals.quantiles[0.05] == pytest.approx(np.quantile(errors, 0.05))
    assert residuals.sizes[0.9] == pytest.approx(np.quantile(abs(errors), 0.9))
    lowest = residuals.by_target[0]
    own = errors[y <= lowest.high]
    assert (lowest.rows, lowest.low) == (len(own), y.min())
    assert lowest.bias == pytest.approx(own.mean())
    assert lowest.rmse == pytest.approx(np.sqrt((own**2).mean()))
    assert sum(each.rows for each in residuals.by_target) == 501
    assert evaluation.metrics["r2"].value == pytest.approx(r2_score(y, outputs[:, 0]))


def test_one_row_has_figures_without_intervals() -> None:
    evaluation = evaluate_outputs(np.array([[0.9, 0.1, 0.0]]), np.array([0]), "classes", LABELS)
    assert dataclasses.astuple(evaluation.metrics["accuracy"]) == (1.0, None, None)
    assert dataclasses.astuple(evaluation.metrics["auc"]) == (None, None, None)
    assert evaluation.notes == (
        "1 row says little of a network: take more",
        "no row has the label: bee, cat",
        "no value for these rows: auc, kappa (all rows have one class)",
    )


def test_rows_of_one_class_say_why_metrics_have_no_value() -> None:
    evaluation = evaluate_outputs(np.full((50, 1), 0.2), np.zeros(50, int), "binary", LABELS[:2])
    missing = "no value for these rows: auc, pr_auc, kappa (all rows have one class)"
    assert missing in evaluation.notes
    assert evaluation.metrics["auc"].value is None
    assert evaluation.per_class[1].recall is None
    fixed = [note for note in evaluation.notes if note.startswith("no width, since all resamples")]
    assert len(fixed) == 1 and "accuracy" in fixed[0]


def test_outputs_that_are_not_finite_have_no_figures() -> None:
    outputs, y = outputs_of("regression", 50)
    outputs[3] = np.nan
    evaluation = evaluate_outputs(outputs, y, "regression", ())
    assert {each.value for each in evaluation.metrics.values()} == {None}
    assert evaluation.notes == ("outputs of 1 of 50 rows are not finite: there are no figures",)
    assert difference(outputs, outputs, y, "regression", "mae").value is None


def test_a_metric_with_only_a_function_is_resampled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, y = outputs_of("regression", 60)
    wanted = evaluate_outputs(outputs, y, "regression", ()).metrics["mae"]

    def mean_error(y: Any, predictions: Any, task: Task) -> float:
        return float(np.mean(np.abs(y - predictions)))

    slow = dataclasses.replace(METRICS["mae"], function=mean_error, weighted=None)
    monkeypatch.setitem(METRICS, "mae", slow)
    given = evaluate_outputs(outputs, y, "regression", ()).metrics["mae"]
    assert dataclasses.astuple(given) == pytest.approx(dataclasses.astuple(wanted))


def table() -> pd.DataFrame:
    """Rows that a FakeNetwork scores, with the label that is the most probable one to it."""
    size = np.linspace(-2, 2, 60).round(2)
    return pd.DataFrame({"size": size, "city": "Rome", "kind": np.where(size < 0, "a", "c")})


def test_a_model_is_evaluated_by_the_targets_of_its_rows() -> None:
    model, rows = Model(describe(), FakeNetwork(describe())), table()
    rows.loc[:4, "kind"] = "b"
    expected = model.evaluate(rows).metrics
    assert expected["accuracy"].value == pytest.approx(55 / 60)
    renamed = rows.rename(columns={"kind": "checked"})
    for given in (
        model.evaluate(renamed, "checked"),
        model.evaluate(rows.drop(columns="kind"), rows["kind"]),
        model.evaluate(rows, rows["kind"].tolist()),
    ):
        assert given.metrics == expected


def test_a_model_says_what_its_rows_are(caplog: pytest.LogCaptureFixture) -> None:
    rows = table()
    inputs = PREPARATION.prepare(rows).inputs
    network = dataclasses.replace(describe(), seen=RowSample.of([inputs]))
    evaluation = Model(network, FakeNetwork(network)).evaluate(rows.assign(city="Bergen"))
    assert not [note for note in evaluation.notes if "was trained" in note]
    assert len(caplog.messages) == 1  # none on the target, which is used
    assert "city: categories that no training row had" in caplog.messages[0]
    seen = Model(network, FakeNetwork(network)).evaluate(rows)
    assert "was trained or validated on 60 of these 60 rows" in seen.notes[-1]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (None, "no column 'kind' with the target"),
        ("other", "no column 'other' with the target"),
        (["a"] * 59, "has 60 rows and 59 targets"),
        (["d"] * 60, "holds 'd'"),
    ],
)
def test_targets_that_do_not_fit_are_refused(target: Any, problem: str) -> None:
    model = Model(describe(), FakeNetwork(describe()))
    with pytest.raises(DatasetError, match=problem):
        model.evaluate(table().drop(columns="kind"), target)


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="0 outputs for 0 targets"):
        evaluate_outputs(np.zeros((0, 1)), np.zeros(0), "regression", ())


def test_a_difference_is_that_of_the_same_rows() -> None:
    """Each network alone is known to 0.04 or so; which is better, on the same rows, to 0.01."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 500)
    better = np.where(draw.random(500) < 0.8, y, 1 - y)
    worse = better.copy()
    worse[:15] = 1 - y[:15]
    estimate = difference(better[:, None], worse[:, None], y, "binary", "accuracy")
    assert estimate.value == pytest.approx(np.mean(better == y) - np.mean(worse == y))
    assert estimate.low is not None and estimate.high is not None
    assert 0 < estimate.low < estimate.value < estimate.high < 0.05
    against_itself = difference(better[:, None], better[:, None], y, "binary", "auc")
    assert dataclasses.astuple(against_itself) == (0.0, 0.0, 0.0)
