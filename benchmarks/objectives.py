"""Trials a second of an Optuna `objective(trial)` that takes one millisecond: by Optuna itself, and
by tuner, on SQLite.

Both write with the same durability: a write-ahead log and `synchronous=NORMAL`, as tuner does. A
killed process loses nothing, a power cut may lose the last commits. Optuna's own settings, without
the write-ahead log, are slower. Imports and the start of workers are not counted.

Each function runs in a process of its own: python -m benchmarks.objectives NAME --json '{…}'.
"""

import importlib.util
import tempfile
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

from benchmarks.commands import Result, main

OBJECTIVE = """\
import time


def objective(trial):
    x = trial.suggest_float("x", -10, 10)
    y = trial.suggest_float("y", -10, 10)
    time.sleep(0.001)
    return x**2 + y**2
"""


def by_tuner(trials: int = 1000, workers: int = 2) -> Result:
    """From the start of the first trial to the end of the last. `whole_s`: the whole search, with
    the start of its workers."""
    from tuner.manage.creation import create_study
    from tuner.manage.wanted_study import wanted_study
    from tuner.runner import Limits, SearchOptions, optimize, slots_wanted
    from tuner.settings import load_settings
    from tuner.storage import open_store
    from tuner.storage.trials import list_trials

    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path("objectives.py").write_text(OBJECTIVE)
        settings = load_settings(f"sqlite:///{folder}/tuner.db", None)
        store = open_store(settings.storage)
        wanted = wanted_study(network="objectives.py:objective", sampler="random", pruner="none")
        study = create_study(wanted, settings, lambda: store).study
        total = slots_wanted(store, study, trials, None)
        began = time.perf_counter()
        optimize(settings, store, study, SearchOptions(Limits(total), workers, tracking=False))
        whole = time.perf_counter() - began
        attempts = [row.last for row in list_trials(store, study) if row.last is not None]
        store.close()
    ended = max(attempt.ended_at or 0.0 for attempt in attempts)
    seconds = ended - min(attempt.started_at for attempt in attempts)
    return {"trials_per_s": len(attempts) / seconds, "seconds": seconds, "whole_s": whole}


def by_optuna(trials: int = 1000, jobs: int = 2) -> Result:
    """`study.optimize(n_jobs=2)`, whose jobs are threads."""
    import optuna
    import sqlalchemy as sa

    def use_wal(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        options = {"connect_args": {"timeout": 60}}
        storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/o.db", engine_kwargs=options)
        sa.event.listen(storage.engine, "connect", use_wal)
        storage.engine.dispose()  # connections that were opened before
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.create_study(storage=storage, sampler=sampler)
        objective = _objective(Path(folder))
        began = time.perf_counter()
        study.optimize(objective, n_trials=trials, n_jobs=jobs)
        seconds = time.perf_counter() - began
    return {"trials_per_s": trials / seconds, "seconds": seconds}


def _objective(folder: Path) -> Any:
    path = folder / "objectives.py"
    path.write_text(OBJECTIVE)
    spec = importlib.util.spec_from_file_location("objectives", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.objective


if __name__ == "__main__":
    main("objectives", by_tuner, by_optuna)
