"""Whether a network that was saved can be used: it is loaded again and scored on training rows.

So it is checked where TensorFlow runs already. MLflow's tracker relies on it.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tuner.errors import first_line

ROWS_CHECKED = 5
_TOLERANCE = 1e-3  # of the largest output: a fused program may round in another way


def find_problem(file: Path, inputs: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> str:
    """Why the network in the file must not be used; "" for one that gives the `outputs` (n, units)
    for the `inputs` (n, *input_shape). ROWS_CHECKED rows are enough."""
    try:
        loaded = keras.saving.load_model(file, compile=False)
        again = np.asarray(loaded(inputs, training=False))
    except Exception as error:
        return f"Keras could not load the saved network ({first_line(error)})"
    bound = _TOLERANCE * float(np.abs(outputs).max(initial=0.0))
    if not np.allclose(again, outputs, rtol=_TOLERANCE, atol=bound, equal_nan=True):
        return "the saved network gives other outputs than the one that was trained"
    return ""
