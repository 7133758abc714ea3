"""A user's own network: refused where it does not fit, trained as Keras would where it does."""

import hashlib
import os
import sys
import traceback
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from tensorflow_helpers import make_dataset, make_request, outcome, own_network, train, weights

from tuner.errors import NetworkError
from tuner.networks.custom import CustomNetwork
from tuner.training.trial import Trainer, epoch_order

pytestmark = pytest.mark.tensorflow

PENALISED = """
    import keras

    def build(params, input_shape, outputs):
        return keras.Sequential([
            keras.Input(input_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(
                params["units"],
                activation="tanh",
                kernel_regularizer=keras.regularizers.L2(0.01),
                activity_regularizer=keras.regularizers.L2(0.003),
            ),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(outputs, activation="softmax"),
        ])
"""
DROPPING = """
    import keras

    class Net(keras.Model):
        def __init__(self, rate, outputs):
            super().__init__()
            self.hidden = keras.layers.Dense(8, activation="relu")
            self.dropout = keras.layers.Dropout(rate)
            self.head = keras.layers.Dense(outputs, activation="softmax")

        def call(self, inputs, training=False):
            return self.head(self.dropout(self.hidden(inputs), training=training))

    def build(params, input_shape, outputs):
        return Net(params["dropout"], outputs)
"""


def network(text: str) -> CustomNetwork:
    return CustomNetwork("nets.py", "build", dedent(text))


def returning(value: str) -> CustomNetwork:
    return network(f"""
        import keras
        from keras import layers

        def build(params, input_shape, outputs):
            inputs = keras.Input(input_shape)
            return {value}
    """)


