"""An epoch of a recurrent network against Keras' own layers and `fit`, on rows of every kind."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras_reference import compare, far_apart, fitted
from tensorflow_helpers import make_dataset, make_request, weights

from tuner.data import Dataset, Split
from tuner.data.scaling import IDENTITY
from tuner.networks import export_network
from tuner.training.engines.keras import KerasProgram
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

EXERCISES = {
    "bidirectional": "test_an_epoch_is_that_of_keras",
    "cell": "test_an_epoch_is_that_of_keras",
    "embedding": "test_an_epoch_is_that_of_keras",
    "pooling": "test_an_epoch_is_that_of_keras",
    "rnn_layers": "test_an_epoch_is_that_of_keras",
    "units": "test_an_epoch_is_that_of_keras",
    "rnn_dropout": "test_dropouts_are_the_trials_own",
}

LAYERS = keras.layers
WORDS = 9


def images() -> Dataset:
    return make_dataset(images=True)


def words() -> Dataset:
    """Rows of four words; 0 is padding. Their first word decides."""
    return replace(_changed(_as_words), input_kind="tokens", vocabulary_size=WORDS)


def padded() -> Dataset:
    """Rows of up to three steps of three channels. Padding holds what must have no effect."""
    return replace(_changed(_as_padded), input_kind="sequence", padding=(0.0, 0.0))


def _changed(rows: Callable[[Split], np.ndarray]) -> Dataset:
    dataset = make_dataset(images=True)
    parts = {part: replace(split, x=rows(split)) for part, split in dataset.splits.items()}
    return replace(dataset, scaling=IDENTITY, **parts)


def _as_words(split: Split) -> np.ndarray:
    drawn = np.random.default_rng(1).integers(1, WORDS, (len(split.y), 4))
    drawn[:, 0] = split.y + 1
    drawn[::2, 3] = 0
    return drawn.astype(np.float32)


def _as_padded(split: Split) -> np.ndarray:
    x = np.asarray(split.x, np.float32) / 255
    x[..., -1] = 1
    x[::2, 2, -1] = 0
    return x


def masked_padding() -> list[Any]:
    return [LAYERS.Lambda(lambda x: x * x[..., -1:]), LAYERS.Masking()]


# The data, what the trial has, and Keras' layers between input and output.
CASES: dict[str, tuple[Callable[[], Dataset], dict[str, Any], Callable[[], list[Any]]]] = {
    "lstm, two layers": (
        images,
        {"cell": "lstm", "rnn_layers": 2, "units": [4, 3], "depth": 1, "width": 4},
        lambda: [
            LAYERS.LSTM(4, return_sequences=True),
            LAYERS.LSTM(3),
            LAYERS.Dense(4, activation="tanh"),
        ],
    ),
    "gru, padded, both ends, mean": (
        padded,
        {"cell": "gru", "bidirectional": True, "pooling": "mean"},
        lambda: [
            *masked_padding(),
            LAYERS.Bidirectional(LAYERS.GRU(5, return_sequences=True)),
            LAYERS.GlobalAveragePooling1D(),
        ],
    ),
    "words, both ends, last": (
        words,
        {"bidirectional": True},
        lambda: [
            LAYERS.Embedding(WORDS, 4, mask_zero=True),
            LAYERS.Bidirectional(LAYERS.SimpleRNN(5)),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_epoch_is_that_of_keras(case: str, tmp_path: Path) -> None:
    make, params, layers = CASES[case]
    dataset = make()
    request = make_request(network="rnn", **params)
    network = keras.Sequential(
        [keras.Input(dataset.input_shape), *layers(), LAYERS.Dense(3, activation="softmax")]
    )
    expected = fitted(dataset, request, network, keras.optimizers.SGD(0.1))
    trainer = Trainer(dataset)
    compare(trainer, request, expected)
    exported = export_network("rnn", request.params, dataset, weights(trainer))
    exported.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    x = np.asarray(dataset.validation.x)
    theirs = network(dataset.scaling.apply(x))
    np.testing.assert_allclose(loaded(x), theirs, rtol=0, atol=1e-5)


def started(dataset: Dataset, seed: int = 1, **params: Any) -> tuple[KerasProgram, Any]:
    request = make_request(seed, network="rnn", **params)
    program = KerasProgram("rnn", request.params, dataset)
    program.start(request.params, seed)
    return program, request.params


def test_padding_changes_nothing() -> None:
    dataset = padded()
    program, params = started(dataset, cell="lstm", bidirectional=True, pooling="mean")
    model = export_network("rnn", params, dataset, program.weights())
    short = np.asarray(dataset.validation.x)[::2]
    other = short.copy()
    other[:, 2, :-1] = 7  # in the padding alone
    np.testing.assert_array_equal(model(other), model(short))


def test_dropouts_are_the_trials_own() -> None:
    """Of equal requests, equal weights; of other rates and seeds, others."""
    dataset = images()
    x, y = dataset.train.x[:16], dataset.train.y[:16]

    def trained(seed: int = 1, **rates: float) -> list[np.ndarray]:
        program, _ = started(dataset, seed, cell="gru", **rates)
        for _ in range(2):
            program.step(tf.constant(x), tf.constant(y), tf.constant(0.1))
        return program.weights()

    both = {"recurrent_dropout": 0.5, "rnn_dropout": 0.5}
    first, again = trained(**both), trained(**both)
    assert [w.tobytes() for w in first] == [w.tobytes() for w in again]
    for others in (both | {"recurrent_dropout": 0.3}, both | {"rnn_dropout": 0.0}):
        assert far_apart(first, trained(**others), least=1e-4)
