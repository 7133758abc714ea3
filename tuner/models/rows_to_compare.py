"""Rows on which a network and its export are compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.later_rows import open_rows
from tuner.errors import TunerError
from tuner.manage.trust import require_trusted
from tuner.models.model import Model
from tuner.preparation.predictions import count_rows, take_rows
from tuner.runner.study_files import check_data
from tuner.settings import Settings
from tuner.storage import look_into
from tuner.storage.studies import list_studies, load_study

# A thousand rows tell networks apart, and take a moment.
_MOST_ROWS = 1000


@dataclass(frozen=True, eq=False)
class ComparedRows:
    """`inputs`: prepared rows (n, *input_shape), at most 1000. `origin`: where they are from, for
    people."""

    inputs: npt.NDArray[Any]
    origin: str


def find_rows(model: Model, settings: Settings, rows: str | None) -> ComparedRows:
    """The first rows of the data source `rows`; without one, of the data of the network's study; if
    these are not at hand, rows that are made up.

    Raises DatasetError for a source that is not what the network takes.
    """
    if rows is not None:
        return _first_rows(model, settings, rows)
    try:
        source = _study_data(model, settings)
        if source is not None:
            return _first_rows(model, settings, source)
    except TunerError:
        pass  # moved, deleted or changed: no reason to refuse an export
    return make_rows(model)


def _first_rows(model: Model, settings: Settings, text: str) -> ComparedRows:
    description = model.description
    rows = open_rows(
        text,
        description.preparation,
        settings,
        description.task,
        description.labels,
        description.targets,
    )
    first = next(rows.blocks())
    some = take_rows(first.rows, 0, _MOST_ROWS)
    inputs = description.preparation.prepare(some, rows.source).inputs
    return ComparedRows(inputs, f"the first {count_rows(inputs)} rows of {text}")


def _study_data(model: Model, settings: Settings) -> str | None:
    """Where the data of the network's study lie. Raises TunerError where they are not at hand, or
    where reading them would run code that is not trusted here."""
    store = look_into(settings.storage)
    if store is None:
        return None
    try:
        if all(each.name != model.description.study for each in list_studies(store)):
            return None
        study = load_study(store, model.description.study)
    finally:
        store.close()
    if study.uuid != model.description.study_uuid:
        return None
    require_trusted(study.spec, settings)
    return check_data(settings, study.spec)[0].text


def make_rows(model: Model, count: int = 256) -> ComparedRows:
    """Made-up rows: of images and other arrays, values between those of the training rows; of
    tables, numbers that are standard normal once the network has scaled them, and categories."""
    preparation = model.description.preparation
    draws = np.random.default_rng(0)
    shape = (count, *preparation.input_shape)
    if preparation.value_range is not None:
        inputs = draws.uniform(*preparation.value_range, shape)
    else:
        inputs = _unscaled(model.keras_model, draws.normal(size=shape))
        start = 0
        for column in preparation.columns or ():
            end = start + len(column.features)
            if column.is_one_hot:
                chosen = draws.integers(0, end - start, count)
                inputs[:, start:end] = np.eye(end - start)[chosen]
            start = end
    made = inputs.astype(preparation.input_dtype)
    return ComparedRows(made, f"{count} made-up rows (the study's data are not at hand)")


def _unscaled(network: Any, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What the network's first layers scale to these values."""
    layers = {layer.name: layer for layer in network.layers}
    if "scaling" in layers:
        scale = np.asarray(layers["scaling"].scale, np.float64)
        values = (values - np.asarray(layers["scaling"].offset)) / np.where(scale, scale, 1.0)
    if "input_offset" in layers:
        values = values - np.asarray(layers["input_offset"].offset)
    return values
