"""The fit engine beside plain Keras `fit` of the same compiled model, in turn, in one process.

python -m benchmarks.fit_engine epochs --json '{…}'
"""

import statistics
import time
from typing import Any

import numpy as np

from benchmarks.commands import Result, main
from benchmarks.programs import images_of, one_thread
from tuner.data import Dataset
from tuner.search_space.parameter_types import Params

_CODE = """
import keras

def build(params, input_shape, outputs):
    layers = [keras.Input(input_shape), keras.layers.Flatten()]
    layers += [keras.layers.Dense(units, activation="relu") for units in (300, 100)]
    model = keras.Sequential([*layers, keras.layers.Dense(outputs, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
_BATCH = 32
# The first epoch of each side also traces and compiles.
_EPOCHS = 3


def epochs(pairs: int = 10, rows: int = 20_000) -> Result:
    """Seconds an epoch with its validation, Fashion-MNIST, 784-300-100-10, batch 32, one thread:
    the median of the pairs' ratios, ours to Keras', with a 95 % interval (bootstrap)."""
    one_thread()
    dataset = images_of(rows)
    seconds = [(_by_tuner(dataset), _by_keras(dataset)) for _ in range(pairs)]
    ratios = np.array([ours / keras for ours, keras in seconds])
    draws = np.random.default_rng(0).choice(ratios, (10_000, pairs))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return {
        "ratio": statistics.median(ratios.tolist()),
        "low": float(low),
        "high": float(high),
        "tuner_s": statistics.median(ours for ours, _ in seconds),
        "keras_s": statistics.median(keras for _, keras in seconds),
    }


def _by_tuner(dataset: Dataset) -> float:
    from tuner.networks.custom import CustomNetwork
    from tuner.study.messages import Event, Goal, Reply, Report, TrialRequest
    from tuner.training.build_plan import plan_of_build
    from tuner.training.fit_trial import FitTrial
    from tuner.training.trial import Trainer

    network = CustomNetwork("net.py", "build", _CODE, ())
    params: Params = {"epochs": _EPOCHS, "batch_size": _BATCH, "patience": _EPOCHS}
    request = TrialRequest("net.py:build", params, 0, Goal("val_accuracy", "maximize"))
    trainer = Trainer(dataset, network=network)
    clock: list[float] = []

    def tell(event: Event) -> Reply:
        if isinstance(event, Report):
            clock.append(time.perf_counter())
        return Reply()

    FitTrial(trainer, request, plan_of_build(network, params, dataset)).run(tell)
    return _epoch_seconds(clock)


def _by_keras(dataset: Dataset) -> float:
    import keras

    names: dict[str, Any] = {}
    exec(_CODE, names)
    model = names["build"]({}, dataset.input_shape, dataset.outputs)
    x, held_out = (dataset.scaling.apply(s.x) for s in (dataset.train, dataset.validation))
    clock: list[float] = []
    model.fit(
        x,
        dataset.train.y,
        batch_size=_BATCH,
        epochs=_EPOCHS,
        validation_data=(held_out, dataset.validation.y),
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: clock.append(time.perf_counter())
            )
        ],
        verbose=0,
    )
    return _epoch_seconds(clock)


def _epoch_seconds(clock: list[float]) -> float:
    """The quickest epoch after the first, of the times at which epochs ended."""
    return min(float(seconds) for seconds in np.diff(clock))


if __name__ == "__main__":
    main("fit_engine", epochs)
