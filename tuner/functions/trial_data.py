"""The data that a function which trains by itself is given (`trial.data`)."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from tuner.data import Dataset, Split, open_dataset
from tuner.data.preparing import given_targets, network_inputs


@dataclass(frozen=True)
class TrialData:
    """The study's data, split and encoded: categories are columns of zeros and ones, gaps are
    filled. They are not scaled: a network scales its inputs itself, with a Normalization or a
    Rescaling layer, and then takes new rows as they are. The test split is not among them."""

    _dataset: Dataset

    @cached_property
    def x_train(self) -> Any:
        """Rows to train on, float32 (n, *input_shape). Of several inputs a dict by name."""
        return self._inputs(self._dataset.train)

    @cached_property
    def y_train(self) -> Any:
        """Their targets (n,): whole numbers from 0 for classes, else numbers in the data's
        units."""
        return given_targets(self._dataset, self._dataset.train)

    @cached_property
    def x_val(self) -> Any:
        """Rows to evaluate on, as `x_train`."""
        return self._inputs(self._dataset.validation)

    @cached_property
    def y_val(self) -> Any:
        """Their targets, as `y_train`."""
        return given_targets(self._dataset, self._dataset.validation)

    def _inputs(self, split: Split) -> Any:
        return network_inputs(self._dataset, split.x)

    @property
    def weights(self) -> Any:
        """How much each training row counts, (n,) float32; None where all count alike."""
        return self._dataset.train.weights

    @property
    def input_shape(self) -> Any:
        """The shape of one row."""
        return self._dataset.input_shape

    @property
    def outputs(self) -> Any:
        """How many numbers a network puts out for a row: one for each class, 1 for two classes or a
        number."""
        return self._dataset.outputs

    @property
    def task(self) -> str:
        """ "classes", "binary" or "regression"."""
        return self._dataset.task

    @cached_property
    def labels(self) -> tuple[Any, ...]:
        """What the classes are called, in the order of their numbers."""
        return tuple(self._dataset.labels)


@lru_cache(maxsize=1)
def prepared(folder: Path) -> Dataset:
    """The prepared data in a worker's folder, mapped from disk once."""
    return open_dataset(folder)


@lru_cache(maxsize=1)
def open_data(folder: Path) -> TrialData:
    """The same as a function sees them."""
    return TrialData(prepared(folder))
