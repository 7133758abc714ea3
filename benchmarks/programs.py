"""What tuner's programs do with one trial, without the search around it.

Each function runs in a process of its own: python -m benchmarks.programs NAME --json '{…}'.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import Result, main
from benchmarks.configurations import configurations, load_images, parse_network
from tuner.data import Dataset, Split, load_dataset
from tuner.settings import load_settings
from tuner.study.spec import DataSpec

_PLAIN: Result = {"activation": "relu", "dropout": 0.0, "batch_norm": False, "batch_size": 32} | {
    "depth": 2, "width": 64, "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.0,
    "epochs": 27, "patience": 5,
}  # fmt: skip


def epoch(network: str = "784-64-64-10", dropout: float = 0.0, optimizer: str = "sgd") -> Result:
    """Seconds an epoch of 60 000 images at batch 32, one thread: the median of 3 after a first
    one that compiles."""
    from tuner.study.messages import Goal, TrialRequest
    from tuner.training.trial import Trainer, epoch_order

    one_thread()
    hidden = parse_network(network)
    params = {"depth": len(hidden), "width": list(hidden), "activation": "relu"}
    params |= {"dropout": dropout, "batch_norm": False, "batch_size": 32, "optimizer": optimizer}
    params |= {"learning_rate": 0.01, "momentum": 0.0, "epochs": 27, "patience": 5}
    dataset = _all_images()
    request = TrialRequest("mlp", params, 0, Goal("val_accuracy", "maximize"), engine="keras")
    program, feed = Trainer(dataset).prepare(request)
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
    """Seconds an epoch of a configuration in the Keras engine and in the shared programs, graph and
    XLA, in turn: the least of 3 each after a first step that compiles."""
    from tuner.study.messages import Goal, TrialRequest
    from tuner.training.trial import Trainer, epoch_order

    one_thread()
    dataset = load_dataset(DataSpec(source="fashion_mnist"), load_settings())
    params = {"epochs": 27, "patience": 5, "momentum": 0.0} | configuration
    keras = TrialRequest("mlp", params, 0, Goal("val_accuracy", "maximize"), engine="keras")
    trainer, rows = Trainer(dataset), len(dataset.train.y)
    shared = replace(keras, engine="auto", choices=_space_choices())
    # A trial of one epoch stays in the graph.
    graph = replace(shared, params=params | {"epochs": 1})
    feeds: dict[str, Callable[..., Any]] = {}
    for name, request in (("keras", keras), ("graph", graph)):
        program, feed = trainer.prepare(request)
        program.start(params, 0)
        feeds[name] = feed.train
    lane_program = trainer.lane_program(shared)
    lane_program.store.start(0, params, 0)
    feeds["xla"] = lambda order, rates, start, stop: lane_program.train(
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
    """Seconds from a trial's params to its first step if its program is cached: the median over
    trials whose widths, activations and optimizers differ from the first one's."""
    from tuner.study.messages import Ended, Goal, TrialRequest
    from tuner.training.trial import Trainer

    one_thread()
    trainer = Trainer(load_dataset(DataSpec(source="digits"), load_settings()))
    seconds = []
    for number, chosen in enumerate(c for c in configurations() if c["depth"] == 2):
        params = chosen | {"epochs": 1, "patience": 1}
        request = TrialRequest(
            "mlp", params, number, Goal("val_accuracy", "maximize"), choices=_space_choices()
        )
        *_, ended = trainer.run(request)
        assert isinstance(ended, Ended)
        seconds.append(ended.seconds["prepare"] + ended.seconds["first_call"])
    return {"first_s": seconds[0], "warm_s": statistics.median(seconds[1:]), "trials_s": seconds}


def lane_program(lanes: int = 8, configuration: dict[str, Any] | None = None) -> Result:
    """Seconds an epoch and trial of `lanes` equal configurations side by side in one program, and
    of one alone: the least of 3 each after a first step that compiles."""
    from tuner.study.messages import Goal, TrialRequest
    from tuner.training.engines.feeds import ResidentData
    from tuner.training.engines.lanes import widest_widths
    from tuner.training.engines.xla import LaneProgram
    from tuner.training.program_key import program_key_of
    from tuner.training.trial import epoch_order

    one_thread()
    dataset = load_dataset(DataSpec(source="fashion_mnist"), load_settings())
    params = _PLAIN | (configuration or {})
    request = TrialRequest("mlp", params, 0, Goal("val_accuracy", "maximize"))
    design, data = program_key_of(request), ResidentData(dataset)
    assert design is not None
    rows, size = len(dataset.train.y), int(params["batch_size"])
    rates = np.full(-(-rows // size), params["learning_rate"], np.float32)
    seconds: dict[str, float] = {}
    for name, count in (("alone", 1), ("together", lanes)):
        program = LaneProgram(design, widest_widths(request), size, dataset, data, count)
        for lane in range(count):
            program.store.start(lane, params, lane)
        taken = []
        for number, steps in enumerate((1, *[len(rates)] * 3)):
            orders = [epoch_order(lane, number, rows) for lane in range(count)]
            begun = time.perf_counter()
            program.train(orders, [rates] * count, [0] * count, steps)
            taken.append((time.perf_counter() - begun) / count)
        seconds[name] = min(taken[1:])
    return seconds | {"lanes": lanes, "params": params}


def one_thread() -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _space_choices() -> dict[str, tuple[Any, ...]]:
    from tuner.search_space import load_space

    return load_space(str(Path(__file__).with_name("space.yaml"))).choices()


def _all_images() -> Dataset:
    return images_of(None)


def images_of(rows: int | None) -> Dataset:
    """Fashion-MNIST with its first `rows` training images; None for all 60 000."""
    x, y = load_images()
    x, y = x[:rows], y[:rows]
    images = Split((x * 255).round().astype(np.uint8), y.astype(np.int32))
    dataset = load_dataset(DataSpec(source="fashion_mnist"), load_settings())
    return replace(dataset, train=images)


if __name__ == "__main__":
    main("programs", epoch, program_epoch, warm, lane_program)
