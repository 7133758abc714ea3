"""Which code from a database may run on this machine.

A study stores its user's network, metrics and data function in SQL, and a saved network carries
the files of its own layers. Whoever can write there could have every machine that uses them run any
code. So code runs only if it is a file of this machine, byte for byte, or if this user has agreed
to its hash once. Everything that runs a study's code calls `require_trusted` first, everything that
runs a saved network's `require_trusted_copies`.
"""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from tuner.data import parse_source, project_folder
from tuner.errors import CodeError
from tuner.manage.carried_code import Code, UntrustedCode
from tuner.settings import Settings
from tuner.storage.identity import machine_id
from tuner.study.spec import CodeFile, StudySpec, beside
from tuner.system.names import printable
from tuner.system.user_modules import folder_of

HAS_CHANGED = (
    "has changed since the study was created, and scores would not be comparable: put it back, or "
    "create a new study; while no trial of it has finished, create it again with the same options, "
    "which takes the corrected file"
)


def code_of(spec: StudySpec) -> list[Code]:
    """The files that training this study runs: its network's, its metrics' and its data's, each
    with the modules that it imports from its folder. Raises CodeError where one is missing, or does
    not have its hash."""
    codes = [code for codes in stored_code(spec) for code in codes] + data_code(spec)
    return list({code.path: code for code in codes}.values())


def stored_code(spec: StudySpec) -> list[list[Code]]:
    """Of a user's own network and of each own metric its file, then its modules: these run from the
    database. Raises CodeError as `code_of`."""
    paths = [spec.network_path, *spec.metric_paths]
    return [_with_modules(spec, path) for path in paths if path is not None]


def data_code(spec: StudySpec) -> list[Code]:
    """The files of a user's own data function, which run from files with these contents. Raises
    CodeError as `code_of`."""
    if spec.data is None:
        return []
    source = parse_source(spec.data.source)
    return _with_modules(spec, None if source.code is None else str(source.path))


def _with_modules(spec: StudySpec, path: str | None) -> list[Code]:
    """A file of the user, then the modules beside it."""
    if path is None:
        return []
    file = _checked(path, spec.code.get(path))
    modules = spec.modules_of(path).items()
    return [file, *(_checked(beside(path, module), stored) for module, stored in modules)]


def _checked(path: str, stored: CodeFile | None) -> Code:
    shown = printable(path)
    if stored is None:
        raise CodeError(f"{shown}: its code is not stored with the study; create a new study")
    code = Code(path, stored.text)
    if code.sha256 != stored.sha256:
        raise CodeError(
            f"{shown}: the code stored with the study is not what its hash says: the database was "
            "changed by other means than tuner; create a new study"
        )
    return code


def _not_here(spec: StudySpec, codes: list[Code], settings: Settings) -> list[Code]:
    """Those of a file and its modules that are not on this machine. Raises CodeError where one is,
    but with other contents."""
    file, *_ = codes
    files = _places(file.path, settings)
    if not files:
        return codes
    same = [path for path in files if file.is_same(path)]
    if not same:
        raise _has_changed(file)
    # A module's name says little, so it is looked for beside the file that imports it.
    modules = dict(zip(spec.modules_of(file.path), codes[1:], strict=True))
    places = [{folder_of(path) / name: code for name, code in modules.items()} for path in same]
    changed = [[code for path, code in place.items() if _differs(code, path)] for place in places]
    if all(changed):
        raise _has_changed(changed[0][0])
    place = places[changed.index([])]
    return [code for path, code in place.items() if not _exists(path)]


def _places(path: str, settings: Settings) -> list[Path]:
    """The files of that path: in the current folder, and in that of a SQLite database."""
    folders = [Path.cwd(), project_folder(settings) or Path.cwd()]
    return [folder / path for folder in folders if _exists(folder / path)]


def find_code(path: str, settings: Settings) -> Path | None:
    """The file of a user's own network or metric, if it is on this machine."""
    return next(iter(_places(path, settings)), None)


def _differs(code: Code, file: Path) -> bool:
    return _exists(file) and not code.is_same(file)


def _has_changed(code: Code) -> CodeError:
    return CodeError(f"{printable(code.path)} {HAS_CHANGED}")


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no permission, or not a possible path
        return False


def require_trusted(spec: StudySpec, settings: Settings) -> None:
    """Check a study's code before it runs. Raises CodeError for code that was tampered with, or
    whose file has changed; UntrustedCode for code of the database that is neither a file of this
    machine nor agreed to. A data function always runs from its file, with the stored contents."""
    data_code(spec)
    groups = [_not_here(spec, codes, settings) for codes in stored_code(spec)]
    missing = list({code.path: code for codes in groups for code in codes}.values())
    trusted = _read(settings.trusted_code) if missing else set()
    if unknown := [code for code in missing if code.sha256 not in trusted]:
        raise UntrustedCode(unknown)


def require_trusted_copies(
    codes: Sequence[Code], settings: Settings, source: str, hashes: Iterable[str] = ()
) -> None:
    """Check the code that a saved network carries before it runs. `source`: what names the network.
    `hashes`: of files that are trusted from now on. Raises UntrustedCode for code that is neither a
    file of this machine nor agreed to, CodeError for hashes of other files."""
    _agree(codes, settings, hashes, "this network's")
    missing = [code for code in codes if not _is_in_project(code, settings)]
    trusted = _read(settings.trusted_code) if missing else set()
    if unknown := [code for code in missing if code.sha256 not in trusted]:
        raise UntrustedCode(unknown, "the network", source)


def _is_in_project(code: Code, settings: Settings) -> bool:
    """Whether it is a file of the project. A path that leads out of it is not looked at: a network
    from elsewhere must not choose which file of this machine runs."""
    path = PurePath(code.path)
    if path.is_absolute() or ".." in path.parts:
        return False
    return any(map(code.is_same, _places(code.path, settings)))


def agree_to_code(spec: StudySpec, settings: Settings, hashes: Iterable[str]) -> None:
    """Trust the study's files with these hashes from now on. Raises CodeError for other hashes."""
    _agree(code_of(spec), settings, hashes, "this study's")


def _agree(codes: Iterable[Code], settings: Settings, hashes: Iterable[str], whose: str) -> None:
    own = {code.sha256 for code in codes}
    agreed = [sha256.lower() for sha256 in hashes]
    for sha256 in agreed:
        if sha256 not in own:
            there = ", ".join(sorted(own)) or "it has none"
            raise CodeError(f"--trust-code {sha256!r} is not a hash of {whose} code: {there}")
    trust_code(settings, agreed)


def trust_code(settings: Settings, hashes: Iterable[str]) -> None:
    """Store that this user trusts these files on this machine. Raises CodeError where that cannot
    be written."""
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