def test_a_network_is_built_from_its_text() -> None:
    own = network("""
        import keras

        def build(params, input_shape, outputs):
            inputs = keras.Input(input_shape)
            hidden = keras.layers.Dense(params["units"])(inputs)
            return keras.Model(inputs, keras.layers.Dense(outputs)(hidden))
    """)
    model = own.build({"units": 4}, (6,), 3)
    assert [tuple(w.shape) for w in model.weights] == [(6, 4), (4,), (4, 3), (3,)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("None", "must return a keras.Model, got NoneType"),
        ("layers.Dense(outputs)", "must return a keras.Model, got Dense"),
        ("keras.Model(inputs, layers.Dense(7)(inputs))", r"shape \(None, 3\), got \(None, 7\)"),
        ("keras.Sequential([layers.Dense(2)])", r"shape \(None, 3\), got \(None, 2\)"),
        (
            "keras.Model(inputs, [layers.Dense(3)(inputs), layers.Dense(1)(inputs)])",
            r"shape \(None, 3\), got \(None, 3\), \(None, 1\)",
        ),
        (
            "keras.Model(inputs, layers.Reshape((2, 3))(inputs))",
            r"shape \(None, 3\), got \(None, 2, 3\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(value: str, message: str) -> None:
    with pytest.raises(NetworkError, match=f"nets.py:build .*{message}"):
        returning(value).build({}, (6,), 3)


def test_a_missing_function_is_refused() -> None:
    for text in ("def make(): ...", "build = 3"):
        with pytest.raises(NetworkError, match=r"nets\.py: no function 'build'"):
            network(text).load()


def test_a_model_for_other_inputs_fails_before_training() -> None:
    model = "keras.Sequential([keras.Input((5,)), layers.Dense(outputs)])"
    with pytest.raises(NetworkError, match=r"input of shape \(5,\), but a row has shape \(6,\)"):
        returning(model).build({}, (6,), 3)


def test_a_module_beside_the_file_can_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_blocks.py").write_text("import keras\nHEAD = keras.layers.Dense\n")
    (tmp_path / "own_units.py").write_text("UNITS = 7\n")
    (tmp_path / "this.py").write_text("raise OSError('in place of the library')\n")
    monkeypatch.chdir(tmp_path)
    own = network("""
        from own_blocks import HEAD
        import this

        def build(params, input_shape, outputs):
            from own_units import UNITS
            import keras
            return keras.Sequential([keras.Input(input_shape), HEAD(UNITS), HEAD(outputs)])
    """)
    before = sys.path.copy()
    assert own.build({}, (6,), 3).count_params() == 7 * 7 + 8 * 3
    assert sys.path == before


HELPED = """
    from __future__ import annotations
    from dataclasses import dataclass
    import keras
    from own_parts.blocks import Block

    @dataclass
    class Sizes:
        units: int

    def build(params, input_shape, outputs):
        from own_parts import units
        sizes = Sizes(units.UNITS)
        head = keras.layers.Dense(outputs, activation="softmax")
        return keras.Sequential([keras.Input(input_shape), Block(sizes.units), head])
"""
BLOCK = """
import keras

class Block(keras.layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.dense = keras.layers.Dense(units)

    def call(self, inputs):
        from own_parts.later import activation
        return activation(self.dense(inputs))
"""


def helped(units: int, activation: str = "tanh") -> CustomNetwork:
    modules = {
        "own_parts/blocks.py": BLOCK,
        "own_parts/later.py": f"from keras.activations import {activation} as activation",
        "own_parts/units.py": f"UNITS = {units}",
    }
    return CustomNetwork("nets.py", "build", dedent(HELPED), tuple(modules.items()))


def test_kept_modules_are_run_whatever_the_folder_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("own_parts", "."):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in ("__init__", "blocks", "later", "units", "nets"):
            (tmp_path / folder / f"{name}.py").write_text("raise OSError('edited')")
    (tmp_path / "own_parts/__init__.py").unlink()
    # Each network sees its own, also one that another was built between.
    sizes = [helped(units).build({}, (6,), 3).count_params() for units in (2, 5, 2)]
    assert sizes == [7 * units + (units + 1) * 3 for units in (2, 5, 2)]


def test_a_layer_may_import_when_it_is_called() -> None:
    dataset = make_dataset()
    request = own_network(make_request(epochs=1, seed=1))
    scores = []
    for own in (helped(4, "tanh"), helped(4, "relu"), helped(4, "tanh")):
        intervals, _ = train(Trainer(dataset, network=own), request)
        scores.append(intervals[-1].metrics["loss"])
    assert scores[0] == scores[2] != scores[1]


def test_another_helper_is_another_network() -> None:
    assert helped(2).identity != helped(3).identity
    plain = CustomNetwork("nets.py", "build", "")
    assert plain.identity == CustomNetwork("nets.py", "build", "", ()).identity
    assert plain.identity.endswith(hashlib.sha256(b"").hexdigest())


def test_a_module_that_is_not_kept_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_sizes.py").write_text("UNITS = 3\n")
    text = """
        def build(params, input_shape, outputs):
            import importlib
            return importlib.import_module(f"own_{params['name']}")
    """
    own = CustomNetwork("nets.py", "build", dedent(text), ())
    with pytest.raises(ModuleNotFoundError, match=r"nets\.py needs 'own_sizes' from its folder"):
        own.build({"name": "sizes"}, (6,), 3)
    with pytest.raises(ModuleNotFoundError, match="No module named 'own_nothing'"):
        own.build({"name": "nothing"}, (6,), 3)


def test_errors_of_the_file_keep_its_name_and_line() -> None:
    own = network("""
        def build(params, input_shape, outputs):
            return params["unitz"]
    """)
    with pytest.raises(KeyError, match="unitz") as caught:
        own.build({"units": 4}, (6,), 3)
    own = [f for f in traceback.extract_tb(caught.value.__traceback__) if f.name == "build"][-1]
    assert (own.filename, own.lineno) == ("nets.py", 3)
    with pytest.raises(SyntaxError) as wrong:
        network("def build(:").load()
    assert wrong.value.filename == "nets.py"


def test_penalties_train_as_in_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    # With XLA, whose short last batch takes the plain graph: so both are compared.
    monkeypatch.setattr(
        "tuner.training.trial.worth_compiling", lambda request, input_shape, rows: True
    )
    dataset, own = make_dataset(), network(PENALISED)
    request = own_network(make_request(units=6, momentum=0.8))
    trainer = Trainer(dataset, network=own)
    program, _ = trainer.prepare(request)
    program.start(request.params, request.seed)
    model = own.build(request.params, dataset.input_shape, dataset.outputs)
    model.set_weights(program.weights())
    history = keras_history(model, dataset, request)
    intervals, _ = train(trainer, request)
    for ours, theirs in zip(weights(trainer), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    assert intervals[0].metrics == pytest.approx(history, rel=2e-5)


def keras_history(model: Any, dataset: Any, request: Any) -> dict[str, float]:
    params = request.params
    model.compile(
        keras.optimizers.SGD(params["learning_rate"], momentum=params["momentum"]),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        run_eagerly=True,
    )
    order = epoch_order(request.seed, 1, len(dataset.train))
    fitted = model.fit(
        dataset.scaling.apply(dataset.train.x)[order],
        dataset.train.y[order],
        batch_size=params["batch_size"],
        shuffle=False,
        validation_data=(dataset.scaling.apply(dataset.validation.x), dataset.validation.y),
        validation_batch_size=len(dataset.validation),
        verbose=0,
    )
    return {name: value for name, (value,) in fitted.history.items()}


def test_random_layers_of_a_users_network_are_repeatable() -> None:
    dataset, own = make_dataset(), network(DROPPING)
    request = own_network(make_request(seed=2**63, dropout=0.4, epochs=2, optimizer="adam"))
    trainer = Trainer(dataset, network=own)
    first = outcome(trainer, request)
    other = outcome(
        trainer, own_network(make_request(seed=4, dropout=0.4, epochs=2, optimizer="adam"))
    )
    assert other[1] != first[1]
    assert outcome(trainer, request) == first
    assert outcome(Trainer(dataset, network=own), request) == first
    without = own_network(make_request(seed=2**63, dropout=0.0, epochs=2, optimizer="adam"))
    assert outcome(trainer, without)[0] != first[0]


def test_a_users_network_may_call_its_parameters_as_it_likes() -> None:
    text = PENALISED.replace('params["units"]', 'len(params["width"])')
    request = own_network(make_request(width="narrow", depth="deep"))
    _, ended = train(Trainer(make_dataset(), network=network(text)), request)
    assert ended.parameter_count == 6 * 6 + 6 + 2 * 6 + 6 * 3 + 3


def test_a_trial_that_asks_for_a_hidden_name_fails_with_the_reason() -> None:
    own = network("""
        def build(params, input_shape, outputs):
            return params["learning_rate"]
    """)
    with pytest.raises(KeyError) as caught:
        Trainer(make_dataset(), network=own).prepare(own_network(make_request()))
    assert str(caught.value).startswith("tuner sets the learning rate itself")


def test_a_model_of_several_inputs_is_refused() -> None:
    model = "keras.Model([inputs, keras.Input((2,))], layers.Dense(3)(inputs))"
    with pytest.raises(NetworkError, match="the data have one input, this network has 2"):
        returning(model).build({}, (6,), 3)
