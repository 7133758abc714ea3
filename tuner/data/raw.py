"""What a reader returns: pairs of features and targets, still unchecked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from tuner.errors import DatasetError, first_line
from tuner.preparation.preparation import ImageFiles

FIRST_READING = 1  # as in spec.py, which training does not import


class Pair(NamedTuple):
    """Features (n, ...) as an array or a pandas DataFrame, and one target a row. `weights`: one a
    row, where they stand apart from the features."""

    x: Any
    y: Any
    weights: Any = None


@dataclass(frozen=True)
class Raw:
    """`parts` holds "train" and whichever of "validation" and "test" the source brings itself.

    `source` begins every message about these data. `label_names` are the names of the classes
    0..k-1 in the target; `features` those of the columns of a matrix, or, where it
    `has_channels`, those of the channels of sequences. `notes`: decisions of the
    reader to report. `image_files`: how later image files become rows, where these were
    some. `skipped`: names of broken ones that were left out. `left_out`: further columns of the
    table that named them.
    """

    source: str
    name: str
    parts: dict[str, Pair]
    label_names: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    has_channels: bool = False
    image_files: ImageFiles | None = None
    skipped: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@contextmanager
def dataset_errors(source: str) -> Iterator[None]:
    """Turns whatever a reader raises into a DatasetError that names the source."""
    try:
        yield
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f"{source}: no such file") from error
    except OSError as error:
        raise DatasetError(f"{source}: cannot be read ({error.strerror or error})") from error
    except MemoryError as error:
        raise DatasetError(f"{source}: asks for more memory than there is") from error
    except Exception as error:
        # Broken files make zip, zlib, NumPy, pandas and Arrow raise nearly anything.
        raise DatasetError(f"{source}: cannot be read ({first_line(error)})") from error
