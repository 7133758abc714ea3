"""Data: a name or a file -> Dataset (arrays, split, scaling, fingerprint). Knows no TensorFlow."""

from tuner.data.class_balance import check_class_weights, imbalance_note, weights_of_classes
from tuner.data.dataset import Dataset, Split
from tuner.data.dataset_files import open_dataset, save_dataset
from tuner.data.description import (
    describe_dataset,
    describe_inputs,
    summarize_columns,
    tabulate_columns,
)
from tuner.data.image_cache import unused_images
from tuner.data.load import load_dataset
from tuner.data.preparing import preparation_of
from tuner.data.readers import find_source, parse_source
from tuner.data.readers.bundled import NAMES
from tuner.data.readers.reader import Source
from tuner.data.rows import make_scratch_folder, project_folder, scratch_folder
from tuner.data.scaling import Scaling
from tuner.preparation.encoding import Column

__all__ = [
    "NAMES",
    "Column",
    "Dataset",
    "Scaling",
    "Source",
    "Split",
    "check_class_weights",
    "describe_dataset",
    "describe_inputs",
    "find_source",
    "imbalance_note",
    "load_dataset",
    "make_scratch_folder",
    "open_dataset",
    "parse_source",
    "preparation_of",
    "project_folder",
    "save_dataset",
    "scratch_folder",
    "summarize_columns",
    "tabulate_columns",
    "unused_images",
    "weights_of_classes",
]
