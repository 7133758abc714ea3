"""What a user's file may give Keras' `fit` beside its model: `callbacks(params)` and
`fit_arguments(params)`."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tuner.data import Dataset
from tuner.errors import NetworkError
from tuner.search_space.parameter_types import sort_by_similarity

# By argument, the kind of value that it takes.
ARGUMENTS: dict[str, type] = {
    "batch_size": int,
    "steps_per_epoch": int,
    "validation_batch_size": int,
    "shuffle": bool,
    "class_weight": dict,
}
# Those of Keras' fit that the study decides: what to write instead.
OWNED = {
    "x": "the study's data are given",
    "y": "the study's data are given",
    "epochs": "give --epochs, or the parameter epochs",
    "initial_epoch": "a trial goes on from its checkpoint by itself",
    "callbacks": "write callbacks(params), which returns a list",
    "validation_data": "the study's validation split is given",
    "validation_split": "the study's validation split is given (--validation)",
    "validation_freq": "each epoch is scored",
    "validation_steps": "the whole validation split is scored",
    "sample_weight": "name a column of weights (--weights)",
    "verbose": "the progress is shown by tuner",
}


def check_arguments(arguments: Any, where: str) -> dict[str, Any]:
    """The arguments that `fit_arguments(params)` returned. Raises NetworkError, in one line."""
    if not isinstance(arguments, Mapping):
        kind = type(arguments).__name__
        raise NetworkError(f"{where}: fit_arguments must return a dict, got {kind}")
    for name, value in arguments.items():
        if name in OWNED:
            raise NetworkError(f"{where}: fit_arguments gives {name!r}; {OWNED[name]}")
        if name not in ARGUMENTS:
            known = ", ".join(sort_by_similarity(str(name), ARGUMENTS))
            raise NetworkError(f"{where}: fit_arguments gives {name!r}; known: {known}")
        _check_value(name, value, where)
    return dict(arguments)


def _check_value(name: str, value: Any, where: str) -> None:
    kind = ARGUMENTS[name]
    is_fitting = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    if not is_fitting or (kind is int and value < 1):
        noun = {int: "a whole number from 1 on", bool: "True or False", dict: "a dict"}[kind]
        raise NetworkError(f"{where}: fit_arguments: {name} must be {noun}, got {value!r}")


def check_callbacks(callbacks: Any, where: str) -> list[Any]:
    """The callbacks that `callbacks(params)` returned. Raises NetworkError, in one line."""
    if not isinstance(callbacks, list | tuple):
        raise NetworkError(
            f"{where}: callbacks must return a list of keras.callbacks.Callback, got "
            f"{type(callbacks).__name__}"
        )
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise NetworkError(
                f"{where}: callbacks must return keras.callbacks.Callback objects, got "
                f"{type(callback).__name__}; write keras.callbacks.LambdaCallback around a function"
            )
    return list(callbacks)


def with_class_weight(
    weights: npt.NDArray[np.float32] | None, arguments: Mapping[str, Any], dataset: Dataset
) -> npt.NDArray[np.float32] | None:
    """The weights of the training rows, times Keras' `class_weight` {number of a class: weight}.
    Raises NetworkError where the data have no classes."""
    by_class = arguments.get("class_weight")
    if not by_class:
        return weights
    if dataset.task not in ("classes", "binary"):
        raise NetworkError(f"fit_arguments gives 'class_weight'; the task is {dataset.task}")
    y = np.asarray(dataset.train.y, np.int64)
    unknown = [number for number in by_class if not 0 <= int(number) < len(dataset.labels)]
    if unknown:
        raise NetworkError(
            f"fit_arguments: class_weight names class {unknown[0]!r}; classes are numbered from 0 "
            f"to {len(dataset.labels) - 1}"
        )
    factors = np.ones(len(dataset.labels), np.float32)
    for number, factor in by_class.items():
        factors[int(number)] = factor
    return factors[y] if weights is None else weights * factors[y]
