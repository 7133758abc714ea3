"""One pass over a file of separated values for what a fast reader does not tell: its encoding, its
quotes, and numbers that begin with zeros."""

import re
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tuner.data.text_file import WESTERN, TextFile, Utf8Check, refuse_nul, western_encoding
from tuner.errors import DatasetError

# What stands before a cell, but ';' and '|', is not above the comma: tab, line ends, blank, quote.
_BEFORE_CELL = ord(",")
_ZERO = ord("0")
# A Latin letter with an accent in UTF-8. As Windows-1252 it is one such letter and a sign, which
# hardly any word has.
_UTF8_LETTER = re.compile(rb"[\xc3-\xc5][\x80-\xbf]")


@dataclass(frozen=True)
class Scan:
    """`zeros`: whether a cell may begin with a zero before another digit. `quotes`: how many there
    are. `loose_quotes`: whether blanks stand between a separator and a quote."""

    zeros: bool = False
    quotes: int = 0
    loose_quotes: bool = False


def scan(file: TextFile, separator: str) -> tuple[TextFile, Scan]:
    """What is in the file, and the file in the encoding that it turned out to have. Raises
    DatasetError for NUL bytes, for UTF-8 that ends in the middle, and for lines in UTF-8 beside
    others that are not."""
    seen, before, encoding, taken = Scan(), b"\n", file.encoding, 0
    check = Utf8Check(file.path, file.gzipped) if encoding == "utf-8" else None
    loose = re.compile(rb"[%b\n\r][ ]+\"" % re.escape(separator).encode())
    # Of one byte a character: what is looked for is ASCII, and lies there as it is.
    is_raw = encoding in ("utf-8", *WESTERN)
    for block in file.raw_blocks() if is_raw else file.blocks():
        refuse_nul(block, str(file.path))
        if check is not None and not check.takes(block):
            check, encoding = None, WESTERN[0]
        if encoding in WESTERN and not block.isascii():
            _refuse_utf8_lines(file, block, taken)
            encoding = western_encoding(block) if encoding == WESTERN[0] else encoding
        taken += len(block)
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


def _refuse_utf8_lines(file: TextFile, block: bytes, taken: int) -> None:
    """Raises DatasetError for a line of UTF-8 in a file that is not: its letters would be wrong.
    Lines that do not lie in the block as a whole are not looked at. `taken`: bytes before it."""
    for match in _UTF8_LETTER.finditer(block):
        start, stop = block.rfind(b"\n", 0, match.start()) + 1, block.find(b"\n", match.end())
        if stop < 0 or (start == 0 and taken):
            continue
        try:
            line = block[start:stop].decode("utf-8").strip()
        except UnicodeDecodeError:
            continue
        raise DatasetError(
            f"{file.path}: line {file.line_at(taken + start)} is UTF-8 text "
            f"({line if len(line) <= 40 else f'{line[:39]}…'}), others are not: parts are in "
            "different encodings; save it as UTF-8"
        )


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
