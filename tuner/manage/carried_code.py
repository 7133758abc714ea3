"""A user's own files as studies and saved networks carry them. Light to import: whoever opens a
network needs it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import CodeError
from tuner.system.names import in_command, printable


@dataclass(frozen=True)
class Code:
    """A file that a study runs, as stored with it. `path`: its own when the study was created."""

    path: str
    text: str

    @property
    def content(self) -> bytes:
        return self.text.encode()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def is_same(self, file: Path) -> bool:
        """Whether the file has these contents."""
        return file.stat().st_size == len(self.content) and file.read_bytes() == self.content


class UntrustedCode(CodeError):
    """Code that this user has not agreed to. `source`: the study or the saved network that would
    run it, as `tuner study code` takes it; "" for the newest study."""

    def __init__(self, codes: list[Code], who: str = "the study", source: str = "") -> None:
        paths = ", ".join(printable(code.path) for code in codes)
        super().__init__(f"{who} would run code that is not a file of this machine: {paths}")
        self.codes, self.source = codes, source

    @property
    def hashes(self) -> list[str]:
        return [code.sha256 for code in self.codes]


@contextmanager
def needed_by_study(name: str) -> Iterator[None]:
    """Inside, UntrustedCode says that the study of this name needs the code."""
    try:
        yield
    except UntrustedCode as error:
        error.source = in_command(name)
        raise
