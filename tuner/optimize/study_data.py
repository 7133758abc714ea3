"""The data of a study, found again: the fingerprint decides, not where they lie."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tuner.data import Dataset, Source, find_source, load_dataset, parse_source
from tuner.errors import DatasetError, SpecError
from tuner.settings import Settings
from tuner.spec import StudySpec
from tuner.trust import HAS_CHANGED, data_code
from tuner.user_modules import read_modules


def trained_on(settings: Settings, spec: StudySpec, data: str | None = None) -> Dataset:
    """The data as the study's trials see them. `data`: where they lie now, if that is not where the
    study was told. Raises DatasetError when they are no longer those the study was created with,
    CodeError where their code was tampered with."""
    data_code(spec)
    dataset = load_dataset(
        spec.data, settings, check_data(settings, spec, data), wanted=spec.fingerprint
    )
    check_fingerprint(spec.fingerprint, dataset.fingerprint, data or spec.data.source)
    return dataset.for_test() if spec.held_out == "test" else dataset


def check_fingerprint(wanted: str, found: str, source: str) -> None:
    """Raises DatasetError for data that are not the study's."""
    if found != wanted:
        raise DatasetError(
            f"{source} has changed since the study was created (fingerprint {found[:12]}, was "
            f"{wanted[:12]}), or is other data; scores would not be comparable: create a new "
            "study, or say where the study's data lie now: --data PATH"
        )


def check_data(settings: Settings, spec: StudySpec, data: str | None = None) -> list[Source]:
    """Where the study's data may lie. Nothing is read but a user's own code, which must be that of
    the study. Raises DatasetError where there is nothing, SpecError for other code."""
    try:
        found = find_source(data or spec.data.source, settings)
    except DatasetError as error:
        raise DatasetError(f"{error}; say where the data lie now: --data PATH") from error
    # A path alone is enough: which column, or which function, the study knows.
    selector = parse_source(spec.data.source).selector
    found = [_selecting(source, selector) for source in found]
    return found if spec.data_path is None else _unchanged(found, spec, spec.data_path)


def _selecting(source: Source, selector: str) -> Source:
    if source.selector or not source.selects or not selector:
        return source
    text = f"{source.text.removesuffix(':')}:{selector}"
    return replace(source, text=text, selector=selector)


def _unchanged(found: Sequence[Source], spec: StudySpec, path: str) -> list[Source]:
    """Those whose file, and the modules that it imports from its folder, are the study's."""
    changed = {source: _changed(source.code, spec, path) for source in found if source.code}
    same = [source for source, files in changed.items() if not files]
    if changed and not same:
        first = next(iter(changed.values()))[0]
        raise SpecError(f"{first} {HAS_CHANGED}")
    return same or list(found)


def _changed(file: Path, spec: StudySpec, path: str) -> list[Path]:
    try:
        text = file.read_bytes()
        if _sha256(text) != spec.code[path].sha256:
            return [file]
        if not spec.keeps_modules:
            return []
        here = {name: _sha256(module) for name, module in read_modules(file, text).items()}
    except OSError as error:
        raise DatasetError(f"{file}: {error.strerror or error}") from error
    stored = {name: code.sha256 for name, code in spec.modules_of(path).items()}
    names = sorted(here.keys() | stored.keys())
    return [file.parent / name for name in names if here.get(name) != stored.get(name)]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
