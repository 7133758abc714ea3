"""One pass over a file of separated values for what a fast reader does not tell: its encoding, its
quotes, and numbers that begin with zeros."""

import re
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tuner.data.text_file import WESTERN, TextFile, Utf8Check, refuse_nul, western_encoding

# What stands before a cell, but ';' and '|', is not above the comma: tab, line ends, blank, quote.
_BEFORE_CELL = ord(",")
_ZERO = ord("0")


@dataclass(frozen=True)
class Scan:
    """`zeros`: whether a cell may begin with a zero before another digit. `quotes`: how many there
    are. `loose_quotes`: whether blanks stand between a separator and a quote."""

    zeros: bool = False
    quotes: int = 0
    loose_quotes: bool = False


def scan(file: TextFile, separator: str) -> tuple[TextFile, Scan]:
    """What is in the file, and the file in the encoding that it turned out to have. Raises
    DatasetError for NUL bytes, and for UTF-8 that ends in the middle."""
    seen, before, encoding = Scan(), b"\n", file.encoding
    check = Utf8Check(file.path, file.gzipped) if encoding == "utf-8" else None
    loose = re.compile(rb"[%b\n\r][ ]+\"" % re.escape(separator).encode())
    # Of one byte a character: what is looked for is ASCII, and lies there as it is.
    is_raw = encoding in ("utf-8", *WESTERN)
    for block in file.raw_blocks() if is_raw else file.blocks():
        refuse_nul(block, str(file.path))
        if check is not None and not check.takes(block):
            check, encoding = None, WESTERN[0]
        if encoding == WESTERN[0] and not block.isascii():
            encoding = western_encoding(block)
        joined = before + block
        quotes = block.count(b'"') if b'"' in block else 0
        seen = Scan(
            seen.zeros or _has_zeros(joined, separator),
            seen.quotes + quotes,
            seen.loose_quotes or (quotes > 0 and loose.search(joined) is not None),
        )
        before = joined[-2:]
    if check is not None and not check.takes(b"", final=True):
        encoding = WESTERN[0]
    return replace(file, encoding=encoding), seen


def _has_zeros(text: bytes, separator: str) -> bool:
    codes = np.frombuffer(text, np.uint8)
    if len(codes) < 3:
        return False
    # Comparisons of whole blocks, combined in place: 0.4 s a GB.
    at_cell: npt.NDArray[np.bool_] = codes[:-2] <= _BEFORE_CELL
    if ord(separator) > _BEFORE_CELL:
        at_cell |= codes[:-2] == ord(separator)
    at_cell &= codes[1:-1] == _ZERO
    at_cell &= codes[2:] >= _ZERO  # letters too: the columns in question are looked at again
    return bool(at_cell.any())
