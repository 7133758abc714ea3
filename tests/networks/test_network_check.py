"""A user's own network as it is tried when a study is made of it."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from tensorflow_helpers import make_dataset

from tuner.data import Dataset, Split, describe_inputs
from tuner.data.scaling import fit_scaling
from tuner.errors import NetworkError
from tuner.manage.own_networks import some_rows
from tuner.networks.custom import CustomNetwork
from tuner.search_space import make_space
from tuner.search_space.parameters import TRAINING
from tuner.study.messages import Direction, Goal
from tuner.training.network_check import check_network
from tuner.training.network_inputs import Watched, may_mention, watched_layers
from tuner.training.trial_builds import TrialBuilds, Tried

pytestmark = pytest.mark.tensorflow

HEAD = """
import keras
import numpy as np
from keras import layers as L
"""
UNITS: dict[str, Any] = {"units": 4}
RANGE = {"units": {"type": "int", "low": 4, "high": 8}}


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """check(text, parameters) tries the network of a file, as the child process does."""
    monkeypatch.chdir(tmp_path)
    policy = keras.mixed_precision.dtype_policy()

    def run(
        text: str,
        parameters: Mapping[str, Any] = UNITS,
        dataset: Dataset | None = None,
        seconds: float = 60.0,
        rows: int = 100,
        objective: tuple[str, Direction] = ("val_loss", "minimize"),
    ) -> Tried:
        text = HEAD + dedent(text)
        Path("net.py").write_text(text)
        space = make_space("net.py:build", parameters)
        data = some_rows(dataset or make_dataset())
        request = TrialBuilds(
            code=("net.py", "build", text),
            dataset=data,
            train_rows=rows,
            described=describe_inputs(data),
            configurations=list(space.corners()),
            more=list(space.random(25)),
            varying=space.varying() or list(space.parameters),
            own=[name for name in space.parameters if name not in TRAINING],
            declared=list(space.parameters),
            goal=Goal(*objective),
            until=time.monotonic() + seconds,
            folder=tmp_path,
        )
        return check_network(CustomNetwork(*request.code), request)

    yield run
    keras.mixed_precision.set_dtype_policy(policy)


def dense(
    body: str = "", head: str = "L.Dense(outputs, activation='softmax')", more: str = ""
) -> str:
    """A file whose network has a hidden layer of `units`, with lines in the place of `body`."""
    return f"""
{more}
def build(params, input_shape, outputs):
    inputs = keras.Input(input_shape)
    x = L.Dense(params["units"], activation="relu")(L.Flatten()(inputs))
{indent(dedent(body), "    ")}
    return keras.Model(inputs, {head}(x))
"""


SUBCLASS = """
class Net(keras.Model):
    def __init__(self, layers, outputs):
        super().__init__()
        self.hidden, self.head = layers, L.Dense(outputs, activation="softmax")

    def call(self, x):
        return self.head(self.hidden(x))

def build(params, input_shape, outputs):
    return Net(L.Dense(params["units"]), outputs)
"""
CALLED = """
@keras.saving.register_keras_serializable()
class Net(keras.Model):
    def __init__(self, units, outputs, **more):
        super().__init__(**more)
        self.units, self.outputs_ = units, outputs
        self.hidden, self.head = L.Dense(units), L.Dense(outputs, activation="softmax")

    def call(self, x, training=False):
        return self.head(self.hidden(x))

    def get_config(self):
        return super().get_config() | {"units": self.units, "outputs": self.outputs_}

def build(params, input_shape, outputs):
    return Net(params["units"], outputs)
