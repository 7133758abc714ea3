"""Whether rows are among those that a network has seen: a sample of these, as hashes.

Of the different hashes of all rows the smallest are kept (a bottom-k sketch; Cohen and Kaplan,
2007). Of later rows those with hashes in that range must be in the sample if they were seen, so
that their share is known without the rows.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_Hashes = npt.NDArray[np.uint64]

SIZE = 1024
_VALUES_AT_ONCE = 2**20


@dataclass(frozen=True)
class RowSample:
    """`hashes`: the smallest, in order, 8 little-endian bytes each, in base64. `is_complete`:
    whether these are all. `shift`: what is subtracted from rows before they are float32, as they
    are hashed: one value, or one for each column or channel."""

    hashes: str
    is_complete: bool
    shift: tuple[float, ...] = ()

    @classmethod
    def of(cls, blocks: Iterable[npt.NDArray[Any]], shift: tuple[float, ...] = ()) -> "RowSample":
        """Of rows (n, *shape) in blocks, from which `shift` is subtracted already."""
        smallest, is_complete = np.zeros(0, np.uint64), True
        for block in blocks:
            hashes = hash_rows(block)
            if not is_complete:
                hashes = hashes[hashes < smallest[-1]]
            smallest = np.unique(np.concatenate([smallest, hashes]))
            is_complete &= len(smallest) <= SIZE
            smallest = smallest[:SIZE]
        text = base64.b64encode(smallest.astype("<u8").tobytes()).decode()
        return cls(text, is_complete, shift)

    def compare(self, inputs: Any) -> "Seen":
        """With rows (n, *shape) as the network takes them, of several inputs by name."""
        known = np.frombuffer(base64.b64decode(self.hashes), "<u8").astype(np.uint64)
        rows = flat_rows(inputs)
        hashes = hash_rows(rows - np.asarray(self.shift) if self.shift else rows)
        if not self.is_complete:
            hashes = hashes[hashes <= known.max(initial=0)]
        return Seen(len(rows), len(hashes), int(np.isin(hashes, known).sum()))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "RowSample":
        """Raises ValueError and others for what `asdict` did not make."""
        np.frombuffer(base64.b64decode(content["hashes"], validate=True), "<u8")
        shift = tuple(float(value) for value in content["shift"])
        return cls(content["hashes"], bool(content["is_complete"]), shift)


@dataclass(frozen=True)
class Seen:
    """Of `rows` rows `looked_up` could be looked up, and `seen` of these were found."""

    rows: int = 0
    looked_up: int = 0
    seen: int = 0

    def __add__(self, other: "Seen") -> "Seen":
        return Seen(
            self.rows + other.rows, self.looked_up + other.looked_up, self.seen + other.seen
        )


def flat_rows(inputs: Any) -> npt.NDArray[Any]:
    """Rows as they are; of several inputs, by name, one row after the other as a matrix."""
    if not isinstance(inputs, Mapping):
        return np.asarray(inputs)
    return np.concatenate([rows.reshape(len(rows), -1) for rows in inputs.values()], axis=1)


def hash_rows(rows: npt.NDArray[Any]) -> _Hashes:
    """(n,), of rows (n, *shape) as float32: equal rows have equal hashes on all machines."""
    width = max(1, int(np.prod(rows.shape[1:])))
    matrix = rows.reshape(len(rows), width)
    # Raw words: NumPy promises that they never change.
    factors = np.random.PCG64(0).random_raw(width) | np.uint64(1)
    size = max(1, _VALUES_AT_ONCE // width)
    blocks = [_hash_block(matrix[i : i + size], factors) for i in range(0, len(rows), size)]
    return np.concatenate([np.zeros(0, np.uint64), *blocks])


def _hash_block(matrix: npt.NDArray[Any], factors: _Hashes) -> _Hashes:
    # Adding 0 makes -0 equal to 0.
    bits = (np.ascontiguousarray(matrix, np.float32) + np.float32(0)).view(np.uint32)
    sums = bits.astype(np.uint64) @ factors
    # SplitMix64's last step (Steele et al., 2014): small sums become any number.
    for right, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        sums = (sums ^ (sums >> np.uint64(right))) * np.uint64(factor)
    return np.asarray(sums ^ (sums >> np.uint64(31)))
