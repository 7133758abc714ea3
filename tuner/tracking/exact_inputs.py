"""What MLflow loads a network with that takes float64 (`Dataset.shift`): Keras' own predict() makes
NumPy's float64 float32, before the network has subtracted anything.

The code goes into the logged model: who loads it need not have tuner.
"""

from pathlib import Path
from typing import Any

MODULE = "exact_inputs"
FOLDER = "code"

_CODE = '''"""Gives this network float64 inputs: Keras' own predict() would make them float32."""

import os

import keras
import numpy as np
import pandas as pd

BATCH = 1024


class Network:
    def __init__(self, model):
        self.model = model

    def get_raw_model(self):
        return self.model

    def predict(self, data, **_):
        table = data if isinstance(data, pd.DataFrame) else None
        rows = np.asarray(data if table is None else table.to_numpy(), "float64")
        batches = [rows[start : start + BATCH] for start in range(0, max(1, len(rows)), BATCH)]
        result = np.concatenate([self.model.predict_on_batch(batch) for batch in batches])
        return result if table is None else pd.DataFrame(result, index=table.index)


def _load_pyfunc(path, *_, **__):
    return Network(keras.saving.load_model(os.path.join(path, "model.keras")))
'''


def add_to(model: Any, folder: Path, data: str) -> None:
    """Make `model` (MLflow's), in its folder, one that pyfunc loads so."""
    from mlflow import pyfunc

    (folder / FOLDER).mkdir()
    (folder / FOLDER / f"{MODULE}.py").write_text(_CODE)
    pyfunc.add_to_model(
        model,
        loader_module=MODULE,
        data=data,
        code=FOLDER,
        conda_env="conda.yaml",
        python_env="python_env.yaml",
    )
