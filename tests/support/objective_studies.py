"""Studies of Optuna objectives: run by tuner in threads of this process, and by Optuna alone."""

import hashlib
import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from tuner.manage.creation import create_study
from tuner.manage.wanted_study import wanted_study
from tuner.runner import Limits, Outcome, SearchOptions, optimize, slots_wanted
from tuner.settings import Settings
from tuner.storage import Store
from tuner.storage.studies import StudyRow, load_study

OBJECTIVES = Path(__file__).parent.parent / "functions" / "objectives"


class ObjectiveStudies:
    """Studies of objectives whose files are copied into `folder`, which is the current one."""

    def __init__(self, folder: Path, store: Store) -> None:
        url = store.url.render_as_string(hide_password=False)
        self.folder, self.store = folder, store
        kept = (folder / "checkpoints", folder / "keras")
        self.settings = Settings(url, "sqlite://", folder, *kept)

    def copy(self, name: str) -> Path:
        """A file of tests/functions/objectives, as it is."""
        return Path(shutil.copy(OBJECTIVES / name, self.folder / name))

    def write(self, code: str) -> Path:
        path = self.folder / "objectives.py"
        path.write_text(code)
        return path

    def create(self, file: Path, name: str = "own", **options: Any) -> StudyRow:
        """What `tuner study create --network FILE:objective` does."""
        wanted = wanted_study(name, network=f"{file.name}:objective", **options)
        return create_study(wanted, self.settings, lambda: self.store).study

    def run(self, trials: int, workers: int = 1) -> Outcome:
        """What `tuner optimize` does for the newest study, with threads as its workers."""
        study = load_study(self.store)
        total = slots_wanted(self.store, study, trials, None)
        options = SearchOptions(Limits(total), workers, tracking=False, back_end="threads")
        return optimize(self.settings, self.store, study, options)[0]

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """The newest study's trials, as Optuna's tables have them."""
        study = load_study(self.store)
        trials: list[optuna.trial.FrozenTrial] = self.store.optuna.get_all_trials(study.study_id)
        return trials


def by_optuna(file: Path, trials: int, directions: Sequence[str]) -> optuna.Study:
    """The same file's objective, run by Optuna alone with its default pruner."""
    spec = importlib.util.spec_from_file_location(f"plain_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(directions=directions, sampler=sampler)
    study.optimize(module.objective, n_trials=trials)
    return study


def asked_for(trials: Sequence[optuna.trial.FrozenTrial]) -> set[tuple[str, str]]:
    """All distributions that the trials have asked for, with their names."""
    return {(name, str(it)) for trial in trials for name, it in trial.distributions.items()}


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
