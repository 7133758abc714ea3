"""tuner's searches, measured like the peers: imports excluded, compilation included.

Each function runs in a process of its own: python -m benchmarks.ours NAME --json '{…}'.
"""

import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.commands import Result, main
from benchmarks.configurations import Configuration, configurations
from benchmarks.ray_nodes import back_end_of
from tuner.settings import Settings, load_settings
from tuner.storage import open_store
from tuner.storage.attempt_rows import AttemptRow
from tuner.storage.trials import TrialRow, list_trials
from tuner.study.engines import Engine
from tuner.study.spec import Choice


def fixed_list(
    epochs: int = 2,
    workers: int = 2,
    tracking: bool = False,
    take: int | None = None,
    engine: str = "auto",
    on: str | None = None,
) -> Result:
    """Trial-epochs a second over the fixed list, from the first trial's start to the last's end.
    `on`: the address of a Ray cluster that trains it."""
    chosen = configurations()[:take]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        rows = _search(
            Path(folder),
            baselines=chosen,
            overrides={"epochs": epochs, "patience": epochs},
            pruner="none",
            trials=len(chosen),
            workers=workers,
            tracking=tracking,
            engine=engine,
            on=on,
        )
        whole = time.perf_counter() - begun
    scores = {row.number: row.value for row in rows}
    return _summary(rows) | {"whole_command_s": whole, "workers": workers, "scores": scores}


def until(target: float = 0.88, seed: int = 0, limit_s: float = 600.0) -> Result:
    """Seconds of search until a network scores `target`. Without the space's baselines, because the
    peers have none either."""
    with tempfile.TemporaryDirectory() as folder:
        rows = _search(
            Path(folder), baselines=[], trials=1000, seed=seed, target=target, timeout_s=limit_s
        )
    summary = _summary(rows)
    reached = any(row.value is not None and row.value >= target for row in rows)
    return summary | {
        "target": target,
        "seed": seed,
        "seconds": summary["seconds"] if reached else None,
    }


def build_model(limit_s: float = 120.0, workers: int = 2, seed: int = 0) -> Result:
    """Trial-epochs a second over KerasTuner's `build_model.py`, unchanged: Hyperband, 9 epochs at
    most, no early stopping, in `limit_s` seconds from the first trial's start."""
    from tuner.manage.wanted_study import wanted_study

    epochs = 9
    with tempfile.TemporaryDirectory() as folder:
        wanted = wanted_study(
            network=f"{Path(__file__).with_name('build_model.py')}:build_model",
            data="fashion_mnist",
            sampler="random",
            epochs=epochs,
            patience=epochs,
            seed=seed,
        )
        rows = _run(
            Path(folder), wanted, trials=1000, workers=workers, tracking=False, timeout_s=limit_s
        )
    return _summary(rows) | {"workers": workers}


def digits(trials: int = 100, workers: int = 2) -> Result:
    """Seconds of `tuner optimize` on scikit-learn's digits, start to end, and where they went."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        rows = _search(Path(folder), data="digits", trials=trials, workers=workers, tracking=True)
        whole = time.perf_counter() - begun
    return _summary(rows) | {"whole_command_s": whole, "trials": trials}


def study(
    trials: int = 100, seed: int = 0, engine: str = "auto", workers: int = 2, epochs: int = 27
) -> Result:
    """A search on Fashion-MNIST: its seconds, the share of the machine's matrix products a second
    that its networks' arithmetic comes to, start-up included, and each trial's params and score."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        rows = _search(
            Path(folder),
            overrides={"epochs": epochs},
            trials=trials,
            workers=workers,
            seed=seed,
            engine=engine,
        )
        whole = time.perf_counter() - begun
    done = sum(_operations(row) for row in rows)
    peak = _matrix_products_per_s() * (os.cpu_count() or 1)
    scores = [(row.number, row.state, row.value, row.params) for row in rows]
    return _summary(rows) | {
        "whole_command_s": whole,
        "gflop_s": done / whole / 1e9,
        "peak_gflop_s": peak / 1e9,
        "share_of_peak": done / whole / peak,
        "scores": scores,
    }


