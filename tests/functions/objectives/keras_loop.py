"""A Keras network whose callback reports each epoch."""

import keras
import numpy as np
import optuna


class Reporting(keras.callbacks.Callback):
    def __init__(self, trial):
        super().__init__()
        self.trial = trial

    def on_epoch_end(self, epoch, logs=None):
        self.trial.report(logs["loss"], epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"epoch {epoch}")


def objective(trial):
    keras.backend.clear_session()
    keras.utils.set_random_seed(trial.number)
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    layers = [keras.Input((4,))]
    for n in range(trial.suggest_int("layers", 1, 2)):
        units = trial.suggest_int(f"units_{n}", 4, 16, log=True)
        layers.append(keras.layers.Dense(units, activation="relu"))
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    model.compile(keras.optimizers.SGD(rate), "mse", run_eagerly=True)
    # Later trials learn from larger numbers, and are hopeless.
    y = x.sum(axis=1) * 10.0**trial.number
    history = model.fit(x, y, batch_size=32, epochs=2, verbose=0, callbacks=[Reporting(trial)])
    return history.history["loss"][-1]
