"""Whether a network that was saved can be used: it is loaded again and scored on training rows.

So it is checked where TensorFlow runs already. MLflow's tracker relies on it.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from tuner.errors import first_line

ROWS_CHECKED = 5
_TOLERANCE = 1e-3  # of the largest output: a fused program may round in another way


def find_problem(file: Path, inputs: Any, outputs: Any) -> str:
    """Why the network in the file must not be used; "" for one that gives the `outputs` (n, units)
    for the `inputs` (n, *input_shape). Both are dicts by name where there are several inputs or
    heads. ROWS_CHECKED rows are enough."""
    try:
        loaded = keras.saving.load_model(file, compile=False)
        again = loaded(inputs, training=False)
    except Exception as error:
        return f"Keras could not load the saved network ({first_line(error)})"
    if outputs_differ(outputs, again):
        return "the saved network gives other outputs than the one that was trained"
    return ""


def outputs_differ(outputs: Any, again: Any) -> bool:
    """Whether two networks give other values, but for rounding, in any head."""
    pairs = zip(keras.tree.flatten(outputs), keras.tree.flatten(again), strict=True)
    return not all(_are_close(np.asarray(first), np.asarray(second)) for first, second in pairs)


def _are_close(first: Any, second: Any) -> bool:
    bound = _TOLERANCE * float(np.abs(first).max(initial=0.0))
    return np.allclose(second, first, rtol=_TOLERANCE, atol=bound, equal_nan=True)
