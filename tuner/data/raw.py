"""What a reader returns: pairs of features and targets, still unchecked. Helpers for messages."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from tuner.errors import DatasetError, first_line

_LISTED = 30
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
    0..k-1 in the target; `features` those of the columns of a matrix. `notes`: decisions of the
    reader to report.
    """

    source: str
    name: str
    parts: dict[str, Pair]
    label_names: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def join_names(names: Iterable[object]) -> str:
    """Names for a message, cut off if they are many."""
    words = [" ".join(str(name).split()) for name in names]
    more = f", … ({len(words)} in all)" if len(words) > _LISTED else ""
    return ", ".join(words[:_LISTED]) + more


def suggest_names(wanted: str, names: Sequence[str]) -> str:
    """For a message: names that differ from `wanted` only in case, blanks or punctuation, or else
    a little; "" for none."""
    bare = _bare_name(wanted)
    same = [name for name in names if bare and _bare_name(name) == bare]
    near = same or difflib.get_close_matches(wanted, names, n=3)
    return f" (did you mean {' or '.join(map(repr, near[:3]))}?)" if near else ""


def _bare_name(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


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
