"""An evaluation's tables at the width of a terminal."""

from collections.abc import Sequence

import numpy as np
import pytest

from tuner.models.evaluations import Evaluation, evaluate_outputs
from tuner.reports.evaluation_tables import EvaluationTable, evaluation_tables

CLOTHES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Ankle boot"]


def evaluate(labels: Sequence[str]) -> Evaluation:
    """Of each label 5 rows; each label but the first is taken for the one before in 2 of them."""
    y = np.repeat(np.arange(len(labels)), 5)
    predicted = np.where(np.arange(len(y)) % 5 < 2, np.maximum(y - 1, 0), y)
    shares = np.eye(len(labels))[predicted] * 0.8 + 0.2 / len(labels)
    return evaluate_outputs(shares, y, "classes", labels, resamples=100)


def table(labels: Sequence[str], title: str, width: int | None = 80) -> EvaluationTable:
    tables = evaluation_tables(evaluate(labels), width)
    return next(each for each in tables if each.title.startswith(title))


def test_a_matrix_has_the_labels_as_columns_where_they_fit() -> None:
    confusion = table(CLOTHES, "confusion", 140)
    assert list(confusion.rows[0]) == ["true \\ predicted", *CLOTHES]
    assert list(confusion.rows[7].values()) == ["Ankle boot", 0, 0, 0, 0, 0, 0, 2, 3]


def test_it_has_their_numbers_where_they_do_not() -> None:
    confusion = table(CLOTHES, "confusion", 80)
    assert list(confusion.rows[0]) == ["true \\ predicted", *"12345678"]
    assert confusion.rows[7]["true \\ predicted"] == "8 Ankle boot"


@pytest.mark.parametrize("width", [80, None])
def test_of_many_labels_the_pairs_that_are_confused_are_shown(width: int | None) -> None:
    labels = [f"word {number:03}" for number in range(40)]
    pairs = table(labels, "the labels most often confused", width)
    assert pairs.rows[0] == {"true": "word 001", "predicted": "word 000", "rows": 2}
    assert len(pairs.rows) == 10
    worst = table(labels, "the 20 of 40 labels with the lowest f1", width)
    f1 = [row["f1"] for row in worst.rows]
    assert len(f1) == 20 and f1 == sorted(f1)


def test_a_network_that_is_always_right_confuses_nothing() -> None:
    y = np.arange(30) % 25
    evaluation = evaluate_outputs(
        np.eye(25)[y], y, "classes", [f"{i}" for i in range(25)], resamples=100
    )
    titles = [each.title for each in evaluation_tables(evaluation, 80)]
    assert "no row has a wrong label" in titles
