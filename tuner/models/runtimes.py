"""The forms of saved networks by name, and loading an export as a `Model`.

To add a form: a file in `formats/`, a line in `FORMATS`.
"""

from pathlib import Path
from typing import Any, cast

from tuner.models.formats.export_format import Format
from tuner.models.formats.keras_format import KERAS
from tuner.models.formats.litert_format import LITERT
from tuner.models.formats.onnx_format import ONNX
from tuner.models.formats.saved_model_format import SAVED_MODEL, is_saved_model
from tuner.models.model import Model

FORMATS: dict[str, Format] = {
    "keras": KERAS,
    "savedmodel": SAVED_MODEL,
    "onnx": ONNX,
    "litert": LITERT,
}


def format_of(path: Path) -> Format | None:
    """The form of a file or folder, by its name or, for a folder, what it holds. None if it is in
    none of them."""
    if path.is_dir():
        return SAVED_MODEL if is_saved_model(path) else None
    return format_by_ending(path)


def format_by_ending(path: Path) -> Format | None:
    """The form whose files have the ending of this name."""
    forms = (form for form in FORMATS.values() if form.ending)
    return next((form for form in forms if path.suffix.lower() == form.ending), None)


def is_export(path: Path) -> bool:
    """Whether `load_export` is to load it: a SavedModel, an ONNX or a LiteRT file."""
    return format_of(path) not in (None, KERAS)


def load_export(path: Path, source: str | None = None) -> Model:
    """An export as a Model: its `predict` and `outputs` take raw rows. Its `keras_model` is no
    keras.Model, but has `predict_on_batch`. `source`: how messages name it.

    Raises ArtifactError, one line, for what is missing, changed, cut short or from elsewhere;
    UsageError where the runtime is not installed.
    """
    source = str(path) if source is None else source
    form = format_of(path)
    assert form is not None
    description, network = form.load(path, source)
    return Model(description, cast(Any, network))