"""
COMPILED = (
    dense().replace("return keras.Model", "model = keras.Model")
    + "    loss = 'sparse_categorical_crossentropy'\n"
    + "    model.compile('sgd', loss, metrics=['accuracy'])\n    return model\n"
)
REFUSED = {
    "signature": (
        "def build(hp): ...",
        r"net.py:build: must take \(params, input_shape, outputs\)",
    ),
    "no model": ("def build(params, input_shape, outputs): return 3", "must return a keras.Model"),
    "coroutine": ("async def build(p, i, o): ...", "must return a keras.Model, got coroutine"),
    "missing module": ("import pandaz", "cannot be run: there is no module pandaz; install it"),
    "syntax": ("def build(:", r"SyntaxError: invalid syntax \(net.py:5\)"),
    "raises": (
        dense("y = 1 / (params['units'] - 4)"),
        r"with units=4: build raises: ZeroDiv.*:10\)",
    ),
    "exits": (dense("raise SystemExit('no data')"), "build raises: SystemExit: no data"),
    "shape": (dense(head="L.Dense(7)"), r"with units=4: must give outputs of shape \(None, 3\)"),
    "sequence": (
        "def build(params, input_shape, outputs):\n"
        "    return keras.Sequential([keras.Input((5,)), L.Dense(outputs)])",
        r"an input of shape \(5,\), but a row has shape \(6,\)",
    ),
    "a batch size": (
        dense().replace("keras.Input(input_shape)", "keras.Input(input_shape, batch_size=32)"),
        r"with units=4: has an input of 32 rows, .* without a batch size",
    ),
    "a last axis of one": (
        """
def build(params, input_shape, outputs):
    inputs = keras.Input((*input_shape, 1))
    x = L.Conv1D(params["units"], 2)(inputs)
    return keras.Model(inputs, L.Dense(outputs, activation="softmax")(L.Flatten()(x)))
""",
        r"an input of shape \(6, 1\), but a row has shape \(6,\); .* a Reshape behind it",
    ),
    "two inputs": (
        "def build(params, input_shape, outputs):\n"
        "    a, b = keras.Input(input_shape), keras.Input((3,))\n"
        "    return keras.Model([a, b], L.Dense(outputs)(L.Concatenate()([a, b])))",
        "the data have one input, this network has 2",
    ),
    "two inputs of a subclass": (
        SUBCLASS.replace("def call(self, x)", "def call(self, x, context)"),
        "the data have one input, this network has 2",
    ),
    "two outputs": (dense(head="(lambda x: [x, x])"), r"got \(None, 4\), \(None, 4\)"),
    "linear": (dense(head="L.Dense(outputs)"), "no probabilities; .* activation='softmax'"),
    "relu": (dense(head="L.Dense(outputs, activation='relu')"), "no probabilities"),
    "sigmoid": (dense(head="L.Dense(outputs, activation='sigmoid')"), "add up to .*, not to 1"),
    "nan": (dense("x = keras.ops.log(x - 1e9)"), "not finite"),
    "half precision": (dense("x = L.Dense(4, dtype='float16')(x)"), "computes in float16"),
    "half precision head": (
        dense(head="L.Dense(outputs, activation='softmax', dtype='mixed_float16')"),
        "computes in float16, but the study's precision is float32",
    ),
    "double precision": (
        dense(head="L.Dense(outputs, activation='softmax', dtype='float64')"),
        "its outputs are float64, but tuner trains in float32",
    ),
    "frozen": (
        "def build(params, input_shape, outputs):\n"
        "    model = keras.Sequential([L.Dense(outputs, activation='softmax')])\n"
        "    model.trainable = False\n    return model",
        "without trainable weights",
    ),
    "no gradient": (
        dense(
            "x = L.Dense(outputs)(x)",
            head="(lambda x: keras.ops.one_hot(keras.ops.argmax(x, -1), outputs))",
        ),
        "cannot be trained: .*radient",
    ),
    "train_step": (
        CALLED.replace("    def call", "    def train_step(self, data): ...\n\n    def call"),
        r"a train_step\(\) of its own, which tuner calls only if the model is compiled",
    ),
    "a dict": (dense(head="(lambda x: {'p': L.Softmax()(L.Dense(outputs)(x))})"), "gives a dict"),
    "chance": (
        dense("for _ in range(len(made)): x = L.Dense(4)(x)\nmade.append(1)").replace(
            "def build", "made = keras.made = getattr(keras, 'made', [])\ndef build"
        ),
        "build raises: another network at each call with the same params",
    ),
    "weights that come late": (
        dense("x = L.Dense(4, activation=L.PReLU())(x)"),
        r"makes weights only when it runs, .* instead: PReLU\(\)\(x\)",
    ),
    "no get_config": (
        SUBCLASS,
        "cannot be saved: decorate Net with @keras.saving.register_keras_serializable",
    ),
    "not registered": (
        """
