"""How much each training row counts in a trial's loss. Knows no TensorFlow.

A weight multiplies its row's loss, and a step takes the mean over the rows of its batch, as Keras'
`fit` does with `sample_weight`. Metrics and the split that is evaluated are not weighted. A trial's
weights are computed once, before its first step. To add a parameter that weighs rows: its entry in
the catalogue with the role ROW_WEIGHT, and in `ROW_WEIGHTS`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data import Dataset, weights_of_classes
from tuner.search_space.parameter_types import Role
from tuner.search_space.parameters import training_parameters

Weights = npt.NDArray[np.float32]


def _class_weight(value: str, dataset: Dataset) -> npt.NDArray[np.float64]:
    y = np.asarray(dataset.train.y, np.int32)
    return weights_of_classes(value, y, dataset.labels)[y]


# By parameter, the weight (n,) of each training row, from the parameter's value.
ROW_WEIGHTS: dict[str, Callable[[str, Dataset], npt.NDArray[np.float64]]] = {
    "class_weight": _class_weight,
}


def weighing_params(params: Mapping[str, Any]) -> dict[str, str]:
    """The params of a trial that weigh rows."""
    return {
        name: params[name]
        for name, parameter in training_parameters(Role.ROW_WEIGHT).items()
        if name in params and parameter.is_used(params[name])
    }


class RowWeights:
    """The weights of the training rows of a data set, by trial."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._values: dict[str, str] | None = None
        self._latest: Weights | None = None

    def of(self, params: Mapping[str, Any]) -> Weights | None:
        """The weights of a trial with these params, float32 (n,): those of the data set times those
        that the params ask for. None if all rows count alike."""
        values = weighing_params(params)
        if values != self._values:  # trials of one setting follow one another
            self._values, self._latest = values, self._computed(values)
        return self._latest

    def _computed(self, values: Mapping[str, str]) -> Weights | None:
        of_data = self._dataset.train.weights
        factors = [ROW_WEIGHTS[name](value, self._dataset) for name, value in values.items()]
        if of_data is None and not factors:
            return None
        product = np.ones(len(self._dataset.train)) if of_data is None else of_data
        for factor in factors:
            product = product * factor
        return np.asarray(product, np.float32)

    def ones_if_none(self, params: Mapping[str, Any]) -> Weights:
        """The same for a program that takes weights in any case."""
        weights = self.of(params)
        return np.ones(len(self._dataset.train), np.float32) if weights is None else weights
