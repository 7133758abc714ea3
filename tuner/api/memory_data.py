"""Data from memory, written once beside the study, where workers and later sessions find them."""

from typing import Any

from tuner.settings import Settings


def data_source(data: Any, target: Any, settings: Settings) -> str:
    """The source, as `--data` takes it, of data given in Python.

    `data`: a source (text or path), which is returned as it is; (x, y);
    ((x_train, y_train), (x_test, y_test)); a mapping with the keys of an .npz; a DataFrame; or a
    function without arguments that returns such data. `target`: the name of the target column; or
    the targets themselves. Arrays and tables are written to `.tuner/data/` beside the studies'
    database, under a name made of their contents. Raises DatasetError.
    """
    raise NotImplementedError
