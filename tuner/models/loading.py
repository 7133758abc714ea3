"""`tuner.load_model`: a saved network that takes data as they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.errors import ArtifactError, first_line
from tuner.preparation.keras_file import read_description
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.predictions import predict_columns
from tuner.preparation.preparation import Findings
from tuner.settings import Settings, quiet_tensorflow
from tuner.system.logs import stderr_muted

if TYPE_CHECKING:
    import keras
    import pandas as pd

_ROWS_AT_ONCE = 1024


class Model:
    """A network with its preparation.

    Attributes:
        description: what the file says of it.
        keras_model: the network itself; it takes prepared rows, not scaled.
        findings: what the rows of the last call have shown: gaps, unseen categories.
    """

    def __init__(self, description: NetworkDescription, keras_model: "keras.Model") -> None:
        self.description = description
        self.keras_model = keras_model
        self.findings = Findings()

    def outputs(self, rows: Any, source: str = "data") -> npt.NDArray[Any]:
        """What the network gives for raw rows: (n, classes) probabilities, (n, 1) the probability
        of the second of two labels, or (n, 1) values in the target's units.

        Raises DatasetError for rows that are not what the network was trained on.
        """
        prepared = self.description.preparation.prepare(rows, source)
        self.findings = prepared.findings
        return self.outputs_of_prepared(prepared.inputs)

    def outputs_of_prepared(self, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What the network gives for rows (n, *input_shape) that are prepared already."""
        # Not `predict`: Keras' own turns NumPy's float64 into float32.
        starts = range(0, max(1, len(inputs)), _ROWS_AT_ONCE)
        blocks = [
            self.keras_model.predict_on_batch(inputs[start : start + _ROWS_AT_ONCE])
            for start in starts
        ]
        return np.concatenate(blocks)

    def predict(self, rows: Any) -> "pd.DataFrame":
        """Predictions for raw rows, a DataFrame with one row each and the index of `rows`.

        Args:
            rows: a DataFrame with the columns of the training data, in any order, with or without
                the target; or an array (n, *input_shape), or one row of that shape.

        Returns:
            Of classes the column `prediction`, the most probable label, and `probability_LABEL` for
            each label; of regression `prediction`, in the target's units.

        Raises:
            DatasetError: rows that are not what the network was trained on.
        """
        import pandas as pd

        outputs = self.outputs(rows)
        columns = predict_columns(outputs, self.description.task, self.description.labels)
        return pd.DataFrame(columns, index=getattr(rows, "index", None))


def load_file(
    file: Path,
    source: str | None = None,
    *,
    settings: Settings | None = None,
    trust: Sequence[str] = (),
) -> Model:
    """The network of a .keras file that tuner saved. `source`: how messages name it. `settings`:
    where trusted code is remembered; the environment's without it. `trust`: SHA-256 of the user's
    own files that may run here.

    Raises ArtifactError, one line, for a file that is missing, changed, cut short, or from
    elsewhere.
    """
    description = read_description(file, source)
    quiet_tensorflow()
    with stderr_muted():  # TensorFlow's start-up notes
        import keras

        try:
            network = keras.saving.load_model(file, compile=False)
        except Exception as error:
            raise ArtifactError(
                f"{source or file}: Keras cannot load it ({first_line(error)})"
            ) from error
    return Model(description, network)
