"""Classes of unequal size: how much each is to count in training, and a note where one prevails."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tuner.data.dataset import Dataset
from tuner.errors import SpecError
from tuner.preparation.kinds import has_one_class
from tuner.search_space.class_weights import is_mapping, parse_weights
from tuner.study.metrics import METRICS, name_of
from tuner.values import join_names, suggest_names

# Above this share of the training rows, guessing one class alone looks like a good network.
_PREVAILING = 0.9

_Floats = npt.NDArray[np.float64]


def weights_of_classes(value: str, y: npt.NDArray[np.integer], labels: Sequence[str]) -> _Floats:
    """The weight (k,) of each class, for the parameter's value: `balanced`, or a mapping as text.

    `y`: the classes (n,) of the training rows. balanced: n / (k * rows of the class), as
    scikit-learn defines it (King and Zeng, 2001). A class that a mapping does not name counts 1.
    Raises SpecError for a label that is no class.
    """
    rows = np.bincount(y, minlength=len(labels))
    if not is_mapping(value):
        return len(y) / (len(labels) * np.maximum(rows, 1).astype(np.float64))
    weights = np.ones(len(labels))
    for label, weight in _by_label(parse_weights(value), labels).items():
        weights[labels.index(label)] = weight
    return weights


def check_class_weights(values: Iterable[object], dataset: Dataset) -> None:
    """Raises SpecError for a mapping, among the values of a parameter, that names what is no class
    of the data, or that gives every training row the weight 0."""
    if not has_one_class(dataset.task):
        return  # such spaces have no weights of classes
    y, of_rows = np.asarray(dataset.train.y, np.int32), dataset.train.weights
    for value in values:
        if isinstance(value, str) and is_mapping(value):
            weights = weights_of_classes(value, y, dataset.labels)
            if not np.bincount(y, of_rows, len(weights)) @ weights > 0:
                raise SpecError(f"class_weight {value} gives every training row the weight 0")


def _by_label(weights: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """The weights by the data's own labels: a file may say true for the label True."""
    same = {label.casefold(): label for label in labels}
    by_label: dict[str, float] = {}
    for name, weight in weights.items():
        label = name if name in labels else same.get(name.casefold())
        if label is None:
            raise SpecError(
                f"class_weight names {name!r}, which is no class{suggest_names(name, labels)}; "
                f"the classes are {join_names(labels)}"
            )
        if label in by_label:
            raise SpecError(f"class_weight names class {label!r} twice")
        by_label[label] = weight
    return by_label


def imbalance_note(
    dataset: Dataset, objective: str | None = None, weighs_classes: bool = False
) -> str | None:
    """A line that one class has more than 90 % of the training rows, and what to do; None if none
    has, or if the study's objective counts every class. `weighs_classes`: whether the study has
    class weights already."""
    if not has_one_class(dataset.task) or (objective and not _counts_by_rows(objective)):
        return None
    rows = np.bincount(dataset.train.y, minlength=len(dataset.labels))
    largest, share = int(rows.argmax()), float(rows.max() / rows.sum())
    if share <= _PREVAILING:
        return None
    metrics = ("val_pr_auc", "val_f1") if len(rows) == 2 else ("val_f1", "val_balanced_accuracy")
    weigh = "" if weighs_classes else ", and try --set class_weight=balanced"
    return (
        f"{_percent(share)} of the training rows are of class {dataset.labels[largest]!r}: "
        f"accuracy says little; take --metric {metrics[0]} or {metrics[1]}{weigh}"
    )


def _counts_by_rows(objective: str) -> bool:
    metric = METRICS.get(name_of(objective))  # None: the user's own
    return metric is not None and metric.by_rows


def _percent(share: float) -> str:
    """A share as it is, never rounded up to all rows."""
    return f"{min(100 * share, 99.99):.4g} %"