class Twice(L.Layer):
    def call(self, x):
        return 2 * x

"""
        + dense("x = Twice()(x)"),
        "cannot be loaded: decorate Twice with @keras.saving.register_keras_serializable",
    ),
    "lambda": (dense("x = L.Lambda(lambda x: 2 * x)(x)"), "cannot be loaded: .*Lambda"),
    "config that lacks something": (
        """
@keras.saving.register_keras_serializable()
class Times(L.Layer):
    def __init__(self, factor=1.0, **more):
        super().__init__(**more)
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        return super().get_config()

"""
        + dense("x = Times(3.0)(x)"),
        "loads as another network",
    ),
    "compiled with metrics as weights": (
        COMPILED.replace("metrics=", ""),
        r"compile\(\) is given loss_weights=\['accuracy'\]; write metrics=",
    ),
    "a rate in a compiled model's file": (
        "def unused(model):\n    model.compile()\n" + dense("params['l2']"),
        "tuner sets the l2 itself",
    ),
    "learning rate": (dense("params['learning_rate']"), "tuner sets the learning rate itself"),
    "learning rate or else": (
        dense("params.get('learning_rate', 1)"),
        "sets the learning rate itself",
    ),
    "epochs": (dense("params['epochs']"), "tuner sets the epochs itself .*net.py:10"),
    "a rate of a copy": (
        dense("copy = {**params}\ncopy['l2']"),
        r"tuner sets the l2 itself .*net.py:11\)",
    ),
    "a rate of a namespace": (
        "from types import SimpleNamespace\n" + dense("SimpleNamespace(**params).l2"),
        "tuner sets the l2 itself .*net.py",
    ),
    "momentum": (dense("params.pop('momentum')"), "tuner sets the momentum itself"),
    "typo": (dense("params['unitz']"), "has no parameter 'unitz'; build is given: units, .*"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_search_could_not_train_is_refused_in_a_line(check: Any, name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(NetworkError, match=message) as refused:
        check(text)
    print(refused.value)
    assert str(refused.value).startswith("net.py:build")
    assert "\n" not in str(refused.value)


ACCEPTED = {
    "functional": dense(),
    "sequential without an input": """
def build(params, input_shape, outputs):
    return keras.Sequential([L.Dense(params["units"]), L.Dense(outputs, activation="softmax")])
""",
    "registered subclass": CALLED,
    "a loss of its own": CALLED.replace(
        "return self.head", "self.add_loss(keras.ops.mean(x**2))\n        return self.head"
    ),
    "batch normalisation and penalties": dense(
        "x = L.BatchNormalization()(L.Dense(4, activity_regularizer='l2')(L.Dropout(0.5)(x)))"
    ),
    "layers as activations": dense(
        "x = L.PReLU()(L.Dense(4, activation=L.LeakyReLU(negative_slope=0.1))(x))"
    ),
    "a head of its own": dense(
        "x = L.Dense(outputs)(x)", head="(lambda x: keras.ops.softmax(x / 2.0))"
    ),
    "zeros at first": dense(
        head="L.Dense(outputs, activation='softmax', kernel_initializer='zeros')"
    ),
    "nested": """
def block(units):
    inputs = keras.Input((units,))
    return keras.Model(inputs, L.Dense(units)(inputs))

