"""A saved network as MLflow's general interface (pyfunc): raw rows in, predictions out.

MLflow imports this module from a logged model's own copy of this package, on machines that need not
have tuner.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.errors import TunerError
from tuner.preparation.keras_file import has_description, read_description
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.predictions import Network, network_outputs, predict_columns
from tuner.preparation.registered_layers import register_layers

if TYPE_CHECKING:
    import pandas as pd

NETWORK_FILE = "model.keras"


class ServedNetwork:
    """A network with its preparation."""

    def __init__(self, network: Network, description: NetworkDescription) -> None:
        self._network, self._description = network, description
        # Keras builds its function in the first call, and a server answers in threads.
        self._turn = threading.Lock()

    def get_raw_model(self) -> Network:
        """The network itself; it takes prepared rows."""
        return self._network

    def predict(self, data: Any, **_: Any) -> "pd.DataFrame":
        """A row of predictions for each row of `data`, with its index: the column `prediction`, and
        of classes `probability_LABEL` for each label.

        Raises MlflowException, which a server gives its client, for rows that are not what the
        network was trained on.
        """
        import pandas as pd

        description = self._description
        try:
            prepared = description.preparation.prepare(data)
        except TunerError as error:
            raise _for_client(error) from error
        with self._turn:
            outputs = network_outputs(self._network, prepared.inputs)
        columns = predict_columns(outputs, description.targets)
        return pd.DataFrame(columns, index=prepared.index_of(data))


def _for_client(error: TunerError) -> Exception:
    """The error as MLflow's server passes it on; of others it says nothing."""
    from mlflow.exceptions import MlflowException

    refused: Exception = MlflowException.invalid_parameter_value(str(error))
    return refused


class BareNetwork:
    """A network that an earlier version of tuner saved, without its preparation: prepared rows in,
    its outputs out."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def get_raw_model(self) -> Any:
        return self._network

    def predict(self, data: Any, **_: Any) -> Any:
        import pandas as pd

        table = data if isinstance(data, pd.DataFrame) else None
        rows = data if table is None else table.to_numpy()
        rows = np.asarray(rows, self._network.inputs[0].dtype)
        outputs = network_outputs(self._network, rows)
        return outputs if table is None else pd.DataFrame(outputs, index=table.index)


def _load_pyfunc(path: str, *_: Any) -> ServedNetwork | BareNetwork:
    """Called by MLflow. `path`: the folder of the network's file."""
    import keras

    file = Path(path) / NETWORK_FILE
    description = read_description(file) if has_description(file) else None
    if description is not None:
        register_layers(description.code)
    network = keras.saving.load_model(file, compile=False)
    return BareNetwork(network) if description is None else ServedNetwork(network, description)
