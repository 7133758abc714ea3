"""What a model card says, and what of it fits into MLflow's description."""

from dataclasses import replace

import numpy as np
import pytest

from tuner.data.dataset import Dataset, Split
from tuner.data.scaling import IDENTITY
from tuner.models.evaluations import Estimate, evaluate_outputs
from tuner.models.final_networks import TrainingFacts
from tuner.models.model_cards import (
    CardContent,
    figure_in_words,
    gap_in_words,
    model_card,
    shortened_card,
)
from tuner.models.own_figures import own_difference, own_figure
from tuner.search_space import make_space
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow
from tuner.study.spec import DataSpec, StudySpec

FACTS = TrainingFacts(epochs=7, seconds=1.5, engine="graph", parameter_count=1234, readings=None)
CLASSES = ("cat", "do|g", "<b>owl</b>")


def dataset(task: str, labels: tuple[str, ...]) -> Dataset:
    split = Split(np.zeros((30, 4), np.float32), np.arange(30, dtype=np.int32) % 3)
    return Dataset("pets", task, split, split, split, IDENTITY, IDENTITY, labels, "f" * 64)  # type: ignore[arg-type]


def content(task: str = "classes", labels: tuple[str, ...] = CLASSES) -> CardContent:
    metric = "mae" if task == "regression" else "accuracy"
    spec = StudySpec(
        space=make_space("mlp", {"epochs": 9}),
        data=DataSpec(source="pets.csv", task=task),  # type: ignore[arg-type]
        fingerprint="f" * 64,
        train_rows=30,
        task=task,  # type: ignore[arg-type]
        metric=f"val_{metric}",
        direction="minimize" if task == "regression" else "maximize",
    )
    study = StudyRow(1, "0" * 32, "pets", spec.model_dump_json(), "pets", None)
    trial = TrialRow(1, 4, "COMPLETE", 0.5, spec.space.resolve({}), [])
    y = np.arange(30) % 3
    outputs = np.eye(3, dtype=np.float32)[(y + (np.arange(30) == 0)) % 3] * 0.9 + 0.03
    if task == "regression":
        y, outputs = y.astype(np.float32), y[:, np.newaxis] + np.float32(0.5)
    evaluation = evaluate_outputs(outputs, y, task, labels, resamples=100)  # type: ignore[arg-type]
    figures = {metric: evaluation.metrics[metric]} | evaluation.metrics
    return CardContent(
        "pets", study, trial, dataset(task, labels), evaluation, figures, FACTS, comparison=None
    )


def test_a_card_of_classes() -> None:
    told = replace(FACTS, readings="the test split of these data was read once before")
    card = model_card(replace(content(), facts=told, comparison="this network beats the champion"))
    assert "**Test accuracy: 96.67 % (95 % interval" in card
    assert "The test split of these data was read once before.\n" in card
    assert "This network beats the champion.\n" in card
    assert "| do\\|g | 0 | 10 | 0 |" in card  # of the confusion matrix
    assert "<b>" not in card.replace("\\<b>", "")
    assert "| epochs | 7 |" in card
    assert f"- fingerprint: {'f' * 64}" in card
    assert "- rows: 30 train, 30 validation, 30 test" in card
    assert 'tuner.load_model("models:/pets@champion").predict(rows)' in card
    sections = [line for line in card.splitlines() if line.startswith("## ")]
    assert sections == [
        "## How to use it",
        "## Figures on the test rows",
        "## Classes",
        "## Confusion matrix",
        "## Data",
        "## Training",
        "## Environment",
    ]


def test_a_card_of_regression() -> None:
    card = model_card(content("regression", ()))
    assert "**Test mae: 0.5000" in card
    assert "## Errors" in card
    assert "## Confusion matrix" not in card


def test_many_labels_show_the_most_common_mistakes() -> None:
    labels = tuple(f"label {number}" for number in range(20))
    y = np.arange(40) % 20
    outputs = np.eye(20, dtype=np.float32)[np.where(y == 3, 4, y)]
    evaluation = evaluate_outputs(outputs, y, "classes", labels, resamples=100)
    card = model_card(replace(content(), evaluation=evaluation))
    assert "| label 3 | label 4 | 2 |" in card


def test_a_description_is_cut_between_sections() -> None:
    card = model_card(content())
    short = shortened_card(card, 900, "MODEL_CARD.md of run 1")
    assert len(short) <= 900
    assert short.endswith("The whole card is MODEL_CARD.md of run 1.\n")
    assert "## How to use it" in short and "## Environment" not in short
    assert shortened_card(card, len(card), "nowhere") == card
    assert len(shortened_card("x" * 2000, 500, "there")) <= 500


def test_figures_in_words() -> None:
    assert figure_in_words("accuracy", Estimate(0.9, 0.85, 0.95)) == (
        "90.00 % (95 % interval 85.00 to 95.00 %)"
    )
    assert figure_in_words("auc", Estimate(None, None, None)) == "–"
    assert gap_in_words("accuracy", Estimate(0.01, -0.005, 0.02)) == (
        "+1 points (95 % interval -0.5 to 2)"
    )


def test_a_metric_of_the_users_own() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 400)
    good, bad = (
        np.clip(y + generator.normal(0, noise, 400), 0, 1)[:, np.newaxis] for noise in (0.3, 0.9)
    )

    def distance(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return float(np.abs(y_true - y_pred).mean())

    figure = own_figure(distance, good, y, "binary")
    assert figure.value == pytest.approx(np.abs(good[:, 0] - y).mean())
    assert figure.low is not None and figure.high is not None
    assert figure.low < figure.value < figure.high
    # By the central limit: the standard error of a mean.
    error = 1.96 * np.abs(good[:, 0] - y).std() / 20
    assert figure.high - figure.low == pytest.approx(2 * error, rel=0.25)
    gap = own_difference(distance, good, bad, y, "binary")
    assert gap.high is not None and gap.high < 0
