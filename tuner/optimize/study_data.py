"""The data of a study, found again: the fingerprint decides, not where they lie."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from tuner.data import Dataset, Source, find_source, load_dataset, parse_source
from tuner.errors import DatasetError, SpecError
from tuner.settings import Settings
from tuner.spec import StudySpec
from tuner.trust import data_code


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
    kept = spec.data_code
    return found if kept is None else _unchanged(found, kept.sha256)


def _selecting(source: Source, selector: str) -> Source:
    if source.selector or not source.selects or not selector:
        return source
    text = f"{source.text.removesuffix(':')}:{selector}"
    return replace(source, text=text, selector=selector)


def _unchanged(found: Sequence[Source], sha256: str) -> list[Source]:
    codes = [source for source in found if source.code is not None]
    kept = [source for source in codes if _sha256(source) == sha256]
    if codes and not kept:
        raise SpecError(
            f"{codes[0].code} has changed since the study was created; scores would not be "
            "comparable: create a new study, or put the file back"
        )
    return kept or list(found)


def _sha256(source: Source) -> str:
    assert source.code is not None
    try:
        return hashlib.sha256(source.code.read_bytes()).hexdigest()
    except OSError as error:
        raise DatasetError(f"{source.code}: {error.strerror or error}") from error
