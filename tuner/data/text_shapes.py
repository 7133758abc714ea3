"""Texts that differ in their digits alone: what is found out of one holds for all of them.

A column of a million prices has some ten shapes, so that looking at each text is not needed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_ZERO = "\ue0f0"  # stands for a 0 that comes before all other digits: it may make a number a code


class Shapes(NamedTuple):
    """`array`: the texts (k,) for Arrow; `codes` (k,): the number of each text's shape; `first`:
    the first text of each shape."""

    array: Any
    codes: npt.NDArray[np.int64]
    first: list[str]

    def groups(self, shapes: Sequence[int]) -> dict[int, npt.NDArray[np.int64]]:
        """The texts of each of these shapes, by number."""
        order = np.argsort(self.codes, kind="stable")
        bounds = np.searchsorted(self.codes[order], [*range(len(self.first) + 1)])
        return {shape: order[bounds[shape] : bounds[shape + 1]] for shape in shapes}


def find_shapes(texts: Sequence[str]) -> Shapes:
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _to_arrow(texts)
    marked = pc.replace_substring_regex(array, r"^([^0-9]*)0", rf"\1{_ZERO}")
    encoded = pc.replace_substring_regex(marked, "[0-9]", "9").dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    first = np.zeros(len(encoded.dictionary), np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return Shapes(array, codes, [texts[number] for number in first.tolist()])


def _to_arrow(texts: Sequence[str]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(texts, pa.large_string())
    except (pa.ArrowInvalid, UnicodeError):  # of each half of a character is made one "?"
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        return pa.array(clean, pa.large_string())
