"""What KerasTuner, and Optuna around a Keras `fit`, take for the same work.

Each peer is a plain function that returns a dict; `python -m benchmarks.peers NAME --json ARGS`
runs one in a fresh process, with ARGS a JSON object of its arguments, and prints the dict as one
line of JSON (everything else goes to stderr). What holds for all of them:

- Fashion-MNIST's 60 000 training images, float32 in [0, 1], split once into 50 000 for training
  and 10 000 for validation, handed to `fit` as NumPy arrays: as the guides of both tools do.
- One process, TensorFlow's own choice of threads (so all cores), trials one after the other: how
  both tools run by default. Keras' defaults decide about XLA; `verbose=0`.
- Clocks start after the imports (`import_s`) and the reading of the data (`load_s`), both stated
  separately. Everything that a tool does after that is counted: models built, graphs traced and
  compiled, validation after every epoch, the tool's own files.
- A trial-epoch is one epoch run in one trial, its validation included.
"""

import contextlib
import importlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np

from benchmarks import OBJECTIVE, Progress, SearchEnded
from benchmarks import configurations as given
from benchmarks.commands import Result, main

# TensorFlow and Keras read these when they are imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

MAX_EPOCHS = 27
FACTOR = 3
HYPERBAND_EPOCHS = 9
PATIENCE = 5

T = TypeVar("T")
Configurations = Sequence[given.Configuration] | None  # None: all 20 of the fixed list


def keras_fit_epoch(network: str = "784-64-64-10") -> Result:
    """Seconds an epoch of 60 000 images: Keras `fit` with SGD, batch 32, no validation.

    `network` is the sizes from the input to the classes; hidden layers are relu. Compiled with the
    accuracy metric, as every tuner needs it. None of KerasTuner's callbacks are added: its hooks at
    every batch and its checkpoint would only slow it down. Median of three epochs after a first
    one that compiles, all in one `fit`; an epoch lasts from the end of the one before to its own.
    Raises UsageError when the network does not fit the data.
    """
    sizes = given.parse_network(network)
    (x, y), stated = _prepare("keras", given.load_images)
    from keras.callbacks import LambdaCallback

    model = given.build_relu(sizes)
    clock = [time.perf_counter()]
    tick = LambdaCallback(on_epoch_end=lambda epoch, logs: clock.append(time.perf_counter()))
    model.fit(x, y, batch_size=32, epochs=4, verbose=0, callbacks=[tick])
    first_s, *epochs_s = np.diff(clock).tolist()
    return stated | {
        "network": network,
        "seconds_an_epoch": statistics.median(epochs_s),
        "epochs_s": epochs_s,
        "first_epoch_s": first_s,
    }


def optuna_list(epochs: int = 2, configurations: Configurations = None) -> Result:
    """Trial-epochs a second of Optuna + Keras `fit` over a fixed list.

    The list is queued with `enqueue_trial`. The pruning callback reports every epoch and asks
    whether to prune, and NopPruner always answers no, so that every tool does the same epochs; no
    early stopping for the same reason. The study is kept in memory: Optuna's default, and its
    fastest. `clear_session` before each trial, as Optuna's Keras examples have it.
    """
    data, stated = _prepare("optuna", given.load_split)
    import optuna

    chosen = given.configurations() if configurations is None else configurations
    progress = Progress()
    study = _study(0, optuna.pruners.NopPruner())
    for configuration in chosen:
        study.enqueue_trial(configuration)
    study.optimize(partial(_objective, data, epochs, progress, []), n_trials=len(chosen))
    return stated | _rate(progress, epochs * len(chosen))


def optuna_until(target: float = 0.88, seed: int = 0, limit_s: float = 600.0) -> Result:
    """A search with Optuna + Keras `fit` until an epoch's validation accuracy reaches `target`.

    TPE with groups (the space is conditional) and the constant liar, Hyperband on 1 to 27 epochs
    by 3, early stopping with patience 5 that restores the best weights. Optuna's pruning callback
    for Keras reports epochs from 0, with which the rungs fall after epochs 2, 4 and 10; ours counts
    from 1, so they fall after 1, 3 and 9, as its user means them. The study has a name since
    Hyperband's brackets come from it: a seed then gives the same trials again.
    """
    data, stated = _prepare("optuna", given.load_split, seed)
    import optuna

    progress = Progress(target, limit_s)
    study = _study(seed, optuna.pruners.HyperbandPruner(1, MAX_EPOCHS, FACTOR))
    with contextlib.suppress(SearchEnded):
        study.optimize(partial(_objective, data, MAX_EPOCHS, progress, [_early_stopping]))
    return stated | _reached(progress, seed)


def _study(seed: int, pruner: Any) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        multivariate=True, group=True, constant_liar=True, seed=seed
    )
    return optuna.create_study(
        study_name=f"peers-{seed}", direction="maximize", sampler=sampler, pruner=pruner
    )


def _objective(
    data: given.Data, epochs: int, progress: Progress, more: list[Callable[[], Any]], trial: Any
) -> float:
    """One trial; its score is its best epoch. `more` makes further callbacks, new ones a trial."""
    import keras

    keras.backend.clear_session()
    params = given.suggest(trial)
    history = given.build_keras(params).fit(
        data.x,
        data.y,
        validation_data=(data.x_validation, data.y_validation),
        epochs=epochs,
        batch_size=params["batch_size"],
        verbose=0,
        callbacks=[progress.callback(), *(make() for make in more), _pruning(trial)],
    )
    return float(max(history.history[OBJECTIVE]))


