"""The files of a user that a new study stores: its network, its metrics, its data function, and the
modules that they import from their folders."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tuner.data import Source, parse_source
from tuner.errors import DatasetError, MetricError, NetworkError, SpecError, UsageError
from tuner.manage.trust import find_code
from tuner.search_space import Space
from tuner.settings import Settings
from tuner.study.spec import CodeFile, DataSpec, StudySpec, beside
from tuner.system.user_files import hash_named_files
from tuner.system.user_modules import read_modules


def code_to_store(
    space: Space,
    data: DataSpec,
    source: Source | None,
    settings: Settings,
    subject: StudySpec | None,
    metrics: Sequence[str],
) -> dict[str, CodeFile]:
    """The files by their path. `source`: None for a study without data. `metrics`: the files of
    own metrics. `subject`: the study whose network and metrics a comparison uses, as stored. Raises
    a UsageError for a file that cannot be read, and where two files import different ones by one
    name."""
    network, is_own, _ = space.network.rpartition(":")
    errors: dict[str, type[UsageError]] = dict.fromkeys(metrics, MetricError)
    errors |= {network: NetworkError} if is_own else {}
    parts: list[dict[str, CodeFile]] = []
    for path, error_class in errors.items():
        file = find_code(path, settings) or Path(path)
        parts.append(_stored_files(path, subject, file) or _with_modules(path, file, error_class))
    if source is not None and source.code is not None:
        path = str(parse_source(data.source).path)
        parts.append(_with_modules(path, source.code, DatasetError))
    files: dict[str, CodeFile] = {}
    for name, code in [item for part in parts for item in part.items()]:
        if files.setdefault(name, code) != code:
            raise SpecError(
                f"the files of the study (network, metrics, data) import different files by the "
                f"name of {name}: rename one of them"
            )
    return files


def _stored_files(path: str, study: StudySpec | None, file: Path) -> dict[str, CodeFile]:
    """A network's file and its modules as a study stores them. An older study stores no modules:
    they come from the folder."""
    if study is None or path not in study.code:
        return {}
    code = study.code[path]
    if not study.keeps_modules:
        return {path: code} | _modules(path, file, code, NetworkError)
    return {path: code} | {beside(path, m): c for m, c in study.modules_of(path).items()}


def _with_modules(path: str, file: Path, error_class: type[UsageError]) -> dict[str, CodeFile]:
    """A file of the user and the modules beside it, by path."""
    with _reading_code(path, error_class):
        code = CodeFile.of(file.read_bytes())
    return {path: code} | _modules(path, file, code, error_class)


def _modules(
    path: str, file: Path, code: CodeFile, error_class: type[UsageError]
) -> dict[str, CodeFile]:
    files: dict[str, CodeFile] = {}
    with _reading_code(path, error_class):
        contents = read_modules(file, code.text.encode())
    for module, content in contents.items():
        name = beside(path, module)
        with _reading_code(name, error_class):
            files[name] = CodeFile.of(content)
    return files


@contextlib.contextmanager
def _reading_code(path: str, error_class: type[UsageError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else path
        raise error_class(f"{named}: {error.strerror or error}") from error
    except SpecError as error:
        raise error_class(f"{path}: {error}") from error


def local_files_to_store(
    space: Space, code: Mapping[str, CodeFile], settings: Settings, subject: StudySpec | None
) -> dict[str, str]:
    """The SHA-256 of each file that the code of a user's own network reads by `tuner.local_file`,
    by its path there. `subject`: as in `code_to_store`. Raises NetworkError for one that is
    missing."""
    path, is_own, _ = space.network.rpartition(":")
    if subject is not None:
        return subject.local_files
    if not is_own:
        return {}
    file = find_code(path, settings) or Path(path)
    return hash_named_files((each.text for each in code.values()), file)
