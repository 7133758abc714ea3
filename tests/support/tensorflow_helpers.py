"""Tiny data sets, plans and trainings for the tests that run TensorFlow."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

from tuner.data import Dataset, Scaling, Split, open_dataset, save_dataset
from tuner.data.scaling import IDENTITY, fit_scaling
from tuner.study.engines import Engine
from tuner.study.messages import Ended, Goal, Report, TrialRequest
from tuner.training.trial import Trainer

# As a worker has it: bit-equal repetitions are promised for one thread. All modules that train are
# imported before the first of them runs an operation, which would fix these settings.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.config.set_visible_devices([], "GPU")
tf.get_logger().setLevel("ERROR")

ROWS = 75
LOWEST_LOSS = Goal("val_loss", "minimize")

_DEFAULTS: dict[str, Any] = {
    "depth": 1,
    "width": 8,
    "activation": "tanh",
    "dropout": 0.0,
    "batch_norm": False,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "batch_size": 16,
    "epochs": 1,
    "patience": 5,
}
_CONVOLUTIONS: dict[str, Any] = {
    "blocks": 1,
    "convolutions": 1,
    "filters": 4,
    "filter_growth": 2.0,
    "kernel": 3,
    "padding": "same",
    "pool": 2,
    "block_dropout": 0.0,
}
_OF_NETWORK: dict[str, dict[str, Any]] = {
    "cnn": _CONVOLUTIONS,
    "resnet": {"stages": 2, "stage_blocks": 1, "stage_filters": 3, "stage_growth": 2.0,
               "stem": "small", "pre_activation": False, "stage_dropout": 0.0, "depth": 0},
    "rnn": {"cell": "simple", "rnn_layers": 1, "units": 5, "bidirectional": False,
            "pooling": "last", "embedding": 4, "recurrent_dropout": 0.0, "rnn_dropout": 0.0,
            "depth": 0},
}  # fmt: skip


def make_dataset(task: str = "classes", rows: int = ROWS, images: bool = False) -> Dataset:
    """A learnable target of three classes, two, three labels, or numbers around 20; x holds uint8
    images (3, 4) that share one scale, or 6 float32 columns of different scales."""
    splits = {part: _rows(task, n, images, seed) for part, n, seed in _parts(rows)}
    y = splits["train"].y
    labels = {"binary": ("no", "yes"), "regression": ()}.get(task, ("a", "b", "c"))
    return Dataset(
        name=f"{task}-test",
        task=task,  # type: ignore[arg-type]
        **splits,
        scaling=fit_scaling(splits["train"].x),
        target_scaling=_standardising(y) if task == "regression" else IDENTITY,
        labels=labels,
        fingerprint="0" * 64,
    )


def _parts(rows: int) -> list[tuple[str, int, int]]:
    return [("train", rows, 1), ("validation", 33, 2), ("test", 5, 3)]


def _rows(task: str, rows: int, images: bool, seed: int) -> Split:
    draw = np.random.default_rng(seed)
    hidden = draw.normal(size=(rows, 12 if images else 6))
    signal = hidden[:, 0] - hidden[:, 1] + 0.3 * draw.normal(size=rows)
    if images:
        x = np.clip(hidden * 50 + 128, 0, 255).astype(np.uint8).reshape(rows, 3, 4)
    else:
        x = (hidden * np.geomspace(0.1, 10, 6) + np.arange(6)).astype(np.float32)
    if task == "regression":
        return Split(x, (3 * signal + 20).astype(np.float32))
    if task == "multilabel":
        given = np.stack([signal > -0.7, signal > 0.7, hidden[:, 2] > 0], axis=1)
        return Split(x, given.astype(np.float32))
    return Split(x, np.digitize(signal, [-0.7, 0.7] if task == "classes" else [0]).astype(np.int32))


def _standardising(y: np.ndarray) -> Scaling:
    deviation = np.asarray(y.std(), np.float32)
    return Scaling("standardize", 1 / deviation, np.asarray(-y.mean() / deviation, np.float32))


def on_disk(dataset: Dataset, folder: Path) -> Dataset:
    """The same data as a worker opens them: mapped from files, read-only."""
    save_dataset(dataset, folder)
    return open_dataset(folder)


def make_request(
    seed: int = 1,
    intervals: int = 1,
    goal: Goal = LOWEST_LOSS,
    network: str = "mlp",
    engine: Engine = "auto",
    **params: Any,
) -> TrialRequest:
    """A plan whose `params` override those of a small network trained by SGD for an epoch."""
    complete = _DEFAULTS | _OF_NETWORK.get(network, {}) | params
    if complete["optimizer"] == "sgd":
        complete.setdefault("momentum", 0.0)
    return TrialRequest(network, complete, seed, goal, intervals, engine=engine)


def own_network(request: TrialRequest, name: str = "nets.py:build") -> TrialRequest:
    """The plan as a study of a user's own network has it."""
    return replace(request, network=name)


def train(trainer: Trainer, request: TrialRequest) -> tuple[list[Report], Ended]:
    """All intervals of a trial and how it ended."""
    *intervals, ended = trainer.run(request)
    assert isinstance(ended, Ended)
    return [event for event in intervals if isinstance(event, Report)], ended


def outcome(trainer: Trainer, request: TrialRequest) -> tuple[list[dict[str, float]], list[bytes]]:
    """Every metric and, as bytes, every weight that a trial ends with: equal only if bit-equal."""
    intervals, _ = train(trainer, request)
    return [i.metrics for i in intervals], [w.tobytes() for w in weights(trainer)]


def weights(trainer: Trainer) -> list[np.ndarray]:
    assert trainer.program is not None
    return trainer.program.weights()
