"""Text files as UTF-8: unpacked, their encoding detected, anything but text refused.

One pass over the bytes (`scan_text`) also finds what Arrow's fast reader does not report: the
encoding of the whole file, quotes, and numbers that begin with zeros.
"""

import codecs
import gzip
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from tuner.errors import DatasetError

_BLOCK_BYTES = 2**18
_HEAD_BYTES = 2**18

# The header of very many columns may be longer than _HEAD_BYTES.
_LONGEST_HEAD_BYTES = 2**26
_HEAD_LINES = 4

# Windows-1252, and Latin-1 for bytes that Windows-1252 does not define.
WESTERN = ("cp1252", "latin-1")
_GZIP = b"\x1f\x8b"

# The longer mark first: that of UTF-32 begins like that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

# The first bytes of files that are no text, and what to do with these files.
_OTHERS = {
    b"\xd0\xcf\x11\xe0": "an Excel file (.xls); save it as CSV",
    b"PAR1": "a Parquet file; let its name end in .parquet",
    b"BZh": "packed by bzip2; unpack it",
    b"\xfd7zXZ": "packed by xz; unpack it",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"\x89HDF": "an HDF5 file; save it as CSV or Parquet",
    b"SQLite format 3": "a SQLite database; save the table as CSV",
    b"\x93NUMPY": "a NumPy array; save it as .npz with x and y",
    b"ARROW1": "an Arrow file; save it as Parquet",
    b"%PDF": "a PDF; save the table as CSV",
}

_PAGES = (b"<!doctype", b"<html", b"<?xml")


@dataclass(frozen=True)
class TextFile:
    """`encoding`: Python's name of it. `head`: the first bytes, unpacked; the file if `whole`."""

    path: Path
    head: bytes
    whole: bool
    gzipped: bool
    encoding: str

    @property
    def is_plain(self) -> bool:
        """Whether the bytes of the file are UTF-8 already."""
        return not self.gzipped and self.encoding == "utf-8"

    def head_text(self) -> str:
        """The whole text, or its first lines: complete ones."""
        text = codecs.getincrementaldecoder(self.encoding)("replace").decode(self.head, self.whole)
        text = text.removeprefix("\ufeff")
        if self.whole:
            return text
        return text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text

    def raw_blocks(self) -> Iterator[bytes]:
        """The bytes, unpacked."""
        with _opened(self.path, self.gzipped) as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block

    def blocks(self) -> Iterator[bytes]:
        """The text as UTF-8, without a byte order mark. Raises DatasetError for bytes that the
        encoding does not allow."""
        decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        first = True
        try:
            for block in self.raw_blocks():
                text = decoder.decode(block)
                yield (text.removeprefix("\ufeff") if first else text).encode()
                first = first and not text
            decoder.decode(b"", final=True)
        except UnicodeError as error:
            raise DatasetError(
                f"{self.path}: cannot be read: it is not {self.encoding.upper()} text; save it as "
                "UTF-8"
            ) from error

    def open_whole(self) -> Any:
        """What Arrow reads the text from: the path, or a stream of UTF-8."""
        return str(self.path) if self.is_plain else io.BufferedReader(BlockStream(self.blocks()))

    def line_at(self, position: int) -> int:
        """The number of the line of a byte, from 1 on."""
        with _opened(self.path, self.gzipped) as stream:
            return 1 + stream.read(position).count(b"\n")

    def lines(self) -> Iterator[str]:
        """The text line by line, line ends as they are."""
        return io.TextIOWrapper(io.BufferedReader(BlockStream(self.blocks())), "utf-8", newline="")


