"""Data from memory, written once beside the study, where workers and later sessions find them."""

import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tuner.api.functions import code_reference
from tuner.data import parse_source
from tuner.data.raw import first_line, join_names
from tuner.errors import DatasetError, UsageError
from tuner.manage.kept_files import HASH_LENGTH, kept_folder, path_in_project, written_at_once
from tuner.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

_FORMS = (
    "a source such as 'digits' or 'file.csv:target', (x, y), ((x_train, y_train), "
    "(x_test, y_test)), a mapping with the keys of an .npz, a DataFrame, or a function"
)
_BLOCK_BYTES = 2**24
# Of an archive's members: equal arrays make equal files, whenever they are written.
_DATE = (1980, 1, 1, 0, 0, 0)


def data_source(data: Any, target: Any, settings: Settings) -> str:
    """The source, as `--data` takes it, of data given in Python.

    Args:
        data: a source (text or path); (x, y); ((x_train, y_train), (x_test, y_test)); a mapping
            with the keys of an .npz; a DataFrame; or a function without arguments that returns one
            of these.
        target: the name of the target column, or the targets themselves, one a row.

    Arrays and tables are written to `.tuner/data/` beside the studies' database, under a name made
    of their contents, so that the same data are written once. Raises a UsageError.
    """
    if isinstance(data, str | Path):
        return _with_target(str(data), target)
    if callable(data) and not hasattr(data, "shape"):
        _refuse_target(target, "a function returns its own")
        return code_reference(data, settings)
    if target is not None and not isinstance(target, str):
        data, target = (data, target), None
    if (frame := _as_frame(data)) is not None:
        return _keep_table(*_target_of(frame, target), settings)
    _refuse_target(target, "only tables have named columns")
    arrays = _named_arrays(data)
    if (table := _as_table(arrays)) is not None:
        return _keep_table(*table, settings)
    return _keep_arrays(
        {name: _checked_array(name, each) for name, each in arrays.items()}, settings
    )