def _pruning(trial: Any) -> Any:
    import optuna
    from keras.callbacks import LambdaCallback

    def report(epoch: int, logs: Result) -> None:
        trial.report(logs[OBJECTIVE], epoch + 1)
        if trial.should_prune():
            raise optuna.TrialPruned(f"pruned after epoch {epoch + 1}")

    return LambdaCallback(on_epoch_end=report)


def _early_stopping() -> Any:
    from keras.callbacks import EarlyStopping

    return EarlyStopping(OBJECTIVE, patience=PATIENCE, mode="max", restore_best_weights=True)


def keras_tuner_list(epochs: int = 2, configurations: Configurations = None) -> Result:
    """Trial-epochs a second of KerasTuner over a fixed list.

    An oracle hands out the list in its order; the rest is KerasTuner's own `Tuner.search`, with the
    checkpoint that it always writes when an epoch is a trial's best, in a temporary folder.
    """
    data, stated = _prepare("keras-tuner", given.load_split)
    import keras_tuner

    chosen = given.configurations() if configurations is None else configurations

    class ListOracle(keras_tuner.Oracle):  # type: ignore[misc, unused-ignore]
        def populate_space(self, trial_id: str) -> Result:
            return {"status": "RUNNING", "values": dict(chosen[len(self.trials)])}

    progress = Progress()
    oracle = ListOracle(keras_tuner.Objective(OBJECTIVE, "max"), max_trials=len(chosen))
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.Tuner(oracle, _hypermodel(), directory=folder, project_name="list")
        _search(tuner, data, epochs, [progress.callback()])
        return stated | _rate(progress, epochs * len(chosen))


def keras_tuner_until(target: float = 0.88, seed: int = 0, limit_s: float = 600.0) -> Result:
    """A search with KerasTuner's Hyperband until an epoch's validation accuracy reaches `target`.

    27 epochs at most, by 3, as many brackets as the time limit allows; a promoted trial goes on
    from its checkpoint, and KerasTuner counts it as a new trial. Early stopping as in
    `optuna_until`.
    """
    data, stated = _prepare("keras-tuner", given.load_split, seed)
    import keras_tuner

    progress = Progress(target, limit_s)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SearchEnded):
        tuner = keras_tuner.Hyperband(
            _hypermodel(),
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_epochs=MAX_EPOCHS,
            factor=FACTOR,
            hyperband_iterations=100,  # the time limit comes first
            seed=seed,
            directory=folder,
            project_name="until",
        )
        _search(tuner, data, MAX_EPOCHS, [progress.callback(), _early_stopping()])
    return stated | _reached(progress, seed)


def keras_tuner_hyperband(limit_s: float = 120.0, seed: int = 0) -> Result:
    """Trial-epochs a second of KerasTuner's Hyperband over `build_model.py`, 9 epochs at most, in
    `limit_s` seconds."""
    data, stated = _prepare("keras-tuner", given.load_split, seed)
    import keras_tuner

    from benchmarks.build_model import build_model

    progress = Progress(limit_s=limit_s)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SearchEnded):
        tuner = keras_tuner.Hyperband(
            build_model,
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_epochs=HYPERBAND_EPOCHS,
            factor=FACTOR,
            hyperband_iterations=100,  # the time limit comes first
            seed=seed,
            directory=folder,
            project_name="hyperband",
        )
        _search(tuner, data, HYPERBAND_EPOCHS, [progress.callback()])
    rate = progress.trial_epochs / progress.elapsed_s()
    return stated | {"trial_epochs_per_s": rate} | progress.counts()


def _hypermodel() -> Any:
    import keras_tuner

    class Network(keras_tuner.HyperModel):  # type: ignore[misc, unused-ignore]
        def build(self, hp: Any) -> Any:
            return given.build_keras(given.hyperparameters(hp))

        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            return model.fit(*args, batch_size=hp.get("batch_size"), **kwargs)

    return Network()


def _search(tuner: Any, data: given.Data, epochs: int, callbacks: list[Any]) -> None:
    validation = (data.x_validation, data.y_validation)
    tuner.search(
        data.x, data.y, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0
    )


def _prepare(tool: str, load: Callable[[], T], seed: int = 0) -> tuple[T, Result]:
    """The data, and what is stated beside each figure: the tool and the seconds before the work."""
    modules = ["tensorflow", "keras", tool.replace("-", "_")]
    imported, import_s = _timed(lambda: [importlib.import_module(name) for name in modules])
    imported[1].utils.set_random_seed(seed)
    data, load_s = _timed(load)
    return data, {"tool": f"{tool} {version(tool)}", "import_s": import_s, "load_s": load_s}


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def _rate(progress: Progress, expected: int) -> Result:
    """Raises RuntimeError when a tool ran other epochs than it was given: no rate to compare."""
    seconds = progress.elapsed_s()
    if progress.trial_epochs != expected:
        raise RuntimeError(f"{progress.trial_epochs} trial-epochs run instead of {expected}")
    rate = progress.trial_epochs / seconds
    return {"trial_epochs_per_s": rate, "seconds": seconds} | progress.counts()


def _reached(progress: Progress, seed: int) -> Result:
    """`seconds` is None when the time limit came before the target."""
    times = {"seconds": progress.reached_s, "elapsed_s": progress.elapsed_s()}
    return {"target": progress.target, "seed": seed} | times | progress.counts()


if __name__ == "__main__":
    main(
        "peers",
        keras_fit_epoch,
        optuna_list,
        optuna_until,
        keras_tuner_list,
        keras_tuner_until,
        keras_tuner_hyperband,
    )
