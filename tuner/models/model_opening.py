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

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuner.errors import StudyError, TunerError
from tuner.manage.carried_code import Code, needed_by_study
from tuner.models.formats.saved_model_format import is_saved_model
from tuner.models.model import Model, load_file
from tuner.models.model_texts import FORMS, is_logged
from tuner.models.own_layers import codes_of, require_trusted_layers
from tuner.models.runtimes import is_export, load_export
from tuner.preparation.keras_file import read_description
from tuner.preparation.network_description import NetworkDescription
from tuner.settings import Settings
from tuner.system.locations import expanded_path, holds
from tuner.system.names import is_valid, printable
from tuner.system.temporary_folders import OwnFolder
from tuner.values import clipped, suggest_names

_MLMODEL = "MLmodel"  # what tells a folder that MLflow wrote
_LONGEST = 80


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
        from tuner.models.studied_networks import code_of_study

        return code_of_study(text, settings)
    with OwnFolder("tuner-network-") as folder:
        brought = _bring_file(text, settings, Path(folder))
        return brought.where, codes_of(describe_brought(brought).code)


def _names_file(text: str) -> bool:
    """Whether the text names a file, or a model in MLflow: not a study."""
    return _is_network(expanded_path(text)) or is_logged(text)


def _is_network(path: Path) -> bool:
    """Whether there is a file, or a folder that holds a network. Another folder often has a study's
    name."""
    is_folder = holds((path / _MLMODEL).is_file) or holds(lambda: is_saved_model(path))
    return is_folder or holds(path.is_file)


def _bring_file(text: str, settings: Settings, folder: Path) -> BroughtNetwork:
    path = expanded_path(text)
    if _is_network(path):
        return BroughtNetwork(_keras_file(path, text), text, _same_name(text, path, settings))
    from tuner.models.logged_networks import fetch_logged

    return BroughtNetwork(*fetch_logged(text, settings, folder))


def _bring_of_study(
    text: str, settings: Settings, folder: Path, trust: Sequence[str]
) -> BroughtNetwork:
    from tuner.models.studied_networks import copy_of_trial

    file = folder / "network.keras"
    copied = copy_of_trial(text, settings, file, trust)
    if copied is None:
        raise _unknown(text, settings)
    brought = BroughtNetwork(file, copied.where, copied.remarks)
    with needed_by_study(copied.study):
        _check_code(brought, settings, copied.where)
    return brought


def _check_code(
    brought: BroughtNetwork, settings: Settings, source: str, trust: Sequence[str] = ()
) -> None:
    if not is_export(brought.file):  # exports carry no code
        code = read_description(brought.file, brought.where).code
        require_trusted_layers(code, settings, source, trust)


def _keras_file(path: Path, source: str) -> Path:
    """The file of the network, which a folder that MLflow wrote holds."""
    described = path / _MLMODEL
    if not described.exists():
        return path
    from tuner.models.logged_networks import network_in_model

    return path / network_in_model(described.read_bytes(), source)


def _same_name(text: str, path: Path, settings: Settings) -> list[str]:
    """A remark where a study has the name of the file. One with an ending names a file."""
    if path.suffix or not is_valid(text) or text not in _studies(settings):
        return []
    return [f"{text} is taken for the file of that name, not for the study"]


def _studies(settings: Settings) -> list[str]:
    from tuner.models.studied_networks import study_names

    try:
        return study_names(settings)
    except TunerError:  # whoever needs the database says what is wrong
        return []


def _unknown(text: str, settings: Settings) -> StudyError:
    path = expanded_path(text)
    if not text.strip():
        problem = "is empty"
    elif holds(path.is_dir):
        problem = "is a folder without a network"
    elif path.suffix or "/" in text:  # more like a file than a study
        problem = f"there is no such file{suggest_names(path.name, _neighbours(path))}"
    else:
        near = suggest_names(text, _studies(settings))
        problem = f"there is no such file, and no study of that name{near}"
    return StudyError(f"{clipped(printable(text), _LONGEST) or 'MODEL'}: {problem}; {FORMS}")


def _neighbours(path: Path) -> list[str]:
    try:
        return [each.name for each in path.parent.iterdir()]
    except (OSError, ValueError):
        return []
