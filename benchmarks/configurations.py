"""What the peers get: Fashion-MNIST, a fixed list of configurations, the space in each tool's own
terms, and the Keras model that a user of those tools writes for a configuration.
"""

import gzip
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tuner.errors import DatasetError, UsageError

Configuration = dict[str, int | float | str | bool]

# The ranges of space.yaml, both ends included.
DEPTH = (1, 4)
WIDTH = (32, 512)  # log
ACTIVATIONS = ["relu", "tanh", "sigmoid", "elu", "gelu"]
DROPOUT = (0.0, 0.5)
LEARNING_RATE = (1e-4, 1e-1)  # log
OPTIMIZERS = ["adam", "sgd"]
MOMENTUM = (0.0, 0.99)  # of sgd only
BATCH_SIZES = [32, 64, 128]

FOLDER = Path("/usr/share/datasets/fashion-mnist")
VALIDATION_IMAGES = 10_000
INPUT_SHAPE = (28, 28)
CLASSES = 10


class Data(NamedTuple):
    """Images (n, 28, 28) float32 in [0, 1], labels (n,) uint8."""

    x: np.ndarray
    y: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray


def load_images(folder: Path = FOLDER) -> tuple[np.ndarray, np.ndarray]:
    """The 60 000 training images (60000, 28, 28) float32 in [0, 1] and labels (60000,) uint8.

    Raises DatasetError when the files cannot be read.
    """
    try:
        images = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())
    except OSError as error:
        message = f"{folder}: no readable Fashion-MNIST; install Debian's dataset-fashion-mnist"
        raise DatasetError(message) from error
    # The bytes before: IDX headers of three sizes and of one.
    x = np.frombuffer(images, np.uint8, offset=16).reshape(-1, *INPUT_SHAPE)
    return x.astype(np.float32) / 255, np.frombuffer(labels, np.uint8, offset=8)


def load_split(seed: int = 0) -> Data:
    """50 000 images for training and 10 000 for validation, drawn at random with `seed`."""
    x, y = load_images()
    order = np.random.default_rng(seed).permutation(len(x))
    held_out, rest = order[:VALIDATION_IMAGES], order[VALIDATION_IMAGES:]
    return Data(x[rest], y[rest], x[held_out], y[held_out])


def configurations(n: int = 20, seed: int = 0) -> list[Configuration]:
    """`n` draws from the space, the same ones for the same n and seed.

    A Latin hypercube (McKay, Beckman and Conover, 1979): each parameter alone is spread evenly over
    its range, so that a short list holds small and large networks, every activation and so on, as
    often as the space does. `momentum` is there only with sgd.
    """
    rng = np.random.default_rng(seed)
    columns = [(rng.permutation(n) + rng.random(n)) / n for _ in range(9)]
    return [_configuration(point) for point in np.column_stack(columns).tolist()]


def _configuration(point: list[float]) -> Configuration:
    """The configuration at a point of [0, 1)^9, whose last coordinate is the momentum's."""
    *coordinates, momentum = point
    pairs = zip(DIMENSIONS.items(), coordinates, strict=True)
    drawn = {name: value_at(coordinate) for (name, value_at), coordinate in pairs}
    if drawn["optimizer"] == "sgd":
        drawn["momentum"] = _between(MOMENTUM, momentum)
    return drawn


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


def _between_log(ends: tuple[float, float], share: float) -> float:
    return math.exp(_between((math.log(ends[0]), math.log(ends[1])), share))


def _one_of(choices: Sequence[Any], share: float) -> Any:
    return choices[int(share * len(choices))]


# Half a unit more at both ends of a width, so that they come up as often as their neighbours.
DIMENSIONS: dict[str, Callable[[float], Any]] = {
    "depth": partial(_one_of, range(DEPTH[0], DEPTH[1] + 1)),
    "width": lambda share: round(_between_log((WIDTH[0] - 0.5, WIDTH[1] + 0.5), share)),
    "activation": partial(_one_of, ACTIVATIONS),
    "dropout": partial(_between, DROPOUT),
    "batch_norm": partial(_one_of, [True, False]),
    "learning_rate": partial(_between_log, LEARNING_RATE),
    "optimizer": partial(_one_of, OPTIMIZERS),
    "batch_size": partial(_one_of, BATCH_SIZES),
}


