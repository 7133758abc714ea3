"""Weights of classes against scikit-learn's, and the note on a class that prevails."""

from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from tuner.data import Dataset, Split, check_class_weights, imbalance_note, weights_of_classes
from tuner.data.scaling import IDENTITY
from tuner.errors import SpecError

LABELS = ("no", "True", "maybe")


def dataset_of(rows: list[int], weights: Any = None) -> Dataset:
    """So many training rows of each class."""
    y = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
    split = Split(np.zeros((len(y), 1), np.float32), y, weights)
    task: Any = "binary" if len(rows) == 2 else "classes"
    return Dataset(
        "toy", task, split, split, split, IDENTITY, IDENTITY, LABELS[: len(rows)], "0" * 64
    )


@pytest.mark.parametrize("rows", [[5, 1, 3], [50, 50], [1, 99]])
def test_weights_are_those_of_sklearn(rows: list[int]) -> None:
    y = dataset_of(rows).train.y
    labels, classes = LABELS[: len(rows)], np.arange(len(rows))
    for value, theirs in (("balanced", "balanced"), ("{True: 4}", {1: 4.0})):
        np.testing.assert_allclose(
            weights_of_classes(value, y, labels),
            compute_class_weight(theirs, classes=classes, y=y),
            rtol=1e-12,
        )


def test_a_class_without_training_rows_is_one_of_the_classes() -> None:
    y = dataset_of([5, 0, 10]).train.y
    np.testing.assert_allclose(weights_of_classes("balanced", y, LABELS), [1.0, 5.0, 0.5])


def test_labels_may_be_written_as_yaml_writes_them() -> None:
    y = dataset_of([2, 2]).train.y
    np.testing.assert_array_equal(weights_of_classes("{true: 3}", y, ("False", "True")), [1, 3])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "{yes: 3}",
            "class_weight names 'yes', which is no class; the classes are no, True, maybe",
        ),
        ("{may be: 3}", "is no class (did you mean 'maybe'?)"),
        ("{true: 3, True: 2}", "names class 'True' twice"),
        ("{no: 0, True: 0, maybe: 0.0}", "gives every training row the weight 0"),
    ],
)
def test_mappings_that_do_not_fit_are_refused(value: str, message: str) -> None:
    with pytest.raises(SpecError) as refusal:
        check_class_weights(["none", "balanced", value], dataset_of([5, 1, 3]))
    assert message in str(refusal.value)


def test_weights_that_leave_no_row_are_refused() -> None:
    of_rows = np.array([1, 1, 0, 0], np.float32)
    check_class_weights(["{no: 0}"], dataset_of([2, 2]))
    with pytest.raises(SpecError, match="gives every training row the weight 0"):
        check_class_weights(["{no: 0}"], dataset_of([2, 2], of_rows))


@pytest.mark.parametrize(
    ("rows", "objective", "note"),
    [
        ([93, 7], None, "93 % of the training rows are of class 'no'"),
        ([93, 7], "val_accuracy", "take --metric val_pr_auc or val_f1, and try --set class_weight"),
        ([2, 1, 97], "val_loss", "take --metric val_f1 or val_balanced_accuracy"),
        ([99_999, 1], None, "99.99 % of the training rows"),
        ([93, 7], "val_f1", None),
        ([93, 7], "val_pr_auc", None),
        ([90, 10], None, None),
        ([50, 50], None, None),
    ],
)
def test_a_prevailing_class_is_noted(rows: list[int], objective: Any, note: str | None) -> None:
    text = imbalance_note(dataset_of(rows), objective)
    if note is None:
        assert text is None
    else:
        assert text is not None
        assert note in text
        assert "\n" not in text


def test_a_study_with_class_weights_is_not_told_to_try_them() -> None:
    text = imbalance_note(dataset_of([93, 7]), weighs_classes=True)
    assert text is not None
    assert "class_weight" not in text
