"""Which rows go to train, validation and test."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tuner.errors import DatasetError

_Rows = npt.NDArray[np.intp]

_FEW_CLASSES = 32


def draw_splits(
    classes: npt.NDArray[np.integer],
    shares: dict[str, float],
    seed: int,
    labels: Sequence[str],
    source: str,
) -> dict[str, _Rows]:
    """Stratified parts of the rows 0..n-1, each ascending: "train" and every name in `shares`.

    `classes` (n,) are indices into `labels`; for regression all zero, with labels empty. The first
    share is of all rows, the next of what is left then. Of each class a part gets its share to
    within one row, and at least one. Raises DatasetError for a share outside (0, 1) and for a class
    with fewer rows than there are parts.
    """
    for part, share in shares.items():
        if not 0 < share < 1:
            raise DatasetError(f"the {part} share must lie between 0 and 1, got {share:g}")
    left = np.bincount(classes, minlength=max(1, len(labels)))
    _check_members(left, ["train", *shares], labels, source)
    # Raw words of the bit generator: NumPy keeps them the same over its versions, as it does not
    # promise for permutation(), and a study must find its split again after an upgrade.
    keys = np.random.PCG64(seed).random_raw(len(classes))
    ends: list[_Rows] = []
    for number, share in enumerate(shares.values(), start=1):
        taken = _allot(left, share, keep=1 + len(shares) - number)
        ends.append(taken + (ends[-1] if ends else 0))
        left = left - taken
    parts = _parts_by_key(classes, keys, ends)
    return {part: np.flatnonzero(parts == number) for number, part in enumerate(["train", *shares])}


def _parts_by_key(
    classes: npt.NDArray[np.integer], keys: npt.NDArray[np.uint64], ends: list[_Rows]
) -> npt.NDArray[np.int8]:
    """(n,): of each class the rows with the lowest keys, up to `ends[0]` of them, are 1; those up
    to `ends[1]` are 2; the others 0."""
    if not ends:
        return np.zeros(len(classes), np.int8)
    parts = _parts_by_selection(classes, keys, ends) if len(ends[0]) <= _FEW_CLASSES else None
    if parts is not None:
        return parts
    rank = _rank_in_class(classes, keys)
    parts = np.zeros(len(classes), np.int8)
    for number in range(len(ends), 0, -1):
        parts[rank < ends[number - 1][classes]] = number
    return parts


def _parts_by_selection(
    classes: npt.NDArray[np.integer], keys: npt.NDArray[np.uint64], ends: list[_Rows]
) -> npt.NDArray[np.int8] | None:
    """The same without sorting: a fifth of the time. None where keys are equal, for which the rows'
    order decides."""
    parts = np.zeros(len(classes), np.int8)
    for each in range(len(ends[0])):
        rows = np.flatnonzero(classes == each) if len(ends[0]) > 1 else slice(None)
        own = keys[rows]
        chosen = np.zeros(len(own), np.int8)
        places = [int(end[each]) for end in ends]
        ordered = np.partition(own, places)
        for number in range(len(ends), 0, -1):
            below = own < ordered[places[number - 1]]
            if np.count_nonzero(below) != places[number - 1]:
                return None
            chosen[below] = number
        parts[rows] = chosen
    return parts


def _check_members(
    members: npt.NDArray[np.intp], parts: list[str], labels: Sequence[str], source: str
) -> None:
    smallest = int(np.argmin(members))
    if members[smallest] >= len(parts):
        return
    what = f"class {labels[smallest]!r}" if labels else "the training part"
    rows = int(members[smallest])
    raise DatasetError(
        f"{source}: {what} has {rows} row{'s' * (rows != 1)}, and {' + '.join(parts)} need "
        f"{len(parts)} at least; add rows"
        + (", drop the class, or set the task to regression if these are numbers" if labels else "")
    )


def _rank_in_class(classes: npt.NDArray[np.integer], keys: npt.NDArray[np.uint64]) -> _Rows:
    """(n,): a row's place, 0 upwards, in the order of the keys of its own class."""
    order = np.lexsort((keys, classes))
    members = np.bincount(classes)
    starts = np.cumsum(members) - members
    rank = np.empty(len(classes), np.intp)
    rank[order] = np.arange(len(classes)) - starts[classes[order]]
    return rank


def _allot(members: npt.NDArray[np.intp], share: float, keep: int) -> npt.NDArray[np.intp]:
    """Rows of each class by largest remainder: at least one, and at least `keep` stay behind."""
    ideal = members * share
    taken = np.floor(ideal + 1e-9).astype(np.intp)
    short = max(0, round(float(ideal.sum())) - int(taken.sum()))
    taken[np.argsort(taken - ideal, kind="stable")[:short]] += 1
    return np.asarray(np.clip(taken, 1, members - keep), np.intp)