def build(params, input_shape, outputs):
    inputs = keras.Input(input_shape)
    x = block(params["units"])(L.Dense(params["units"])(inputs))
    return keras.Model(inputs, L.Dense(outputs, activation="softmax")(x))
""",
    "a class with __call__": """
class Builder:
    def __call__(self, params, input_shape, outputs, *, depth=1):
        return keras.Sequential([L.Dense(params["units"]), L.Dense(outputs, activation="softmax")])

build = Builder()
""",
    "a bounded weight": """
@keras.saving.register_keras_serializable()
class Mix(L.Layer):
    def build(self, shapes):
        self.share = self.add_weight(
            shape=(1,), initializer="ones", constraint=lambda weight: keras.ops.clip(weight, 0, 1)
        )

    def call(self, pair):
        return self.share * pair[0] + (1 - self.share) * pair[1]

def build(params, input_shape, outputs):
    inputs = keras.Input(input_shape)
    hidden = L.Dense(params["units"])(inputs)
    heads = [L.Dense(outputs, activation="softmax")(x) for x in (inputs, hidden)]
    return keras.Model(inputs, Mix()(heads))
""",
    "positions": """
def build(params, input_shape, outputs):
    inputs = keras.Input(input_shape)
    x = L.Dense(params["units"])(keras.ops.expand_dims(inputs, -1))
    x = x + L.Embedding(input_shape[0], params["units"])(keras.ops.arange(input_shape[0]))
    x = L.GlobalAveragePooling1D()(L.MultiHeadAttention(2, 4)(x, x))
    return keras.Model(inputs, L.Dense(outputs, activation="softmax")(x))