def _operations(row: TrialRow) -> float:
    """Floating-point operations of a trial's matrix products: 6 a weight and trained row, 4 in the
    first layer, whose inputs have no gradient; 2 a weight and validated row."""
    params: dict[str, Any] = row.params
    first, *others = pairwise([784, *[params["width"]] * params["depth"], 10])
    inputs, rest = math.prod(first), sum(before * after for before, after in others)
    an_epoch = (4 * inputs + 6 * rest) * 50_000 + 2 * (inputs + rest) * 10_000
    # A trial pruned in its first epoch has trained two of five reports' rows on average.
    return sum(an_epoch * (attempt.epochs or 0.4) for attempt in row.attempts)


def _matrix_products_per_s(size: int = 1024) -> float:
    """Operations a second of float32 matrix products on one thread, by NumPy."""
    import threadpoolctl

    a = np.random.default_rng(0).random((size, size), np.float32)
    with threadpoolctl.threadpool_limits(1):
        a @ a
        begun = time.perf_counter()
        for _ in range(20):
            a @ a
    return 20 * 2 * size**3 / (time.perf_counter() - begun)


def _search(
    folder: Path,
    data: str = "fashion_mnist",
    baselines: Sequence[Configuration] | None = None,
    overrides: dict[str, object] | None = None,
    pruner: str = "hyperband",
    trials: int = 20,
    workers: int = 2,
    seed: int = 0,
    tracking: bool = False,
    target: float | None = None,
    timeout_s: float | None = None,
    engine: str = "auto",
    on: str | None = None,
) -> list[TrialRow]:
    """Create a study in `folder` and run it as the command does; its trials."""
    from tuner.manage.wanted_study import Wanted, data_spec

    wanted = Wanted(
        space=_space(folder, baselines),
        data=data_spec(source=data),
        overrides=overrides or {},
        pruner=Choice(name=pruner),
        seed=seed,
    )
    return _run(folder, wanted, trials, workers, tracking, target, timeout_s, engine, on)


def _run(
    folder: Path,
    wanted: Any,
    trials: int,
    workers: int,
    tracking: bool,
    target: float | None = None,
    timeout_s: float | None = None,
    engine: str = "auto",
    on: str | None = None,
) -> list[TrialRow]:
    from tuner.manage.creation import create_study
    from tuner.runner import Limits, SearchOptions, optimize, slots_wanted

    settings = _settings(folder)
    store = open_store(settings.storage)
    study = create_study(wanted, settings, lambda: store).study
    total = slots_wanted(store, study, trials, None)
    limits = Limits(total, timeout_s, target)
    with back_end_of(on) as back_end:
        options = SearchOptions(
            limits, workers, tracking, engine=cast(Engine, engine), back_end=back_end
        )
        optimize(settings, store, study, options)
    return list_trials(store, study)


def _settings(folder: Path) -> Settings:
    base = load_settings(
        f"sqlite:///{folder / 'tuner.db'}", f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}"
    )
    return replace(base, checkpoints=folder / "checkpoints")


def _space(folder: Path, baselines: Sequence[Configuration] | None) -> str:
    """The benchmarks' space, with these baselines if any are given."""
    import yaml

    shared = Path(__file__).with_name("space.yaml")
    if baselines is None:
        return str(shared)
    content = yaml.safe_load(shared.read_text())
    content["parameters"]["learning_rate"] |= {"low": 1e-4, "high": 1e-1}
    content["baselines"] = list(baselines)
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def _summary(rows: list[TrialRow]) -> Result:
    """Trial-epochs and seconds over the attempts that ended, and where a worker's time went."""
    attempts: list[AttemptRow] = [a for row in rows for a in row.attempts if a.ended_at]
    seconds = max(a.ended_at or 0.0 for a in attempts) - min(a.started_at for a in attempts)
    epochs = sum(a.epochs or 0 for a in attempts)
    spent: dict[str, float] = {}
    for attempt in attempts:
        for name, value in attempt.seconds.items():
            spent[name] = spent.get(name, 0.0) + value
    values = [row.value for row in rows if row.state == "COMPLETE" and row.value is not None]
    return {
        "seconds": seconds,
        "trial_epochs": epochs,
        "trial_epochs_per_s": epochs / seconds,
        "trials": len(attempts),
        "best": max(values, default=None),
        "worker_seconds": spent,
    }


if __name__ == "__main__":
    main("ours", fixed_list, until, build_model, digits, study)
