"""Whatever names a network, as a file or as a `Model`.

| text | what it names |
|---|---|
| best.keras | a file that tuner saved, or an export with its description |
| models:/NAME@ALIAS, models:/NAME/VERSION | a version of a registered model in MLflow |
| runs:/ID, ID, m-ID, models:/m-ID | the model of a run, or a logged model |
| STUDY | the network of a study's best trial |
| STUDY/N | that of its trial N |

Only the last two need the database of the studies. Nothing is created for any of them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tuner.errors import StudyError
from tuner.manage.databases import read_study
from tuner.manage.trust import Code, UntrustedCode, agree_to_code, code_of, require_trusted_copies
from tuner.models.loading import Model, load_file
from tuner.models.logged_networks import MLMODEL, fetch_logged, is_logged, network_in_model
from tuner.models.own_layers import codes_of
from tuner.models.runtimes import is_export, load_export
from tuner.models.trial_networks import save_network
from tuner.preparation.keras_file import read_description
from tuner.preparation.network_description import NetworkDescription
from tuner.settings import Settings
from tuner.storage import Store, look_into
from tuner.storage.studies import StudyRow, list_studies, load_study
from tuner.storage.trials import TrialRow, find_best, find_trial, require_best
from tuner.system.locations import expanded_path
from tuner.system.names import in_command, is_valid, printable
from tuner.system.temporary_folders import OwnFolder
from tuner.values import clipped, suggest_names

# What tells a folder that holds a network: TensorFlow's file, MLflow's.
_NETWORK_FOLDERS = ("saved_model.pb", MLMODEL)
_FORMS = "MODEL is a .keras file, a study, STUDY/N for its trial N, models:/NAME@ALIAS or runs:/ID"
_LONGEST = 80
_TRIAL = re.compile(r"(?P<study>.+)/(?P<number>[0-9]{1,9})")


@dataclass(frozen=True)
class BroughtNetwork:
    """A network's file on this machine. `where`: where it is from, for people. `remarks`: lines for
    the user, on what was not as expected."""

    file: Path
    where: str
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OpenedModel:
    """A network with its preparation. `where`, `remarks`: as `BroughtNetwork`."""

    model: Model
    where: str
    remarks: list[str] = field(default_factory=list)


def open_model(text: str, settings: Settings, trust: Sequence[str] = ()) -> OpenedModel:
    """The network that the text names, in any of the forms above. `trust`: SHA-256 of the user's
    own files that may run here.

    Raises ArtifactError for a file that is no network of tuner's, or was changed; TrackingError
    where MLflow does not answer or does not know it; StudyError where nothing has that name;
    UntrustedCode for layers whose code nobody on this machine has agreed to.
    """
    with OwnFolder("tuner-network-") as folder:
        brought = bring_network(text, settings, Path(folder), trust)
        model = load_brought(brought, settings)
    return OpenedModel(model, brought.where, brought.remarks)


def bring_network(
    text: str, settings: Settings, folder: Path, trust: Sequence[str] = ()
) -> BroughtNetwork:
    """The file of the network that the text names: the file itself, or a copy in `folder`. Its code
    may run here. Nothing is loaded yet. Raises as `open_model`."""
    if not _names_file(text):
        return _bring_of_study(text, settings, folder, trust)
    brought = _bring_file(text, settings, folder)
    _check_code(brought, settings, text, trust)
    return brought


def load_brought(brought: BroughtNetwork, settings: Settings) -> Model:
    """The network of a file that `bring_network` has found, loaded. Raises as `open_model`."""
    if is_export(brought.file):
        return load_export(brought.file, brought.where)
    return load_file(brought.file, brought.where, settings=settings)


def describe_brought(brought: BroughtNetwork) -> NetworkDescription:
    """Its description. Only an export is loaded for that. Raises as `open_model`."""
    if is_export(brought.file):
        return load_export(brought.file, brought.where).description
    return read_description(brought.file, brought.where)


def read_code(text: str | None, settings: Settings) -> tuple[str, list[Code]]:
    """The user's own code that a study or a saved network would run, and whose it is, in words.
    `text`: as for `open_model`; None for the newest study. Nothing is run. Raises as
    `open_model`."""
    if text is None or not _names_file(text):
        _, study = read_study(settings, text)
        return f"study {study.name}", code_of(study.spec)
    with OwnFolder("tuner-network-") as folder:
        brought = _bring_file(text, settings, Path(folder))
        return brought.where, codes_of(describe_brought(brought).code)


def _names_file(text: str) -> bool:
    """Whether the text names a file, or a model in MLflow: not a study."""
    return _is_network(expanded_path(text)) or is_logged(text)


def _is_network(path: Path) -> bool:
    """Whether there is a file, or a folder that holds a network. Another folder often has a study's
    name."""
    return _holds(path.is_file) or any(_holds((path / name).exists) for name in _NETWORK_FOLDERS)


def _holds(test: Callable[[], bool]) -> bool:
    """What a test of a path says; False for no possible path, or one that may not be looked at."""
    try:
        return test()
    except (OSError, ValueError):
        return False


def _bring_file(text: str, settings: Settings, folder: Path) -> BroughtNetwork:
    path = expanded_path(text)
    if _is_network(path):
        return BroughtNetwork(_keras_file(path, text), text, _same_name(text, path, settings))
    return BroughtNetwork(*fetch_logged(text, settings, folder))


def _bring_of_study(
    text: str, settings: Settings, folder: Path, trust: Sequence[str]
) -> BroughtNetwork:
    with _reading(settings) as store:
        if store is None:
            raise _unknown(text, [])
        study, trial = _find_trial(store, text)
        if trust:
            agree_to_code(study.spec, settings, trust)
        file = folder / "network.keras"
        where = f"trial {trial.number} of study {study.name}"
        try:
            written = save_network(settings, store, study, trial, file)
            brought = BroughtNetwork(file, where, written.remarks)
            _check_code(brought, settings, where)
        except UntrustedCode as error:
            error.source = in_command(study.name)
            raise
    return brought


def _check_code(
    brought: BroughtNetwork, settings: Settings, source: str, trust: Sequence[str] = ()
) -> None:
    if not is_export(brought.file):  # exports carry no code
        codes = codes_of(read_description(brought.file, brought.where).code)
        require_trusted_copies(codes, settings, source, trust)


def _keras_file(path: Path, source: str) -> Path:
    """The file of the network, which a folder that MLflow wrote holds."""
    described = path / MLMODEL
    return path / network_in_model(described.read_bytes(), source) if described.exists() else path


def _same_name(text: str, path: Path, settings: Settings) -> list[str]:
    """A remark where a study has the name of the file. One with an ending names a file."""
    if path.suffix or not is_valid(text):
        return []
    with _reading(settings) as store:
        is_study = text in _study_names(store)
    return [f"{text} is taken for the file of that name, not for the study"] if is_study else []


@contextmanager
def _reading(settings: Settings) -> Iterator[Store | None]:
    """The database of the studies, for reading; None where there is none."""
    store = look_into(settings.storage)
    try:
        yield store
    finally:
        if store is not None:
            store.close()


def _study_names(store: Store | None) -> list[str]:
    return [] if store is None else [study.name for study in list_studies(store)]


def _find_trial(store: Store, text: str) -> tuple[StudyRow, TrialRow]:
    """The trial whose network is meant by the name of a study, or by STUDY/N. Raises StudyError."""
    names = _study_names(store)
    match = _TRIAL.fullmatch(text)
    if text in names:
        study = load_study(store, text)
        return study, require_best(study, find_best(store, study))
    if match is not None and match["study"] in names:
        study = load_study(store, match["study"])
        return study, find_trial(store, study, int(match["number"]))
    raise _unknown(text, names)


def _unknown(text: str, studies: Sequence[str]) -> StudyError:
    problem = _nothing_named(text, expanded_path(text), studies)
    return StudyError(f"{clipped(printable(text), _LONGEST) or 'MODEL'}: {problem}; {_FORMS}")


def _nothing_named(text: str, path: Path, studies: Sequence[str]) -> str:
    if not text.strip():
        return "is empty"
    if _holds(path.is_dir):
        return "is a folder without a network"
    if path.suffix or "/" in text:  # more like a file than a study
        return f"there is no such file{suggest_names(path.name, _neighbours(path))}"
    return f"there is no such file, and no study of that name{suggest_names(text, studies)}"


def _neighbours(path: Path) -> list[str]:
    try:
        return [each.name for each in path.parent.iterdir()]
    except (OSError, ValueError):
        return []
