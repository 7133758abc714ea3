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
    return [code for code in (network_code(spec), data_code(spec)) if code is not None]


def network_code(spec: StudySpec) -> Code | None:
    """Of a user's own network, which runs from the database. Raises CodeError as `code_of`."""
    path, is_own, _ = spec.space.network.rpartition(":")
    return _checked(path, spec.code.get(path)) if is_own else None


def data_code(spec: StudySpec) -> Code | None:
    """Of a user's own data function, which runs from a file with these contents. Raises CodeError
    as `code_of`."""
    source = parse_source(spec.data.source)
    return None if source.code is None else _checked(str(source.path), spec.data_code)


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
    """Before a study's code runs. Raises CodeError for code that was tampered with or whose file
    has changed since, UntrustedCode for what runs from the database and is neither a file of this
    machine nor agreed to. A data function is always read from its file, of the same contents."""
    data_code(spec)
    network = network_code(spec)
    if network is None or _is_file_here(network, settings):
        return
    if network.sha256 not in _read(settings.trusted_code):
        raise UntrustedCode([network])


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
