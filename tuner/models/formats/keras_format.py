"""A .keras file: Keras' own form, which `tuner study best --save` writes too."""

from pathlib import Path
from typing import TYPE_CHECKING

from tuner.models.formats.export_format import Format, RuntimeNetwork
from tuner.models.model import load_file
from tuner.preparation.keras_file import write_description
from tuner.preparation.network_description import NetworkDescription

if TYPE_CHECKING:
    import keras


def _save(network: "keras.Model", description: NetworkDescription, path: Path) -> None:
    network.save(path)
    write_description(path, description)


def _load(path: Path, source: str) -> tuple[NetworkDescription, RuntimeNetwork]:
    model = load_file(path, source)
    network = model.keras_model
    names = RuntimeNetwork(network.predict_on_batch, network.inputs[0].name, "output")
    return model.description, names


KERAS = Format("Keras", ".keras", "its fresh copy", _save, _load)