""",
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_a_search_can_train_passes(check: Any, name: str) -> None:
    assert check(ACCEPTED[name]) == Tried(1)


BINARY = make_dataset("binary")
VALUES = make_dataset("regression")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("sigmoid", None),
        ("hard_sigmoid", None),
        ("linear", "no probabilities; end it with activation='sigmoid'"),
        ("relu", "no probabilities"),
        ("tanh", "no probabilities"),
        ("softmax", "gives 1 for every row whatever its weights, as softmax over one unit does"),
    ],
)
def test_heads_for_two_classes(check: Any, head: str, message: str | None) -> None:
    text = dense(head=f"L.Dense(outputs, activation={head!r})")
    if message is None:
        assert check(text, dataset=BINARY) == Tried(1)
        return
    with pytest.raises(NetworkError, match=message):
        check(text, dataset=BINARY)


def test_heads_for_values(check: Any) -> None:
    for head in ("linear", "tanh"):
        text = dense(head=f"L.Dense(outputs, activation={head!r})")
        assert check(text, dataset=VALUES) == Tried(1)


def test_layers_that_outlive_a_build_are_refused(
    check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module beside the file is run afresh for each network.
    (tmp_path / "kept_layers.py").write_text("import keras\nHIDDEN = keras.layers.Dense(4)\n")
    assert check(dense("from kept_layers import HIDDEN\nx = HIDDEN(L.Dense(8)(x))")) == Tried(1)
    monkeypatch.setattr(keras, "hidden_layer", keras.layers.Dense(4), raising=False)
    with pytest.raises(NetworkError, match="the same layers at each call"):
        check(dense("x = keras.hidden_layer(L.Dense(8)(x))"))


CHOICES = {"kind": {"type": "categorical", "choices": ["a", "b", "c"]}}


def test_what_nothing_reads_is_refused(check: Any) -> None:
    with pytest.raises(NetworkError, match="the space's width is read neither by it nor by the tr"):
        check(dense(), {**UNITS, "width": {"type": "int", "low": 1, "high": 2}})
    with pytest.raises(NetworkError, match=r"width, rate are read neither.*asks for unitz, which"):
        check(dense("params.get('unitz')"), {**UNITS, "width": 2, "rate": 0.5})
    known = {"batch_size": 16, "optimizer": "sgd", "momentum": 0.5, "l2": 0.1, "epochs": 3}
    assert check(dense(), {**UNITS, **known}).warnings == ()


@pytest.mark.parametrize(
    "read",
    [
        "params['wid' + 'th']",
        "if params['kind'] == 'b': dict(**params)",
        "if params['kind'] == 'c' and params['units'] == 5: params['width']",
    ],
)
def test_reading_in_some_configurations_is_enough(check: Any, read: str) -> None:
    width = {"width": {"type": "int", "low": 1, "high": 2}}
    assert check(dense(f"params['kind']\n{read}"), {**RANGE, **CHOICES, **width}).warnings == ()


def test_a_file_with_a_byte_order_mark_is_searched_for_names(tmp_path: Path) -> None:
    text = "\ufeffNAME = 'width'\n"
    network = CustomNetwork(str(tmp_path / "net.py"), "build", text, (("parts.py", text),))
    assert may_mention(network, ["width"])
    assert not may_mention(network, ["rate"])


def test_a_name_that_is_never_read_though_it_is_there_is_refused(check: Any) -> None:
    text = dense("if params['units'] > 8: params['width']")
    with pytest.raises(NetworkError, match="the space's width is read neither"):
        check(text, {**RANGE, "width": 2})
    # Where there was no time for all, that is said.
    tried = check(text, {**RANGE, "width": 2}, seconds=-1)
    assert tried.warnings == (
        "net.py:build: no build has read width, but not all configurations could be tried in the "
        "time",
    )


def dataset_of(x: np.ndarray, scaling: str = "auto") -> Dataset:
    """Rows of two classes."""
    x = x if x.dtype == np.uint8 else x.astype(np.float32)
    split = Split(x, (np.arange(len(x)) % 2).astype(np.int32))
    return replace(
        BINARY, train=split, validation=split, test=split, scaling=fit_scaling(x, scaling)
    )


DRAW = np.random.default_rng(0)
TOKENS = DRAW.integers(0, 50, (80, 5))
PIXELS = DRAW.integers(0, 256, (40, 4, 4, 3)).astype(np.uint8)
TABLE = DRAW.normal(size=(40, 5)).astype(np.float32)


def watched(layer: str, x: np.ndarray, scaling: str = "auto") -> Watched:
    """What is seen of a network that begins so, given the rows as a study scales them."""
    given = fit_scaling(x, scaling)
    rows = given.apply(x)
    inputs = keras.Input(x.shape[1:])
    names = {"inputs": inputs, "keras": keras, "L": keras.layers}
    model = keras.Model(inputs, keras.layers.Flatten()(eval(layer, names)))
    # TensorFlow refuses some values by itself.
    watching = watched_layers({"": rows}, {"": given.method})
    with watching as seen, suppress(tf.errors.InvalidArgumentError):
        model(rows)
    return seen


@pytest.mark.parametrize(
    "layer",
    [
        "L.Embedding(50, 3)(inputs)",
        "L.Embedding(50, 3)(L.Reshape((5, 1))(inputs))",
        "L.Embedding(50, 3)(keras.ops.cast(inputs, 'int32'))",
        "L.Embedding(50, 3)(keras.ops.cast(inputs[:, 1:3], 'int32'))",
        "keras.Sequential([L.Flatten(), L.Embedding(50, 3)])(inputs)",
        "L.CategoryEncoding(50)(keras.ops.cast(inputs, 'int32'))",
    ],
)
def test_an_embedding_of_scaled_ids_is_seen(layer: str) -> None:
    seen = watched(layer, TOKENS.astype(np.float32))
    assert "needs whole numbers from 0" in str(seen.problem)
    assert "--scaling none gives them raw" in str(seen.problem)
    assert watched(layer, TOKENS.astype(np.float32), "none") == Watched()


def test_positions_are_no_scaled_ids() -> None:
    layer = "inputs + L.Flatten()(L.Embedding(5, 1)(keras.ops.arange(5)[None]))"
    assert watched(layer, TABLE) == Watched()


def test_an_embedding_of_ids_as_they_are(check: Any) -> None:
    text = dense().replace("L.Flatten()(inputs)", "L.Flatten()(L.Embedding(50, 3)(inputs))")
    text = text.replace("softmax", "sigmoid")
    with pytest.raises(NetworkError, match=r"needs whole numbers .* standardised per column"):
        check(text, dataset=dataset_of(TOKENS))
    assert check(text, dataset=dataset_of(TOKENS, "none")) == Tried(1)
    # One row in eighty has it: those that are tried hold the largest value.
    rare = TOKENS.copy()
    rare[70, 2] = 50
    with pytest.raises(
        NetworkError, match=r"input_dim=50 and is given 50; input_dim must be above"
    ):
        check(text, dataset=dataset_of(rare, "none"))
    rare[70, 2] = -1
    with pytest.raises(NetworkError, match=r"needs whole numbers from 0, and is given .* as -1: "):
        check(text, dataset=dataset_of(rare, "none"))


@pytest.mark.parametrize(
    ("layer", "x", "warned"),
    [
        ("L.Rescaling(1 / 255)(inputs)", PIXELS, "Rescaling"),
        ("L.Rescaling(1 / 127.5, offset=-1)(inputs)", PIXELS, "Rescaling"),
        ("L.Rescaling(1 / 255)(L.Resizing(8, 8)(inputs))", PIXELS, "Rescaling"),
        ("keras.Sequential([L.RandomFlip(), L.Rescaling(1 / 255)])(inputs)", PIXELS, "Rescaling"),
        ("L.Normalization()(inputs)", PIXELS, "Normalization"),
        ("L.Normalization()(L.Reshape((5, 1))(inputs))", TABLE, "Normalization"),
        ("inputs / 255.0", PIXELS, "TrueDivide"),
        ("inputs * (1 / 255)", PIXELS, "Multiply"),
        ("L.Rescaling(2.0)(L.Dense(4)(inputs))", TABLE, None),
        ("L.Dense(4)(inputs) / 8.0", TABLE, None),
        ("inputs * 2.0 - 1.0", PIXELS, None),
    ],
)
def test_scaling_over_again_is_seen(layer: str, x: np.ndarray, warned: str | None) -> None:
    seen = watched(layer, x)
    assert seen.problem is None
    assert (seen.warning or "").partition(" scales inputs that are scaled already")[0] == (
        warned or ""
    )
    assert watched(layer, x, "none") == Watched()


def test_scaling_over_again_is_warned_of(check: Any) -> None:
    text = dense().replace("L.Flatten()(inputs)", "L.Flatten()(L.Rescaling(1 / 255)(inputs))")
    (warning,) = check(text.replace("softmax", "sigmoid"), dataset=dataset_of(PIXELS)).warnings
    assert warning == (
        "net.py:build: Rescaling scales inputs that are scaled already; remove it, or create the "
        "study with --scaling none: it is given inputs of shape (4, 4, 3), float32, scaled to 0..1"
    )


def test_what_xla_cannot_compile_is_refused_where_a_search_would_use_it(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.training.network_check._QUICK_S", 60.0)  # on a busy machine too
    text = "import tensorflow as tf\n" + CALLED.replace(
        "return self.head",
        "x = tf.ensure_shape(tf.py_function(lambda v: v, [x], tf.float32), (None, 6))\n"
        "        return self.head",
    )
    assert check(text) == Tried(1)
    with pytest.raises(NetworkError, match=r"cannot be trained: .*EagerPyFunc"):
        check(text, rows=1_000_000)


def test_rounded_predictions_of_a_compiled_model_are_said(check: Any) -> None:
    half = {**UNITS, "precision": {"type": "categorical", "choices": ["float32", "bfloat16"]}}
    (said,) = check(COMPILED, half).warnings
    assert "its outputs are bfloat16; give its last layer dtype='float32', or" in said
