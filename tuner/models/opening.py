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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuner.manage.databases import no_study
from tuner.manage.trust import agree_to_code
from tuner.models.loading import Model, load_file
from tuner.models.logged_networks import fetch_logged, is_logged
from tuner.models.trial_networks import save_network
from tuner.settings import Settings
from tuner.storage import Store, look_into
from tuner.storage.studies import StudyRow, list_studies, load_study
from tuner.storage.trials import TrialRow, find_best, find_trial, require_best
from tuner.system.locations import expanded_path
from tuner.system.temporary_folders import OwnFolder

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
        model = load_file(brought.file, brought.where, settings=settings, trust=trust)
    return OpenedModel(model, brought.where, brought.remarks)


def bring_network(
    text: str, settings: Settings, folder: Path, trust: Sequence[str] = ()
) -> BroughtNetwork:
    """The file of the network that the text names: the file itself, or a copy in `folder`. Raises
    as `open_model`."""
    path = expanded_path(text)
    if path.exists():
        return BroughtNetwork(path, text)
    if is_logged(text):
        return BroughtNetwork(*fetch_logged(text, settings, folder))
    return _bring_of_study(text, settings, folder, trust)


def _bring_of_study(
    text: str, settings: Settings, folder: Path, trust: Sequence[str]
) -> BroughtNetwork:
    store = look_into(settings.storage)
    if store is None:
        raise no_study()
    study, trial = _find_trial(store, text)
    if trust:
        agree_to_code(study.spec, settings, trust)
    file = folder / "network.keras"
    written = save_network(settings, store, study, trial, file)
    return BroughtNetwork(file, f"trial {trial.number} of study {study.name}", written.remarks)


def _find_trial(store: Store, text: str) -> tuple[StudyRow, TrialRow]:
    match = _TRIAL.fullmatch(text)
    if match is not None and not any(row.name == text for row in list_studies(store)):
        study = load_study(store, match["study"])
        return study, find_trial(store, study, int(match["number"]))
    study = load_study(store, text)
    return study, require_best(study, find_best(store, study))
