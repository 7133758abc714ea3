"""`tuner export`: a network in another form, compared with the original by its own runtime."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.errors import ExportError, TunerError, UsageError, first_line
from tuner.models.formats.export_format import Format, RuntimeNetwork
from tuner.models.formats.saved_model_format import is_of_tuner
from tuner.models.model import Model
from tuner.models.model_opening import open_model
from tuner.models.rows_to_compare import ComparedRows, find_rows
from tuner.models.runtimes import FORMATS, format_by_ending
from tuner.preparation.kinds import Task
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.predictions import prediction_columns
from tuner.settings import Settings
from tuner.system.locations import exists, is_folder, path_problem
from tuner.system.redirecting import output_to
from tuner.system.temporary_folders import written_whole

# The largest difference between two runtimes, in parts of the outputs' range.
TOLERANCE = 1e-5
# Besides, large values near each other, such as pressures around 1013, may be rounded otherwise by
# some units in the last place; but never so much that it would be seen.
_LAST_PLACES, _MOST_ROUNDED = 4, 1e-4
_DISK_FULL = os.strerror(errno.ENOSPC)


@dataclass(frozen=True)
class Comparison:
    """An export's outputs beside Keras'. `difference`: the largest; `allowed`: what it may be.
    `rows`: which rows they are for, for people."""

    difference: float
    allowed: float
    rows: str


@dataclass(frozen=True)
class Export:
    """An export that gives the network's predictions.

    `size`: in bytes. `network`: as its runtime has loaded it. `description`: what it takes are
    prepared rows, (n, *input_shape). `remarks`: lines for the user.
    """

    path: Path
    form: Format
    size: int
    comparison: Comparison
    network: RuntimeNetwork
    description: NetworkDescription
    remarks: Sequence[str] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """What the columns of its input are, in order; empty where they have no names."""
        return self.description.preparation.features or ()

    @property
    def outputs(self) -> list[str]:
        """What the columns of its output are, in order."""
        columns = prediction_columns(self.description.targets)
        # Of two classes the network gives the probability of the second.
        return {"regression": columns, "binary": columns[-1:]}.get(
            self.description.task, columns[1:]
        )


def plan_export(
    text: str, form: str | None, output: Path | None, replace: bool = False
) -> tuple[Format, Path]:
    """The form and the path of an export of what `text` names, where one of them may be left out:
    the form is that of the path's ending, the path `text` with the form's ending. `replace`: an
    export that exists may be replaced.

    Raises UsageError where they do not fit together, or the path is not to be written to.
    """
    if form is None:
        if output is None or (chosen := format_by_ending(output)) is None:
            endings = ", ".join(f"{name} ({f.ending or 'a folder'})" for name, f in FORMATS.items())
            raise UsageError(f"say in which form: --format with one of {endings}")
    else:
        chosen = FORMATS[form]
    path = output or _default_path(text, chosen)
    _check_path(text, chosen, path, replace)
    return chosen, path


def _default_path(text: str, form: Format) -> Path:
    stem = Path(text).stem if exists(Path(text)) else text.partition(":/")[2] or text
    words = "".join(c if c.isalnum() or c in "-_." else "-" for c in stem).strip("-.")
    return Path(f"{words or 'network'}{form.ending or '.savedmodel'}")


def _check_path(text: str, form: Format, path: Path, replace: bool) -> None:
    if form.ending and path.suffix != form.ending:
        raise UsageError(f"{path}: the file's name must end in {form.ending}")
    if not form.ending and format_by_ending(path) is not None:
        raise UsageError(f"{path}: a {form.title} is a folder; leave out {path.suffix}")
    if not is_folder(path.parent):
        raise UsageError(f"{path}: the folder {path.parent} does not exist")
    if problem := path_problem(path):
        raise UsageError(f"{path}: cannot be written: {problem}")
    if exists(Path(text)) and path.exists() and path.samefile(text):
        raise UsageError(f"{path}: is the network itself; choose another path")
    if not path.exists():
        return
    may_be_replaced = path.is_file() if form.ending else path.is_dir() and is_of_tuner(path)
    if not may_be_replaced:
        raise UsageError(f"{path}: exists, and is no {form.title} of tuner's; choose another path")
    if not replace:
        raise UsageError(f"{path}: exists already; --force replaces it")


def write_export(
    text: str,
    form: Format,
    path: Path,
    settings: Settings,
    rows: str | None = None,
    trust: Sequence[str] = (),
) -> Export:
    """Write the network that `text` names (see `opening`) to `path` in that form. `rows`: a data
    source to compare it on. `trust`: SHA-256 of the user's own files that may run here.

    Raises what `open_model` raises, DatasetError for rows that are not what the network takes, and
    ExportError for a network that the form cannot hold, or whose export is another network: then
    nothing is written.
    """
    form.check_installed()
    opened = open_model(text, settings, trust)
    model = opened.model
    if isinstance(model.keras_model, RuntimeNetwork):
        raise UsageError(f"{text}: is an export already; export the .keras file that it is from")
    _check_exportable(model, text)
    compared = find_rows(model, settings, rows)
    try:
        with written_whole(path) as written:  # and checked, before it takes its place
            network, comparison = _write_and_compare(model, form, written, path, compared)
            size = _size(written)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from error
    return Export(path, form, size, comparison, network, model.description, opened.remarks)


def _check_exportable(model: Model, text: str) -> None:
    """Raises ExportError for several inputs or heads: an export has one array of each."""
    network = model.description
    counts = [(len(network.preparation.inputs), "inputs"), (len(network.heads), "heads")]
    if words := " and ".join(f"{count} {what}" for count, what in counts if count):
        raise ExportError(
            f"{text}: has {words}, an export has one of each; use the .keras file itself, or the "
            "model in MLflow"
        )


def _write_and_compare(
    model: Model, form: Format, written: Path, path: Path, compared: ComparedRows
) -> tuple[RuntimeNetwork, Comparison]:
    expected = model.outputs_of_prepared(compared.inputs)
    with output_to(None):  # Keras, TensorFlow and tf2onnx print as they convert
        try:
            form.save(model.keras_model, model.description, written)
        except ExportError as error:
            raise ExportError(f"{path}: {error}; nothing was written") from error
        except (OSError, TunerError):
            raise
        except Exception as error:
            if _DISK_FULL in str(error):  # TensorFlow's own error
                raise OSError(errno.ENOSPC, _DISK_FULL) from error
            raise ExportError(
                f"{path}: Keras cannot export this network as {form.title} ({first_line(error)})"
            ) from error
        try:
            _, network = form.load(written, str(path))
            outputs = predict_in_batches(network, compared.inputs)
        except Exception as error:
            raise ExportError(
                f"{path}: {form.runtime} cannot run the exported network ({first_line(error)}); "
                "nothing was written"
            ) from error
    difference, allowed = compare_outputs(expected, outputs, model.description.task)
    if not difference <= allowed:
        raise ExportError(
            f"{path}: {form.runtime} and Keras differ by {difference:.3g} on {compared.origin}; "
            f"{allowed:.1g} is allowed; nothing was written"
        )
    return network, Comparison(difference, allowed, compared.origin)


def predict_in_batches(network: RuntimeNetwork, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Outputs for rows (n, *input_shape), in batches of several sizes: one row, some, the rest."""
    bounds = [0, 1, 1 + len(inputs) // 3, len(inputs)]
    batches = [inputs[start:end] for start, end in pairwise(bounds) if end > start]
    return np.concatenate([network.predict_on_batch(batch) for batch in batches])


def compare_outputs(
    expected: npt.NDArray[Any], outputs: npt.NDArray[Any], task: Task
) -> tuple[float, float]:
    """The largest difference, infinite for other shapes, and what it may be: 1e-5 of the outputs'
    range, which is 1 for probabilities; for values what rounding adds to it."""
    if outputs.shape != expected.shape:
        return np.inf, TOLERANCE
    difference = float(np.abs(outputs.astype(np.float64) - expected).max())
    if task != "regression":
        return difference, TOLERANCE
    span, largest = float(np.ptp(expected)), float(np.abs(expected).max())
    rounding = _LAST_PLACES * float(np.finfo(outputs.dtype).eps) * largest
    # Of equal values there is no range.
    return difference, TOLERANCE * span + (
        min(rounding, _MOST_ROUNDED * span) if span else rounding
    )


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
