"""A user's own metric: `my_file.py:function`, called as function(y_true, y_pred).

Its arrays are those of `metrics.compute`: y_true (n,) and y_pred (n, k) probabilities for k
classes, (n,) for two classes or a number; dicts by name of several heads. They are copies: the
function may change them. It returns one number. Knows no TensorFlow, so that a study can be created
with it quickly.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.errors import MetricError, first_line
from tuner.preparation.kinds import has_one_class
from tuner.study.messages import FunctionCode
from tuner.study.metrics import Task
from tuner.system.user_modules import error_place, stored_surroundings

_ARGUMENTS = "(y_true, y_pred)"
# A metric is tried with at most so many predicted values: 80 MB for a moment.
_MOST_VALUES = 10_000_000


class OwnMetric:
    """The function, run from the text that its study stores. It is loaded at the first call."""

    def __init__(self, code: FunctionCode) -> None:
        self._code = code
        self._function: Callable[..., Any] | None = None
        self._surroundings = stored_surroundings(code.path, code.text, code.modules, code.file)

    @property
    def _where(self) -> str:
        return f"{self._code.path}:{self._code.function}"

    def __call__(self, y_true: Any, predictions: Any) -> float:
        """Its value, perhaps not finite. Raises MetricError, with file and line, where the user's
        code raises, or returns no number."""
        # Its modules are only set up where it has any: that hides the modules of an own network.
        has_modules = bool(self._surroundings.modules)
        with self._errors():
            if self._function is None:
                with self._surroundings.entered():
                    self._function = self._load()
            with self._surroundings.entered() if has_modules else nullcontext():
                value = self._function(_copied(y_true), _copied(predictions))
        return self._number(value)

    def _load(self) -> Callable[..., Any]:
        module = ModuleType(f"tuner_user_metric_{self._code.function}")
        self._surroundings.run(self._code.text.encode(), module)
        function = getattr(module, self._code.function, None)
        if not callable(function):
            own = [name for name, value in vars(module).items() if _is_defined_in(value, module)]
            raise MetricError(
                f"{self._code.path}: no function {self._code.function!r}; it has "
                f"{', '.join(own) or 'none'}"
            )
        self._check_arguments(function)
        return function

    def _check_arguments(self, function: Callable[..., Any]) -> None:
        must = f"{self._where}: must take {_ARGUMENTS}"
        try:
            arguments = inspect.signature(function).bind(None, None).arguments
        except TypeError as error:
            raise MetricError(f"{must} ({error})") from error
        except ValueError:  # it has no signature
            return
        if list(arguments) == ["y_pred", "y_true"]:
            raise MetricError(f"{must}, in this order; it takes (y_pred, y_true)")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except MetricError:
            raise
        except (Exception, SystemExit) as error:
            where = error_place(error, self._surroundings.files) or self._where
            raise MetricError(f"{where}: {first_line(error)}") from error

    def _number(self, value: Any) -> float:
        if isinstance(value, str | bytes) or np.ndim(value) or not hasattr(value, "__float__"):
            kind = type(value).__name__
            raise MetricError(f"{self._where}: must return one number, it returned a {kind}")
        return float(value)

    def check(
        self,
        y_true: Any,
        task: Task,
        classes: int,
        heads: Mapping[str, tuple[Task, int]] | None = None,
    ) -> None:
        """Try it on these targets with made-up predictions. `heads`: of several, the task of each
        and how many classes it has; y_true is a dict then. Raises MetricError where it fails, or
        returns a number that is not finite."""
        if heads:
            rows = min((_rows_to_try(y_true[n], *of) for n, of in heads.items()), key=len)
            y: Any = {name: np.asarray(y_true[name])[rows] for name in heads}
            made_up: Any = {n: made_up_predictions(y[n], *of) for n, of in heads.items()}
        else:
            rows = _rows_to_try(y_true, task, classes)
            y = np.asarray(y_true)[rows]
            made_up = made_up_predictions(y, task, classes)
        value = self(y, made_up)
        if not math.isfinite(value):
            raise MetricError(
                f"{self._where}: returned {value} for made-up predictions of {len(rows)} "
                "validation rows; it must return a finite number"
            )


def _copied(values: Any) -> Any:
    """An array, or of several heads a dict of arrays, that the user's code may change."""
    if isinstance(values, Mapping):
        return {name: np.array(of_head) for name, of_head in values.items()}
    return np.array(values)


def _is_defined_in(value: Any, module: ModuleType) -> bool:
    return inspect.isfunction(value) and value.__module__ == module.__name__


def _rows_to_try(y_true: npt.NDArray[Any], task: Task, classes: int) -> npt.NDArray[np.intp]:
    """All rows, or of large data some, with a row of each class among them."""
    rows, most = len(y_true), _MOST_VALUES // max(1, classes)
    if rows <= most:
        return np.arange(rows)
    some = np.linspace(0, rows - 1, most).astype(np.intp)
    if not has_one_class(task):
        return some
    return np.union1d(some, np.unique(y_true, return_index=True)[1])


def made_up_predictions(y_true: npt.NDArray[Any], task: Task, classes: int) -> npt.NDArray[Any]:
    """Predictions as a network might make them, right more often than by chance. `classes`: how
    many there are."""
    draw = np.random.default_rng(0)
    if task == "regression":
        spread = float(np.std(y_true)) or 1.0
        # A shifted target is float64, and so are its predictions.
        dtype = np.result_type(y_true, np.float32)
        return np.asarray(y_true + draw.normal(scale=spread, size=y_true.shape), dtype)
    if task in ("binary", "multilabel"):
        chances = 0.8 * draw.random(y_true.shape) + 0.2 * y_true
        return np.asarray(chances, np.float32)
    weights = draw.random((len(y_true), classes)) + np.eye(classes)[y_true]
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