class BlockStream(io.RawIOBase):
    """A readable file made of blocks of bytes."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__()
        self._blocks, self._left = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        wanted = memoryview(cast(bytearray, buffer))
        while not self._left:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._left = memoryview(block)
        count = min(len(wanted), len(self._left))
        wanted[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def open_text(path: Path) -> TextFile:
    """Examine the beginning of a file. Raises DatasetError if it is empty or no text."""
    with path.open("rb") as raw:
        gzipped = raw.read(len(_GZIP)) == _GZIP
    with _opened(path, gzipped) as stream:
        head, whole = _head(stream)
    if not head:
        raise DatasetError(f"{path}: is empty")
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8")
    file = TextFile(path, head, whole, gzipped, encoding)
    _refuse_others(file)
    if encoding == "utf-8" and not Utf8Check(path, gzipped).takes(head, final=whole):
        return TextFile(path, head, whole, gzipped, western_encoding(head))
    return file


def _opened(path: Path, gzipped: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if gzipped else path.open("rb")


def _head(stream: IO[bytes]) -> tuple[bytes, bool]:
    """The first lines, and whether they are the whole file."""
    head = b""
    while len(head) < _LONGEST_HEAD_BYTES:
        more = stream.read(_HEAD_BYTES)
        head += more
        if not more:
            return head, True
        if head.count(b"\n") + head.count(b"\r") >= _HEAD_LINES:
            return head, not stream.read(1)
    return head, False


def _refuse_others(file: TextFile) -> None:
    head = file.head
    if head.startswith(b"PK\x03\x04"):
        is_excel = not file.gzipped and _holds_sheets(file.path)
        what = "an Excel file; save it as CSV" if is_excel else "a zip archive; unpack it"
        raise DatasetError(f"{file.path}: cannot be read as text: it is {what}")
    for beginning, what in _OTHERS.items():
        if head.startswith(beginning):
            raise DatasetError(f"{file.path}: cannot be read as text: it is {what}")
    begins = head.removeprefix(codecs.BOM_UTF8).lstrip()[:9].lower()
    if begins.startswith(_PAGES):
        raise DatasetError(f"{file.path}: is a page of HTML or XML, no table; save it as CSV")
    if begins.startswith((b"{", b"[{")):
        raise DatasetError(f"{file.path}: is JSON, no table; save it as CSV or Parquet")
    if file.encoding == "utf-8":
        refuse_nul(head, str(file.path))


def _holds_sheets(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.startswith(("xl/", "content.xml")) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def refuse_nul(block: bytes, source: str) -> None:
    """Raises DatasetError for bytes that are no text."""
    if b"\0" in block:
        raise DatasetError(
            f"{source}: cannot be read as text: it holds NUL bytes (binary, or UTF-16 without its "
            "mark); save it as CSV in UTF-8"
        )


class Utf8Check:
    """Whether blocks of bytes, one after the other, are UTF-8."""

    def __init__(self, path: Path, gzipped: bool) -> None:
        self._path, self._gzipped, self._taken, self._beyond_ascii = path, gzipped, 0, False
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")

    def takes(self, block: bytes, final: bool = False) -> bool:
        """False for another encoding. Raises DatasetError if characters beyond ASCII came before in
        UTF-8: then the file mixes two encodings."""
        between = not self._decoder.getstate()[0]
        if not (between and block.isascii()):
            try:
                self._decoder.decode(block, final)
            except UnicodeDecodeError as error:
                good = block[: error.start]
                if not self._beyond_ascii and good.isascii():
                    return False
                raise DatasetError(
                    f"{self._path}: begins as UTF-8 text, but line {self._line(len(good))} is not: "
                    "a byte is broken, or parts are in another encoding; save it as UTF-8"
                ) from error
            self._beyond_ascii = True
        self._taken += len(block)
        return True

    def _line(self, position: int) -> int:
        """The line of a byte of the next block."""
        line, left = 1, self._taken + position
        with _opened(self._path, self._gzipped) as stream:
            while block := stream.read(min(left, _BLOCK_BYTES)):
                line, left = line + block.count(b"\n"), left - len(block)
        return line


def western_encoding(content: bytes) -> str:
    """Which one of WESTERN, of bytes that are not UTF-8."""
    try:
        content.decode(WESTERN[0])
    except UnicodeDecodeError:
        return WESTERN[1]
    return WESTERN[0]


# The character before a cell is at most a comma (tab, line end, blank, quote), or ';' or '|'.
_BEFORE_CELL = ord(",")
_ZERO = ord("0")

# A Latin letter with an accent in UTF-8. As Windows-1252 it is one such letter and a sign, which
# hardly any word has.
_UTF8_LETTER = re.compile(rb"[\xc3-\xc5][\x80-\xbf]")


@dataclass(frozen=True)
class Scan:
    """`zeros`: whether a cell may begin with a zero before another digit. `quotes`: the number of
    quotes. `loose_quotes`: whether blanks stand between a separator and a quote."""

    zeros: bool = False
    quotes: int = 0
    loose_quotes: bool = False


def scan_text(file: TextFile, separator: str) -> tuple[TextFile, Scan]:
    """Read the whole file: its true encoding, and a `Scan`. Raises DatasetError for NUL bytes, for
    an incomplete character at the end, and for a mixture of encodings."""
    seen, before, encoding, taken = Scan(), b"\n", file.encoding, 0
    check = Utf8Check(file.path, file.gzipped) if encoding == "utf-8" else None
    loose = re.compile(rb"[%b\n\r][ ]+\"" % re.escape(separator).encode())
    # In these encodings ASCII characters are single bytes, so raw bytes can be searched.
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
    """Raises DatasetError for a line of UTF-8 in a file of another encoding: its letters would be
    wrong. Only lines that are completely in the block are checked. `taken`: the bytes before it."""
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
    at_cell &= codes[2:] >= _ZERO  # letters too: the columns are checked again later
    return bool(at_cell.any())
