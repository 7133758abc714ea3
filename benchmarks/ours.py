"""What tuner does, measured as the peers are: imports excluded, compilation included.

Each function runs in a process of its own: python -m benchmarks.ours NAME --json '{…}'.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.configurations import Configuration, configurations, load_images, parse_network
from tuner.data import Dataset, Split, load_dataset
from tuner.settings import Settings, load_settings
from tuner.spec import Choice, DataSpec
from tuner.storage import open_store
from tuner.storage.records import AttemptRow
from tuner.storage.trials import TrialRow, list_trials
from tuner.training.events import Engine

Result = dict[str, Any]


def epoch(network: str = "784-64-64-10", dropout: float = 0.0, optimizer: str = "sgd") -> Result:
    """Seconds an epoch of 60 000 images at batch 32, one thread: the median of 3 after a first
    one that compiles."""
    from tuner.training.events import Goal, Plan
    from tuner.training.trial import Trainer, epoch_order

    _one_thread()
    hidden = parse_network(network)
    params = {"depth": len(hidden), "width": list(hidden), "activation": "relu"}
    params |= {"dropout": dropout, "batch_norm": False, "batch_size": 32, "optimizer": optimizer}
    params |= {"learning_rate": 0.01, "momentum": 0.0, "epochs": 27, "patience": 5}
    dataset = _all_images()
    plan = Plan("mlp", params, 0, Goal("val_accuracy", "maximize"), engine="exact")
    program, feed = Trainer(dataset).prepare(plan)
    program.start(params, 0)
    seconds = []
    rows = len(dataset.train.y)
    for number in range(4):
        order = epoch_order(0, number, rows)
        begun = time.perf_counter()
        feed.train(order, np.full(-(-rows // 32), 0.01, np.float32), 0, -(-rows // 32))
        seconds.append(time.perf_counter() - begun)
    return {
        "network": network,
        "seconds_an_epoch": statistics.median(seconds[1:]),
        "epochs_s": seconds[1:],
        "first_epoch_s": seconds[0],
        "engine": program.engine,
    }


def program_epoch(configuration: dict[str, Any]) -> Result:
    """Seconds an epoch of a configuration in the shared programs, graph and XLA, and in the exact
    compiled one, in turn: the least of 3 each after a first step that compiles."""
    from tuner.training.events import Goal, Plan
    from tuner.training.trial import Trainer, epoch_order

    _one_thread()
    dataset = load_dataset(DataSpec(source="fashion_mnist"), load_settings())
    params = {"epochs": 27, "patience": 5, "momentum": 0.0} | configuration
    exact = Plan("mlp", params, 0, Goal("val_accuracy", "maximize"), engine="exact")
    trainer, rows = Trainer(dataset), len(dataset.train.y)
    shared = replace(exact, engine="auto", choices=_space_choices())
    feeds: dict[str, Callable[..., Any]] = {}
    for name, plan in (("exact", exact), ("graph", shared)):
        program, feed = trainer.prepare(plan)
        program.start(params, 0)
        feeds[name] = feed.train
    population = trainer.population(shared)
    population.store.start(0, params, 0)
    feeds["xla"] = lambda order, rates, start, stop: population.train(
        [order], [rates], [start], stop - start
    )
    steps = -(-rows // int(params["batch_size"]))
    rates = np.full(steps, params["learning_rate"], np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in feeds}
    for train in feeds.values():
        train(epoch_order(0, 0, rows), rates, 0, 1)
    for number in range(3):
        order = epoch_order(0, number, rows)
        for name, train in feeds.items():
            begun = time.perf_counter()
            train(order, rates, 0, steps)
            seconds[name].append(time.perf_counter() - begun)
    return {name: min(taken) for name, taken in seconds.items()} | {"params": params}


def warm() -> Result:
    """Seconds from a trial's params to its first step where its program is at hand: the median over
    trials of other widths, activations and optimizers than the first one's."""
    from tuner.training.events import Ended, Goal, Plan
    from tuner.training.trial import Trainer

    _one_thread()
    trainer = Trainer(load_dataset(DataSpec(source="digits"), load_settings()))
    seconds = []
    for number, chosen in enumerate(c for c in configurations() if c["depth"] == 2):
        params = chosen | {"epochs": 1, "patience": 1}
        plan = Plan(
            "mlp", params, number, Goal("val_accuracy", "maximize"), choices=_space_choices()
        )
        *_, ended = trainer.run(plan)
        assert isinstance(ended, Ended)
        seconds.append(ended.seconds["prepare"] + ended.seconds["first_call"])
    return {"first_s": seconds[0], "warm_s": statistics.median(seconds[1:]), "trials_s": seconds}


