"""Compiled models: trained as plain Keras trains them, resumed, pruned, saved."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from tensorflow_helpers import make_dataset, make_request, on_disk

from tuner.data import Dataset
from tuner.errors import NetworkError
from tuner.study.artifacts import FolderArtifacts
from tuner.study.ends import TrialEnd
from tuner.study.messages import (
    Checkpoints,
    Ended,
    Event,
    FunctionCode,
    Goal,
    Reply,
    Report,
    Resumed,
    TrialRequest,
    WorkerSetup,
)
from tuner.training.session import TrainingSession
from tuner.training.trial import epoch_order

pytestmark = pytest.mark.tensorflow

BEST_ACCURACY = Goal("val_accuracy", "maximize")
# Eagerly: nothing is traced, which takes longer than these trainings.
NET = dedent("""
    import keras
    from keras import layers

    def build(params, input_shape, outputs):
        inputs = keras.Input(input_shape)
        x = layers.Dense(8, activation="tanh")(inputs)
        x = layers.Dropout(params.get("dropout", 0.0), seed=params.get("dropout_seed"))(x)
        model = keras.Model(inputs, layers.Dense(outputs, activation="softmax")(x))
        model.compile(
            keras.optimizers.Adam(params["learning_rate"]),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            run_eagerly=True,
        )
        return model
""")
OWN_STEP = dedent("""
    import keras
    from keras import layers

    class Halved(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return super().compute_loss(x, y, y_pred, sample_weight, training) / 2

    def build(params, input_shape, outputs):
        inputs = keras.Input(input_shape)
        model = Halved(inputs, layers.Dense(outputs)(inputs))
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss)
        return model
