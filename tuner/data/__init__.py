"""Data: a name or a file -> Dataset (arrays, split, scaling, fingerprint). Knows no TensorFlow."""

from tuner.data.column_reports import as_rows, in_brief
from tuner.data.dataset import (
    Dataset,
    Split,
    open_dataset,
    save_dataset,
)
from tuner.data.describe import describe, inputs_in_words
from tuner.data.load import load_dataset
from tuner.data.named import NAMES
from tuner.data.scaling import Scaling
from tuner.data.scratch import project_folder, scratch_place, scratch_wanted
from tuner.data.sources import Source, find_source, parse_source
from tuner.data.tables import Column, encode

__all__ = [
    "NAMES",
    "Column",
    "Dataset",
    "Scaling",
    "Source",
    "Split",
    "as_rows",
    "describe",
    "encode",
    "find_source",
    "in_brief",
    "inputs_in_words",
    "load_dataset",
    "open_dataset",
    "parse_source",
    "project_folder",
    "save_dataset",
    "scratch_place",
    "scratch_wanted",
]
