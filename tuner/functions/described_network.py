"""The description of a network that a function has trained on the study's data and saved, so that
`tuner predict` takes new rows as they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.data import Dataset
from tuner.data.preparing import describe_network
from tuner.functions.trial_data import prepared
from tuner.preparation.keras_file import has_own_parts, write_description
from tuner.study.messages import FunctionCode, TrialRequest, WorkerSetup
from tuner.study.spec import beside


def describe(model: Any, file: Path, setup: WorkerSetup, request: TrialRequest) -> None:
    """Add the description to a .keras file. A network that takes other inputs than the data's rows,
    or has other outputs, was made for something else, and gets none."""
    assert setup.data is not None and setup.code is not None
    dataset = prepared(setup.data)
    if not _fits(model, dataset):
        return
    own_code = _texts(setup.code) if has_own_parts(file) else {}
    description = describe_network(
        dataset, request.goal.metric, setup.study, request.number, own_code
    )
    write_description(file, description)


def _fits(model: Any, dataset: Dataset) -> bool:
    has = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    return has == (_batches(dataset.input_shape), _batches(dataset.outputs))


def _batches(of: Any) -> Any:
    """The shape of batches, from that of a row, or from a number; of several a dict."""
    if isinstance(of, Mapping):
        return {name: _batches(each) for name, each in of.items()}
    return (None, of) if isinstance(of, int) else (None, *of)


def _texts(code: FunctionCode) -> dict[str, str]:
    """Path and text of the function's file, then of the modules that it imports."""
    modules = {beside(code.path, name): text for name, text in code.modules or ()}
    return {code.path: code.text} | modules
