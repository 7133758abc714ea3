"""How long commands that only read take on a study of many thousands of finished trials.

Each runs in a process of its own: python -m benchmarks.scale looking --json '{"trials": 50000}'.
"""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from optuna.distributions import distribution_to_json

from benchmarks.commands import Result, main
from tuner.manage.creation import create_study
from tuner.manage.wanted_study import Wanted
from tuner.settings import load_settings
from tuner.storage import Store, open_store
from tuner.storage.studies import StudyRow
from tuner.study.spec import DataSpec

EPOCHS = 2
_MOMENT = 1.8e9
_CHUNK = 2000
_METRICS = {"loss": 0.31, "accuracy": 0.9, "val_loss": 0.29, "val_accuracy": 0.91}
_SECONDS = {"prepare": 0.01, "first_call": 0.0, "train": 0.4, "evaluate": 0.02}
LOOKS: dict[str, tuple[str, ...]] = {
    "study list": ("study", "list"),
    "study show": ("study", "show"),
    "study best": ("study", "best"),
    "trial list": ("trial", "list"),
    "trial list --best-first": ("trial", "list", "--best-first"),
    "trial show": ("trial", "show", "40"),
    "study export": ("study", "export"),
    "trial list --all": ("trial", "list", "--all"),
}


def looking(trials: int = 50_000) -> Result:
    """Seconds, seconds of CPU and peak MiB of each command, its start included: the best of three
    runs, or the only run of commands that print everything."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tuner.db"
        store = open_store(url)
        wanted = Wanted(name="large", data=DataSpec(source="digits"))
        study = create_study(wanted, load_settings(url, None), lambda: store).study
        fill(store, study, trials)
        store.close()
        return {
            name: min(_measured(url, words) for _ in range(1 if _prints_all(name) else 3))
            for name, words in LOOKS.items()
        }


def _prints_all(name: str) -> bool:
    return name in ("study export", "trial list --all")


# A small process starts the command: the peak of a child counts what its parent held at the start.
_MEASURE = """
import json, resource, subprocess, sys, time
begun = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


def _measured(url: str, words: tuple[str, ...]) -> tuple[float, float, float]:
    """Seconds, seconds of CPU, and MiB of one command."""
    program = str(Path(sys.executable).with_name("tuner"))
    command = [sys.executable, "-S", "-c", _MEASURE, program, "--storage", url, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    seconds, cpu, peak = json.loads(done.stdout)
    # Linux counts in KiB, macOS in bytes.
    mebibytes = peak / (2**20 if sys.platform == "darwin" else 2**10)
    return round(seconds, 2), round(cpu, 2), round(mebibytes)


class Trial(NamedTuple):
    trial_id: int
    number: int
    score: float


def fill(store: Store, study: StudyRow, trials: int) -> None:
    """Add finished trials to a new study, with all rows that a search would write."""
    waiting = len(study.spec.first_trials())
    scores = random.Random(0)
    with store.writing() as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        last = connection.execute(sa.text("SELECT max(trial_id) FROM trials")).scalar() or 0
        rows = _Rows(study)
        for start in range(0, trials, _CHUNK):
            chunk = [
                Trial(last + 1 + i, waiting + i, scores.random())
                for i in range(start, min(start + _CHUNK, trials))
            ]
            for table, values in rows.of(chunk).items():
                connection.execute(sa.insert(tables.tables[table]), values)


class _Rows:
    """The rows of trials in each table. All have one configuration, the space's first baseline."""

    def __init__(self, study: StudyRow) -> None:
        self._study, space = study, study.spec.space
        flat = space.flatten(space.baselines[0])
        self._params = [
            {
                "param_name": name,
                "param_value": distribution.to_internal_repr(flat[name]),
                "distribution_json": distribution_to_json(distribution),
            }
            for name, distribution in space.distributions().items()
            if name in flat
        ]

    def of(self, trials: Sequence[Trial]) -> dict[str, list[Result]]:
        makers = {
            "trials": self._trial,
            "trial_params": self._params_of,
            "trial_values": self._value,
            "trial_intermediate_values": self._reports,
            "tuner_attempts": self._attempt,
            "tuner_intervals": self._intervals,
            "tuner_places": self._slot,
        }
        return {
            table: [row for trial in trials for row in make(trial)]
            for table, make in makers.items()
        }

    def _trial(self, trial: Trial) -> list[Result]:
        row = {"trial_id": trial.trial_id, "number": trial.number, "state": "COMPLETE"}
        return [row | {"study_id": self._study.study_id}]

    def _params_of(self, trial: Trial) -> list[Result]:
        return [{"trial_id": trial.trial_id} | param for param in self._params]

    def _value(self, trial: Trial) -> list[Result]:
        row = {"trial_id": trial.trial_id, "objective": 0}
        return [row | {"value": trial.score, "value_type": "FINITE"}]

    def _reports(self, trial: Trial) -> list[Result]:
        value = {"intermediate_value": trial.score, "intermediate_value_type": "FINITE"}
        row = {"trial_id": trial.trial_id} | value
        return [row | {"step": epoch} for epoch in range(1, EPOCHS + 1)]

    def _key(self, trial: Trial) -> Result:
        return {"study_uuid": self._study.uuid, "trial_id": trial.trial_id, "attempt": 1}

    def _attempt(self, trial: Trial) -> list[Result]:
        times = {"started_at": _MOMENT, "ended_at": _MOMENT + 0.5, "seconds": _SECONDS}
        facts = {"end": "complete", "score": trial.score, "engine": "shared graph"}
        counts = {"best_epoch": EPOCHS, "epochs": EPOCHS, "parameter_count": 50_000}
        return [self._key(trial) | times | facts | counts | {"loop_id": "benchmark", "worker": 0}]

    def _intervals(self, trial: Trial) -> list[Result]:
        row = self._key(trial) | {"whole": True, "metrics": _METRICS, "at": _MOMENT}
        return [row | {"step": epoch, "epoch": epoch} for epoch in range(1, EPOCHS + 1)]

    def _slot(self, trial: Trial) -> list[Result]:
        row = {"study_id": self._study.study_id, "number": trial.number + 1, "attempt": 1}
        return [row | {"state": "done", "trial_id": trial.trial_id}]


if __name__ == "__main__":
    main("scale", looking)
