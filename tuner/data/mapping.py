"""Arrays by name, as `.npz` files and user code give them, taken apart into parts."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tuner.data.raw import Pair, Parts, listed
from tuner.errors import DatasetError

KEYS = {
    "train": ("x_train", "y_train"),
    "validation": ("x_val", "y_val"),
    "test": ("x_test", "y_test"),
}
WHOLE = ("x", "y")
FEATURES = {WHOLE[0], *(x for x, _ in KEYS.values())}

_NAMES = {*WHOLE, *(key for pair in KEYS.values() for key in pair)}
_FORMS = "x and y, or x_train and y_train (and, as you like, x_val, y_val, x_test, y_test)"

# How people write the parts otherwise, from the second reading of data on (spec.READING).
_SPELLINGS = {"train": "train|training", "val": "val|valid|validation|dev", "test": "test|testing"}
_ROLE = "(?P<role>[xy])"
# Words that make an array look like a part of the data.
_SPLIT_WORDS = set("|".join(_SPELLINGS.values()).split("|")) | {
    "eval", "evaluation", "holdout", "heldout", "tr", "va", "te", "tst", "trn", "vld",
}  # fmt: skip
_ROLE_WORDS = {
    "x", "y", "data", "feature", "features", "image", "images", "input", "inputs", "label",
    "labels", "target", "targets",
}  # fmt: skip


# Words of arrays that go with a part, but are neither its features nor its target.
_BESIDE_WORDS = {
    "file", "files", "group", "groups", "id", "ids", "idx", "index", "indices", "mask", "mean",
    "name", "names", "path", "paths", "shape", "std", "weight", "weights",
}  # fmt: skip


def array_name(name: str, first_reading: bool = False) -> str | None:
    """Which of the names above is meant; None for none of them."""
    lower = name.lower()
    if lower in _NAMES or first_reading:
        return lower if lower in _NAMES else None
    for part, spellings in _SPELLINGS.items():
        one_of = f"(?:{spellings})"
        for pattern in (f"{_ROLE}[-_. ]?{one_of}", f"{one_of}[-_. ]?{_ROLE}"):
            if found := re.fullmatch(pattern, lower):
                return f"{found['role']}_{part}"
    return None


def parts_from_mapping(
    source: str, values: Mapping[str, Any], first_reading: bool = False
) -> Parts:
    """Parts from arrays named as in KEYS or WHOLE, in any case, or nearly so, which is noted.
    Other names are noted, too.

    Raises DatasetError for features without a target, for several arrays of one meaning, and for a
    name that looks like a part but is none. `first_reading`: other names are not looked at.
    """
    found = _by_name(source, values, first_reading)
    pairs = {**KEYS, "train": WHOLE} if WHOLE[0] in found else KEYS
    parts = Parts()
    for part, (x_key, y_key) in pairs.items():
        if (x_key in found) != (y_key in found):
            there, missing = (x_key, y_key) if x_key in found else (y_key, x_key)
            raise DatasetError(f"{source}: holds {there!r} without {missing!r}")
        if x_key in found:
            parts[part] = Pair(values[found[x_key]], values[found[y_key]])
    if "train" not in parts:
        names = listed(sorted(map(str, values))) or "nothing"
        raise DatasetError(f"{source}: needs {_FORMS}; it holds {names}")
    if not first_reading:
        used = {key for part in parts for key in pairs[part]}
        _refuse_parts(source, [str(name) for name in values if name not in found.values()])
        _refuse_parts(source, [found[key] for key in found if key not in used])
        parts.notes = _notes({key: found[key] for key in found if key in used}, values)
    return parts


def _by_name(source: str, values: Mapping[str, Any], first_reading: bool) -> dict[str, str]:
    """The mapping's own names by those that are meant."""
    found: dict[str, str] = {}
    for name in values:
        meant = array_name(str(name), first_reading)
        if meant is None:
            continue
        if meant in found and not first_reading:
            raise DatasetError(f"{source}: holds {found[meant]!r} and {name!r}; leave one out")
        found[meant] = name
    return found


def _refuse_parts(source: str, names: Iterable[str]) -> None:
    """A part that is passed over would be drawn from the training rows instead."""
    for name in names:
        words = set(re.split(r"[^a-z]+", name.lower()))
        if words & _SPLIT_WORDS and words & _ROLE_WORDS and not words & _BESIDE_WORDS:
            raise DatasetError(
                f"{source}: {name!r} looks like a part of the data, but is not used; name "
                "the parts x_train, y_train, x_val, y_val, x_test and y_test, or leave it out"
            )


def _notes(found: Mapping[str, str], values: Mapping[str, Any]) -> tuple[str, ...]:
    renamed = [f"{name} for {key}" for key, name in found.items() if str(name).lower() != key]
    unused = [str(name) for name in values if name not in found.values()]
    return (
        *([f"taken: {', '.join(renamed)}"] if renamed else []),
        *([f"not used: {listed(unused)} (used are {_FORMS})"] if unused else []),
    )