def suggest(trial: Any) -> Configuration:
    """The space as a user of Optuna writes it, `trial` being an optuna.Trial."""
    params: Configuration = {
        "depth": trial.suggest_int("depth", *DEPTH),
        "width": trial.suggest_int("width", *WIDTH, log=True),
        "activation": trial.suggest_categorical("activation", ACTIVATIONS),
        "dropout": trial.suggest_float("dropout", *DROPOUT),
        "batch_norm": trial.suggest_categorical("batch_norm", [True, False]),
        "learning_rate": trial.suggest_float("learning_rate", *LEARNING_RATE, log=True),
        "optimizer": trial.suggest_categorical("optimizer", OPTIMIZERS),
        "batch_size": trial.suggest_categorical("batch_size", BATCH_SIZES),
    }
    if params["optimizer"] == "sgd":
        params["momentum"] = trial.suggest_float("momentum", *MOMENTUM)
    return params


def hyperparameters(hp: Any) -> Configuration:
    """The space as a user of KerasTuner writes it, `hp` being its HyperParameters.

    All of it is declared when the network is built, the batch size too, so that the very first
    trial already samples everything.
    """
    params: Configuration = {
        "depth": hp.Int("depth", *DEPTH),
        "width": hp.Int("width", *WIDTH, sampling="log"),
        "activation": hp.Choice("activation", ACTIVATIONS),
        "dropout": hp.Float("dropout", *DROPOUT),
        "batch_norm": hp.Boolean("batch_norm"),
        "learning_rate": hp.Float("learning_rate", *LEARNING_RATE, sampling="log"),
        "optimizer": hp.Choice("optimizer", OPTIMIZERS),
        "batch_size": hp.Choice("batch_size", BATCH_SIZES),
    }
    with hp.conditional_scope("optimizer", ["sgd"]):
        if params["optimizer"] == "sgd":
            params["momentum"] = hp.Float("momentum", *MOMENTUM)
    return params


def build_keras(params: Configuration) -> Any:
    """The compiled keras.Model of a configuration, for images (n, 28, 28) and labels 0..9.

    Each hidden layer is Dense, BatchNormalization where asked for, Activation, Dropout, in the
    order of Keras' own guides. Initialisers, biases and the other arguments of the optimizers and
    of `compile` are left at their defaults, so Keras picks XLA for the training step by itself.
    """
    from keras import Sequential, layers

    model = Sequential([layers.Input(INPUT_SHAPE), layers.Flatten()])
    for _ in range(int(params["depth"])):
        model.add(layers.Dense(params["width"]))
        if params["batch_norm"]:
            model.add(layers.BatchNormalization())
        model.add(layers.Activation(params["activation"]))
        if params["dropout"]:
            model.add(layers.Dropout(params["dropout"]))
    model.add(layers.Dense(CLASSES, activation="softmax"))
    model.compile(
        optimizer=_optimizer(params),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def _optimizer(params: Configuration) -> Any:
    from keras import optimizers

    rate = params["learning_rate"]
    if params["optimizer"] == "adam":
        return optimizers.Adam(rate)
    return optimizers.SGD(rate, momentum=params["momentum"])


def parse_network(network: str) -> list[int]:
    """The hidden sizes of a network written "784-64-64-10". Raises UsageError."""
    try:
        first, *hidden, last = map(int, network.split("-"))
    except ValueError:
        raise UsageError(f"network {network!r}: write sizes such as 784-64-64-10") from None
    if (first, last) != (math.prod(INPUT_SHAPE), CLASSES):
        raise UsageError(f"network {network!r}: must start with 784 and end with 10")
    return hidden


def build_relu(hidden: list[int]) -> Any:
    """The compiled keras.Model with relu layers of these sizes, trained with plain SGD."""
    from keras import Sequential, layers

    model = Sequential([layers.Input(INPUT_SHAPE), layers.Flatten()])
    for size in hidden:
        model.add(layers.Dense(size, activation="relu"))
    model.add(layers.Dense(CLASSES, activation="softmax"))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
