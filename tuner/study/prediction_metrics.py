"""Metrics computed by scikit-learn from the predictions for a split: the functions of METRICS.

Each takes y_true, predictions and the task, as `metrics.compute` describes them; all predictions
are finite. NaN: the metric is undefined on this split. scikit-learn is imported inside them, since
its import takes a second.

Of two classes, the metrics of one class are those of the second. Of several classes they are the
mean over the classes, each with the same weight (macro). Of a regression with k values, y_true and
predictions (n, k), they are the mean over the values. Of several labels a row, (n, k), a label is
given from a probability of 0.5 on.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tuner.preparation.kinds import Task as Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Truth = npt.NDArray[Any]
    Predictions = npt.NDArray[np.float32]


def area_under_roc(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The area under the ROC curve (Fawcett, 2006). Of several classes the mean of each class
    against all others, over the classes that the split has. NaN if it has only one."""
    from sklearn.metrics import roc_auc_score

    if y_true.size == 0 or y_true.min() == y_true.max():
        return math.nan
    return _mean_over_classes(roc_auc_score, y_true, predictions, task)


def average_precision(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The area under the precision-recall curve, as average precision: the mean of the precisions
    at each threshold, weighted by the increase in recall (Davis and Goadrich, 2006). Of several
    classes the mean over the classes that the split has. NaN if two-class data lack the second."""
    from sklearn.metrics import average_precision_score

    if task == "binary" and not y_true.any():
        return math.nan
    return _mean_over_classes(average_precision_score, y_true, predictions, task)


def _mean_over_classes(score: Any, y_true: Truth, predictions: Predictions, task: Task) -> float:
    import numpy as np

    if task == "binary":
        return float(score(y_true, predictions))
    classes = np.unique(y_true)
    return float(np.mean([score(y_true == each, predictions[:, each]) for each in classes]))


def f1(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The harmonic mean of precision and recall; 0 where both are 0."""
    from sklearn.metrics import f1_score

    return _of_labels(f1_score, y_true, predictions, task)


def precision(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The share of right ones among the rows predicted as a class; 0 if there are none."""
    from sklearn.metrics import precision_score

    return _of_labels(precision_score, y_true, predictions, task)


def recall(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The share of a class' rows that are predicted as it; 0 if there are none."""
    from sklearn.metrics import recall_score

    return _of_labels(recall_score, y_true, predictions, task)


def _of_labels(score: Any, y_true: Truth, predictions: Predictions, task: Task) -> float:
    # The mean is over the classes that the split has or that are predicted.
    average = "binary" if task == "binary" else "macro"
    labels = _predicted_labels(predictions, task)
    return float(score(y_true, labels, average=average, zero_division=0.0))


def balanced_accuracy(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The mean recall of the classes that the split has (Brodersen et al., 2010)."""
    from sklearn.metrics import balanced_accuracy_score

    with _no_warnings():  # of predicted classes that the split lacks
        return float(balanced_accuracy_score(y_true, _predicted_labels(predictions, task)))


def cohen_kappa(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The agreement beyond chance (Cohen, 1960). NaN if all rows have, and are given, one class."""
    from sklearn.metrics import cohen_kappa_score

    with _no_warnings():
        return float(cohen_kappa_score(y_true, _predicted_labels(predictions, task)))


def _predicted_labels(predictions: Predictions, task: Task) -> npt.NDArray[Any]:
    return (predictions > 0.5).astype("int32") if task == "binary" else predictions.argmax(axis=-1)


def log_loss(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The mean negative logarithm (natural) of the true class' probability, which is at least
    float32's epsilon, 1.2e-7: so a certain error costs 15.9. Rows are scaled to sum to 1."""
    import numpy as np
    from sklearn.metrics import log_loss as sklearn_log_loss

    chances = predictions.astype(np.float64)
    if task == "binary":
        chances = np.stack([1.0 - chances, chances], axis=1)
    epsilon = float(np.finfo(np.float32).eps)
    chances = np.clip(chances, epsilon, 1.0 - epsilon)
    chances /= chances.sum(axis=1, keepdims=True)
    return float(sklearn_log_loss(y_true, chances, labels=range(chances.shape[1])))


def top_5_accuracy(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The share of rows whose class is among the five most probable."""
    from sklearn.metrics import top_k_accuracy_score

    labels = range(predictions.shape[1])
    return float(top_k_accuracy_score(y_true, predictions, k=5, labels=labels))


def f1_macro(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The mean over the labels of each one's F1; 0 for a label that no row has or is given."""
    from sklearn.metrics import f1_score

    chosen = (predictions > 0.5).astype("int32")
    return float(f1_score(y_true, chosen, average="macro", zero_division=0.0))


def f1_micro(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """F1 of all labels of all rows together: common labels count more."""
    from sklearn.metrics import f1_score

    chosen = (predictions > 0.5).astype("int32")
    return float(f1_score(y_true, chosen, average="micro", zero_division=0.0))


def r2(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The share of the target's variance that is explained: 1 is perfect, 0 as good as the mean,
    below 0 worse. Where all targets are equal: 1 if all predictions are exact, else 0."""
    from sklearn.metrics import r2_score

    return float(r2_score(y_true, predictions)) if len(y_true) > 1 else math.nan


def mean_absolute_percentage_error(y_true: Truth, predictions: Predictions, task: Task) -> float:
    """The mean of |error / target|. NaN if a target is 0: no share of it exists."""
    from sklearn.metrics import mean_absolute_percentage_error as sklearn_mape

    return float(sklearn_mape(y_true, predictions)) if y_true.all() else math.nan


@contextmanager
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
