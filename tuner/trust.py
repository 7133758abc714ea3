"""Which code from a database may run on this machine.

A study keeps its user's network and data function in SQL, and who can write there could make every
machine that works on the study run anything. So code runs only where it is a file of this machine,
byte for byte, or where this user has agreed to its hash once. All that runs a study's code asks
`require_trusted` first.
"""

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tuner.data import parse_source, project_folder
from tuner.errors import CodeError
from tuner.names import printable
from tuner.settings import Settings
from tuner.spec import CodeFile, StudySpec
from tuner.storage.process import machine_id


@dataclass(frozen=True)
class Code:
    """A file that a study runs, as stored with it. `path`: where it lay when the study was made."""

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
    """Code that this user has yet to agree to."""

    def __init__(self, codes: list[Code]) -> None:
        paths = ", ".join(printable(code.path) for code in codes)
        super().__init__(f"the study would run code that is no file of this machine: {paths}")
        self.codes = codes


def code_of(spec: StudySpec) -> list[Code]:
    """The files that training this study runs: its network's and its data's. Raises CodeError where
    one is missing, or is not what its hash says."""
    files = []
    network, is_own, _ = spec.space.network.rpartition(":")
    if is_own:
        files.append(_checked(network, spec.code.get(network)))
    source = parse_source(spec.data.source)
    if source.code is not None:
        files.append(_checked(str(source.path), spec.data_code))
    return files


def _checked(path: str, kept: CodeFile | None) -> Code:
    shown = printable(path)
    if kept is None:
        raise CodeError(f"{shown}: its code is not stored with the study; create a new study")
    code = Code(path, kept.text)
    if code.sha256 != kept.sha256:
        raise CodeError(
            f"{shown}: the code stored with the study is not what its hash says: the database was "
            "changed by other means than tuner; create a new study"
        )
    return code


def untrusted(spec: StudySpec, settings: Settings) -> list[Code]:
    """Of the study's code, what would run from the database, and what this machine has neither as a
    file nor been told to trust. A data function is always read from its file, of the same contents.
    Raises CodeError for code that was tampered with, or whose file has changed since."""
    network = spec.space.network.rpartition(":")[0]
    codes = [code for code in code_of(spec) if code.path == network]
    unknown = [code for code in codes if not _is_file_here(code, settings)]
    known = _read(settings.trusted_code) if unknown else set()
    return [code for code in unknown if code.sha256 not in known]


def _is_file_here(code: Code, settings: Settings) -> bool:
    """Raises CodeError where the file is here, but with other contents."""
    folders = [Path.cwd(), project_folder(settings) or Path.cwd()]
    files = [folder / code.path for folder in folders if _exists(folder / code.path)]
    if any(code.is_same(file) for file in files):
        return True
    if files:
        raise CodeError(
            f"{printable(code.path)} has changed since the study was created; scores would not be "
            "comparable: create a new study, or put the file back"
        )
    return False


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # what cannot be looked at, or cannot be a path
        return False


def require_trusted(spec: StudySpec, settings: Settings) -> None:
    """Before a study's code runs. Raises CodeError where it may not."""
    if codes := untrusted(spec, settings):
        raise UntrustedCode(codes)


def agree(spec: StudySpec, settings: Settings, hashes: Iterable[str]) -> None:
    """Trust those of the study's files from now on. Raises CodeError for another hash."""
    own = {code.sha256 for code in code_of(spec)}
    for sha256 in hashes:
        if sha256.lower() not in own:
            there = ", ".join(sorted(own)) or "it has none"
            raise CodeError(f"--trust-code {sha256!r} is no hash of this study's code: {there}")
    trust(settings, [sha256.lower() for sha256 in hashes])


def trust(settings: Settings, hashes: Iterable[str]) -> None:
    """Remember that this user trusts these files on this machine. Raises CodeError where that
    cannot be written."""
    file = settings.trusted_code
    try:
        missing = sorted(set(hashes) - _read(file))
        if not missing:
            return
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        with file.open("ab") as lines:
            lines.write("".join(f"{sha256} {machine_id()}\n" for sha256 in missing).encode())
    except OSError as error:
        raise _unusable(file, "written", error) from error


def _read(file: Path) -> set[str]:
    """The hashes trusted on this machine: the home folder may be shared by several."""
    try:
        with file.open("rb") as lines:
            mode = os.fstat(lines.fileno())
            if mode.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise CodeError(f"{file}: others may write it; chmod 600 it, or remove it")
            words = [line.split() for line in lines.read().decode(errors="replace").splitlines()]
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise _unusable(file, "read", error) from error
    return {line[0] for line in words if line[1:] == [machine_id()]}


def _unusable(file: Path, what: str, error: OSError) -> CodeError:
    return CodeError(
        f"{file}: cannot be {what} ({error.strerror or error}); set XDG_STATE_HOME to a folder of "
        "your own"
    )
