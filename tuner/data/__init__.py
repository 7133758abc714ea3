"""Data: a name or a file -> Dataset (arrays, split, scaling, fingerprint). Knows no TensorFlow."""

from tuner.data.dataset import Dataset, Split, open_dataset, save_dataset
from tuner.data.description import as_rows, describe, in_brief, inputs_in_words
from tuner.data.load import load_dataset
from tuner.data.readers import find_source, parse_source
from tuner.data.readers.base import Source
from tuner.data.readers.bundled import NAMES
from tuner.data.rows import project_folder, scratch_place, scratch_wanted
from tuner.data.scaling import Scaling
from tuner.data.table_encoding import Column, encode

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