""")

Told = list[Event]
Run = Callable[..., Told]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    folder = tmp_path_factory.mktemp("data")
    return on_disk(make_dataset(), folder), folder


@pytest.fixture
def open_net(dataset: tuple[Dataset, Path]) -> Callable[..., TrainingSession]:
    def open_session(text: str = NET, **setup: Any) -> TrainingSession:
        code = FunctionCode("net.py", "build", text, ())
        return TrainingSession(WorkerSetup(dataset[1], code=code, **setup))

    return open_session


def request(epochs: int = 2, goal: Goal = BEST_ACCURACY, **params: Any) -> TrialRequest:
    made = make_request(epochs=epochs, goal=goal, learning_rate=0.05, **params)
    return replace(made, network="net.py:build")


def told(
    session: TrainingSession, of: TrialRequest, answer: Callable[[Event], Reply] = lambda _: Reply()
) -> Told:
    events: Told = []

    def tell(event: Event) -> Reply:
        events.append(event)
        return answer(event)

    session.run(of, tell)
    return events


def reports(events: Told) -> list[dict[str, float]]:
    return [event.metrics for event in events if isinstance(event, Report)]


def keras_curve(dataset: Dataset, of: TrialRequest) -> list[dict[str, float]]:
    """What plain Keras reports of the same model on the same rows, an epoch a call."""
    keras.utils.set_random_seed(of.seed)
    inputs = keras.Input(dataset.input_shape)
    hidden = keras.layers.Dense(8, activation="tanh")(inputs)
    outputs = keras.layers.Dense(3, activation="softmax")(hidden)
    model = keras.Model(inputs, outputs)
    model.compile(
        keras.optimizers.Adam(0.05),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        run_eagerly=True,
    )
    x, y = dataset.scaling.apply(np.asarray(dataset.train.x)), np.asarray(dataset.train.y)
    held_out = (
        dataset.scaling.apply(np.asarray(dataset.validation.x)),
        np.asarray(dataset.validation.y),
    )
    curve = []
    for epoch in (1, 2):
        order = epoch_order(of.seed, epoch, len(y))
        fitted = model.fit(
            x[order], y[order], batch_size=16, shuffle=False, validation_data=held_out, verbose=0
        )
        curve.append({name: values[0] for name, values in fitted.history.items()})
    return curve


def test_a_compiled_model_has_the_curve_of_plain_keras(
    open_net: Callable[..., TrainingSession], dataset: tuple[Dataset, Path]
) -> None:
    of = request()
    *curve, ended = told(open_net(), of)
    expected = keras_curve(dataset[0], of)
    for ours, theirs in zip(reports(curve), expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert isinstance(ended, Ended)
    assert (ended.engine, ended.end) == ("fit", TrialEnd.COMPLETE)
    assert ended.score == max(each["val_accuracy"] for each in reports(curve))


def weights(session: TrainingSession) -> list[np.ndarray]:
    """Of the trial that has ended."""
    assert session._fit_trial is not None
    return session._fit_trial.program.weights()


def test_an_interrupted_trial_goes_on_with_the_same_curve(
    open_net: Callable[..., TrainingSession], tmp_path: Path
) -> None:
    """Its best epoch is the first: the second attempt has its weights from the checkpoint."""
    text = NET + dedent("""
        class Falling(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                logs["val_fall"] = -float(epoch)

        def callbacks(params):
            lower = keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=10.0)
            return [lower, Falling()]
    """)
    of = request(epochs=4, goal=Goal("val_fall", "maximize"), dropout=0.5, dropout_seed=3)
    uninterrupted = open_net(text)
    *events, ended = told(uninterrupted, of)
    whole = reports(events)
    assert isinstance(ended, Ended) and ended.best_epoch == 1

    def attempt(number: int, known: int) -> TrialRequest:
        store = FolderArtifacts(tmp_path)
        return replace(of, checkpoints=Checkpoints(store, number, known_epochs=known))

    session = open_net(text)

    def stop_after_two(event: Event) -> Reply:
        if isinstance(event, Report) and event.epoch == 2:
            session.checkpoint()
            return Reply(stop=True, checkpoint=True)
        return Reply()

    first = told(session, attempt(1, 0), stop_after_two)
    second = open_net(text)
    resumed, *rest = told(second, attempt(2, 2))
    assert resumed == Resumed(2)
    of_first_epoch = open_net(text)
    told(of_first_epoch, replace(of, params=of.params | {"epochs": 1}))
    for each in (second, uninterrupted):
        for ours, expected in zip(weights(each), weights(of_first_epoch), strict=True):
            np.testing.assert_array_equal(ours, expected)
    assert reports(first) + reports(rest) == whole
    assert whole[-1]["learning_rate"] < whole[0]["learning_rate"]


def test_reports_inside_the_first_epoch_change_nothing(
    open_net: Callable[..., TrainingSession],
) -> None:
    of = request(epochs=1)
    (alone,) = reports(told(open_net(), of))
    *events, _ = told(open_net(), replace(of, first_epoch_reports=3))
    parts = [event for event in events if isinstance(event, Report)]
    assert [(part.step, part.whole) for part in parts] == [(1, False), (2, False), (3, True)]
    assert parts[-1].metrics == alone  # the running sums of the epoch too


def test_a_trial_that_is_stopped_in_its_first_epoch_tells_nothing_more(
    open_net: Callable[..., TrainingSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = replace(request(epochs=3), first_epoch_reports=3)
    text = NET + dedent("""
        class Closing(keras.callbacks.Callback):
            def on_train_end(self, logs=None):
                open("closed", "w").close()

        def callbacks(params):
            return [Closing()]
    """)
    monkeypatch.chdir(tmp_path)
    (report,) = told(open_net(text), of, lambda event: Reply(stop=True))
    assert (tmp_path / "closed").exists()
    assert isinstance(report, Report)
    assert (report.epoch, report.whole, report.step) == (1, False, 1)
    assert report.metrics.keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_metrics_that_the_model_lacks_come_from_its_predictions(
    open_net: Callable[..., TrainingSession],
) -> None:
    with_both, without = (
        reports(told(open_net(text), replace(request(epochs=1), host_metrics=("f1",))))[-1]
        for text in (NET, NET.replace('metrics=["accuracy"],', ""))
    )
    assert without["val_accuracy"] == pytest.approx(with_both["val_accuracy"])
    assert without["val_f1"] == with_both["val_f1"] > 0


def test_a_model_whose_loss_is_not_finite_has_diverged(
    open_net: Callable[..., TrainingSession],
) -> None:
    text = NET.replace('"sparse_categorical_crossentropy"', "lambda y, p: p[:, 0] * float('nan')")
    *_, report, ended = told(open_net(text), request(epochs=3))
    assert isinstance(report, Report) and np.isnan(report.metrics["loss"])
    assert isinstance(ended, Ended)
    assert (ended.end, ended.epochs) == (TrialEnd.DIVERGED, 1)


def test_a_class_and_step_of_the_users_own_are_trained_in_a_graph_and_saved_without_them(
    open_net: Callable[..., TrainingSession], dataset: tuple[Dataset, Path], tmp_path: Path
) -> None:
    """With logits and one-hot rows, several steps a call, larger data than the budget."""
    goal = Goal("val_loss", "minimize")
    session = open_net(OWN_STEP, budget_bytes=0)
    *events, ended = told(session, request(goal=goal, batch_size=4))
    session.save(tmp_path / "network.keras")
    saved = keras.saving.load_model(tmp_path / "network.keras")
    rows = np.asarray(dataset[0].validation.x)
    probabilities = np.asarray(saved(rows))
    y = np.asarray(dataset[0].validation.y)
    likelihood = probabilities[np.arange(len(y)), y]
    assert isinstance(ended, Ended)
    assert ended.score == pytest.approx(-np.log(likelihood).mean() / 2, rel=1e-4)
    assert reports(events)[-1]["val_loss"] == ended.score
    assert not saved.compiled and type(saved.layers[-2]).__name__ == "Functional"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("def fit_arguments(params):\n    return {'epochs': 3}", "gives 'epochs'; give --epochs"),
        ("def fit_arguments(params):\n    return {'workers': 2}", "gives 'workers'; known: "),
        (
            "def fit_arguments(params):\n    return {'batch_size': 0}",
            "must be a whole number from 1",
        ),
        (
            "def callbacks(params):\n    return keras.callbacks.EarlyStopping()",
            "must return a list",
        ),
        ("def callbacks(params):\n    return [print]", "LambdaCallback around a function"),
    ],
)
def test_what_fit_cannot_be_given_is_refused_in_a_line(
    open_net: Callable[..., TrainingSession], more: str, message: str
) -> None:
    with pytest.raises(NetworkError, match=message) as refused:
        told(open_net(f"{NET}\n{more}\n"), request())
    assert "\n" not in str(refused.value)


def test_callbacks_and_arguments_of_the_users_file_take_part(
    open_net: Callable[..., TrainingSession],
) -> None:
    text = NET + dedent("""
        class Stop(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                logs["val_steps"] = float(self.params["steps"])
                self.model.stop_training = epoch == 1

        def callbacks(params):
            return [Stop()]

        def fit_arguments(params):
            return {"batch_size": params["batch_size"] * 2, "class_weight": {0: 0.0}}
    """)
    of = request(epochs=5, goal=Goal("val_steps", "maximize"))
    *events, ended = told(open_net(text), of)
    plain = reports(told(open_net(), request(epochs=1)))
    assert isinstance(ended, Ended)
    assert (ended.end, ended.epochs, ended.score) == (TrialEnd.EARLY_STOPPED, 2, 3.0)
    assert reports(events)[0]["loss"] < 0.9 * plain[0]["loss"]