def _one_thread() -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _space_choices() -> dict[str, tuple[Any, ...]]:
    from tuner.space import load_space

    return load_space(str(Path(__file__).with_name("space.yaml"))).choices()


def _all_images() -> Dataset:
    x, y = load_images()
    images = Split((x * 255).round().astype(np.uint8), y.astype(np.int32))
    dataset = load_dataset(DataSpec(source="fashion_mnist"), load_settings())
    return replace(dataset, train=images)


def fixed_list(
    epochs: int = 2,
    workers: int = 2,
    tracking: bool = False,
    take: int | None = None,
    engine: str = "auto",
) -> Result:
    """Trial-epochs a second over the fixed list, from the first trial's start to the last's end."""
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
        )
        whole = time.perf_counter() - begun
    scores = {row.number: row.value for row in rows}
    return _summary(rows) | {"whole_command_s": whole, "workers": workers, "scores": scores}


def until(target: float = 0.88, seed: int = 0, limit_s: float = 600.0) -> Result:
    """Seconds of search until a network scores `target`. The shipped space without its baselines:
    the peers are given none either."""
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


def digits(trials: int = 100, workers: int = 2) -> Result:
    """Seconds of `tuner optimize` on scikit-learn's digits, start to end, and where they went."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        rows = _search(Path(folder), data="digits", trials=trials, workers=workers, tracking=True)
        whole = time.perf_counter() - begun
    return _summary(rows) | {"whole_command_s": whole, "trials": trials}


def study(trials: int = 100, seed: int = 0, engine: str = "auto") -> Result:
    """A search on Fashion-MNIST: its seconds, the share of the machine's matrix products a second
    that its networks' arithmetic comes to, start-up included, and each trial's params and score."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        rows = _search(Path(folder), trials=trials, seed=seed, engine=engine)
        whole = time.perf_counter() - begun
    done = sum(_operations(row) for row in rows)
    peak = _matrix_products_per_s() * (os.cpu_count() or 1)
    told = [(row.number, row.state, row.value, row.params) for row in rows]
    return _summary(rows) | {
        "whole_command_s": whole,
        "gflop_s": done / whole / 1e9,
        "peak_gflop_s": peak / 1e9,
        "share_of_peak": done / whole / peak,
        "told": told,
    }


def _operations(row: TrialRow) -> float:
    """Floating-point operations of a trial's matrix products: 6 a weight and trained row, 2 a
    validated one."""
    total = 0.0
    for attempt in row.attempts:
        params: dict[str, Any] = row.params
        sizes = [784, *[params["width"]] * params["depth"], 10]
        weights = sum(before * after for before, after in pairwise(sizes))
        # A trial pruned in its first epoch has trained two of five intervals on average.
        total += weights * (attempt.epochs or 0.4) * (6 * 50_000 + 2 * 10_000)
    return total


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
) -> list[TrialRow]:
    """Create a study in `folder` and run it as the command does; its trials."""
    from tuner.optimize import Limits, Request, optimize, places_wanted
    from tuner.studies import Wanted, create, data_spec

    settings = _settings(folder)
    wanted = Wanted(
        space=_space(folder, baselines),
        data=data_spec(source=data),
        overrides=overrides or {},
        pruner=Choice(name=pruner),
        seed=seed,
    )
    store = open_store(settings.storage)
    study = create(wanted, settings, lambda: store).study
    total = places_wanted(store, study, trials, None)
    limits = Limits(total, timeout_s, target)
    request = Request(limits, workers, tracking, engine=cast(Engine, engine))
    optimize(settings, store, study, request)
    return list_trials(store, study)


def _settings(folder: Path) -> Settings:
    base = load_settings(
        f"sqlite:///{folder / 'tuner.db'}", f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}"
    )
    return replace(base, checkpoints=folder / "checkpoints")


def _space(folder: Path, baselines: Sequence[Configuration] | None) -> str:
    """The benchmarks' space, its baselines replaced where others are given."""
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


OURS: dict[str, Callable[..., Result]] = {
    one.__name__: one for one in (epoch, program_epoch, warm, fixed_list, until, digits, study)
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ours")
    parser.add_argument("name", choices=OURS)
    parser.add_argument("--json", default="{}", type=json.loads, metavar="ARGS", help="JSON object")
    command = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with redirect_stdout(sys.stderr):
        result = OURS[command.name](**command.json)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
