"""Small studies of toy trials, and loops that run them: in this process, or in one of their own.

python toy_study.py FOLDER URL TRIALS [WORKERS] runs the newest study of the database.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from toy_training import NETWORK, PARAMETERS, TOY

from tuner.data import load_dataset
from tuner.execution import EntryPoint
from tuner.optimize import Board, Limits, Outcome, Request, Silent, Watcher, optimize, places_wanted
from tuner.settings import Settings
from tuner.space import make_space
from tuner.spec import Choice, CodeFile, DataSpec, StudySpec
from tuner.storage import Store, open_store, places
from tuner.storage.studies import StudyRow, create_study, load_study
from tuner.storage.trials import TrialRow, list_trials

# What this process finds beside the installed packages, a child finds too.
_PATH = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
ANY_X = {"type": "float", "low": 0.0, "high": 1.0}


def any_of(*choices: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices)}


def toy_spec(
    parameters: Mapping[str, Any] | None = None,
    baselines: Iterable[Mapping[str, Any]] = (),
    **options: Any,
) -> StudySpec:
    """A study of 3 epochs a trial that varies x, unless told otherwise."""
    values = PARAMETERS | {"x": ANY_X, "epochs": 3} | dict(parameters or {})
    defaults: dict[str, Any] = {
        "data": DataSpec(source="points.npz", task="classes"),
        "fingerprint": "0" * 64,
        "train_rows": 42,
        "task": "classes",
        "metric": "val_accuracy",
        "direction": "maximize",
        "sampler": Choice(name="random"),
        "pruner": Choice(name="none"),
        "code": {NETWORK.partition(":")[0]: CodeFile.of(b"")},
    }
    return StudySpec(space=make_space(NETWORK, values, list(baselines)), **defaults | options)


class Signals(Silent):
    """A watcher that sends this process a signal, by default once all workers have trained two
    epochs of a trial."""

    def __init__(self, number: signal.Signals, when: Callable[[Board], bool] | None = None) -> None:
        self._number = number
        self._when = when or (lambda board: all(slot.epoch >= 2 for slot in board.slots))

    def changed(self, board: Board) -> None:
        if self._when(board):
            os.kill(os.getpid(), self._number)


class Bench:
    """A folder and a database with a study of toy trials."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.url = store.url.render_as_string(hide_password=False)
        self.settings = Settings(
            self.url, "sqlite://", folder, folder / "checkpoints", folder / "keras"
        )

    def create(
        self,
        parameters: Mapping[str, Any] | None = None,
        baselines: Iterable[Mapping[str, Any]] = (),
        name: str = "toy",
        **options: Any,
    ) -> StudyRow:
        """A toy study on real, small data, with what comes first in its queue."""
        data = self._data()
        fingerprint = load_dataset(data, self.settings).fingerprint
        spec = toy_spec(parameters, baselines, data=data, fingerprint=fingerprint, **options)
        return create_study(self.store, name, spec, first_trials=spec.first_trials())

    def _data(self) -> DataSpec:
        path = self.folder / "points.npz"
        if not path.exists():
            self.write_data(path)
        return DataSpec(source=str(path), task="classes")

    @staticmethod
    def write_data(path: Path, seed: int = 0) -> None:
        x = np.random.default_rng(seed).normal(size=(60, 3)).astype(np.float32)
        np.savez(path, x=x, y=np.arange(60) % 3)

    def run(
        self,
        trials: int | None,
        workers: int = 1,
        more: int | None = None,
        entry: EntryPoint = TOY,
        log_models: str = "best",
        watcher: Watcher | None = None,
        **limits: Any,
    ) -> Outcome:
        """What `tuner optimize` does, without MLflow."""
        study = load_study(self.store)
        total = places_wanted(self.store, study, trials, more)
        request = Request(Limits(total, **limits), workers, False, log_models)
        outcome, _ = optimize(self.settings, self.store, study, request, watcher, entry=entry)
        return outcome

    def start(self, trials: int, workers: int = 1) -> subprocess.Popen[str]:
        """The same in a process of its own."""
        return subprocess.Popen(
            [sys.executable, __file__, str(self.folder), self.url, str(trials), str(workers)],
            env=os.environ | {"PYTHONPATH": _PATH, "TMPDIR": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def trials(self) -> list[TrialRow]:
        return list_trials(self.store, load_study(self.store))

    @property
    def states(self) -> list[str]:
        return [trial.state for trial in self.trials]

    @property
    def places(self) -> dict[str, int]:
        return places.place_counts(self.store, load_study(self.store).study_id)


def main(folder: str, url: str, trials: str, workers: str = "1") -> None:
    outcome = Bench(Path(folder), open_store(url)).run(int(trials), int(workers))
    print(f"{outcome.reason} done_here={outcome.board.done_here} put_back={outcome.put_back}")


if __name__ == "__main__":
    main(*sys.argv[1:])
