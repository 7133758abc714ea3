"""Networks by the name of their study: STUDY for its best trial, STUDY/N for its trial N."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tuner.manage.carried_code import Code, needed_by_study
from tuner.manage.databases import read_study
from tuner.manage.trust import agree_to_code, code_of
from tuner.models.model_texts import TRIAL
from tuner.models.trial_networks import copy_network
from tuner.settings import Settings
from tuner.storage import Store, look_into
from tuner.storage.studies import StudyRow, list_studies, load_study
from tuner.storage.trials import TrialRow, find_best, find_trial, require_best


class CopiedNetwork(NamedTuple):
    """The network of a trial. `study`: its name. `where`: the trial in words. `remarks`: as of
    `WrittenNetwork`."""

    study: str
    where: str
    remarks: list[str]


def copy_of_trial(
    text: str, settings: Settings, target: Path, trust: Sequence[str]
) -> CopiedNetwork | None:
    """Write the network of the trial that the text names to `target`; None where no study has that
    name. `trust`: SHA-256 of the study's files that may run here.

    Raises StudyError for a trial that does not exist or has no network, UntrustedCode for code that
    nobody on this machine has agreed to.
    """
    with _reading(settings) as store:
        matching = None if store is None else _find_trial(store, text)
        if store is None or matching is None:
            return None
        study, trial = matching
        if trust:
            agree_to_code(study.spec, settings, trust)
        with needed_by_study(study.name):
            written = copy_network(settings, store, study, trial, target)
    where = f"trial {trial.number} of study {study.name}"
    return CopiedNetwork(study.name, where, written.remarks)


def study_names(settings: Settings) -> list[str]:
    """Those of the database, newest first; none where there is no database."""
    with _reading(settings) as store:
        return [] if store is None else _names(store)


def code_of_study(name: str | None, settings: Settings) -> tuple[str, list[Code]]:
    """The user's own code that a study runs, by default the newest, and the study in words. Raises
    StudyError."""
    _, study = read_study(settings, name)
    return f"study {study.name}", code_of(study.spec)


@contextmanager
def _reading(settings: Settings) -> Iterator[Store | None]:
    """The database of the studies, for reading; None where there is none."""
    store = look_into(settings.storage)
    try:
        yield store
    finally:
        if store is not None:
            store.close()


def _names(store: Store) -> list[str]:
    return [study.name for study in list_studies(store)]


def _find_trial(store: Store, text: str) -> tuple[StudyRow, TrialRow] | None:
    names = _names(store)
    if text in names:
        study = load_study(store, text)
        return study, require_best(study, find_best(store, study))
    match = TRIAL.fullmatch(text)
    if match is None or match["study"] not in names:
        return None
    study = load_study(store, match["study"])
    return study, find_trial(store, study, int(match["number"]))
