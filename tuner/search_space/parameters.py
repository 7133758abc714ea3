"""The catalogue: every parameter that the shipped networks and the training take. Pure data; a
search space is checked against it, and `tuner space parameters` prints it.

To add a parameter: add it here, read it in the network or the training, and give it a range in
search_spaces/. Say which value is `off`: studies made before have it.

What a parameter is: its legal values, its default, and words for what is wrong with a value.

catalogue.py has all of them.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Any, Literal

from tuner.values import Scalar as Scalar
from tuner.values import as_switch

Params = dict[str, Scalar | list[Scalar]]
Kind = Literal["int", "float", "categorical", "bool"]


class Role(StrEnum):
    """What a parameter is to the programs that train. Networks and engines derive from it what
    each of them does with a parameter: there is no other list of names."""

    STRUCTURE = "structure"  # which layers and operations there are: another program for each value
    SIZE = "size"  # a shape: units, filters, samples per step
    CHOICE = "choice"  # one of several forms of an operation, each with a name
    SWITCH = "switch"  # an operation that a trial has or has not
    SCALAR = "scalar"  # a number that the compiled step reads: no other program for another value
    SCHEDULE = "schedule"  # settles the learning rate of each step, before the step
    LOOP = "loop"  # how long a trial trains
    INIT = "init"  # how weights are drawn before the first step


@dataclass(frozen=True)
class Parameter:
    """One parameter. `low` and `high` are inclusive unless marked open; None means no bound.
    `role`: see Role.

    `when`: the parameter exists only while the others have these values (momentum with sgd).
    `layers`: the parameter that counts what this one may be given for one by one (`repeat: depth`);
    then it is a list in `Params`. `note`: what `space show` adds to a value that is not searched.
    `off`: the value with which training is as it was before the parameter existed; studies made by
    an older tuner have it. None: false for a bool, 0 where that is the lower bound, else `default`.
    """

    name: str
    kind: Kind
    default: Scalar
    role: Role = field(kw_only=True)
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    choices: tuple[Scalar, ...] = ()
    when: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    layers: str | None = None
    doc: str = ""
    note: str = ""
    off: Scalar | None = None

    @property
    def without_effect(self) -> Scalar:
        """The value for a study that was made before the parameter existed."""
        if self.off is not None:
            return self.off
        if self.kind == "bool":
            return False
        if self.kind in ("int", "float") and self.low == 0 and not self.low_open:
            return self.cast(0)
        return self.default

    def refusal(self, value: object) -> str | None:
        """Why `value` is not legal, worded to follow a name ("must be >= 1, got 0"), or None."""
        if self.kind == "bool":
            value = as_switch(value)
        if self.kind in ("categorical", "bool"):
            return None if _among(value, self.choices) else self._not_a_choice(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a {_noun(self.kind)}, got {shown(value)}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"must be finite, got {shown(value)}"
        if self.kind == "int" and value != int(value):
            return f"must be a whole number, got {shown(value)}"
        return self._out_of_bounds(value)

    def legal(self) -> str:
        """Its legal values as documentation has them: "whole number, 1 … 64"."""
        if self.kind == "bool":
            return "true, false"
        if self.kind == "categorical":
            return ", ".join(map(str, self.choices))
        bounds = (
            [f"{'>' if self.low_open else '>='} {self.low:.9g}"] if self.low is not None else []
        )
        if self.high is not None:
            bounds.append(f"{'<' if self.high_open else '<='} {self.high:.9g}")
        return ", ".join([_noun(self.kind), *bounds])

    def cast(self, value: Scalar) -> Scalar:
        """A legal value in the parameter's own type: 0 becomes 0.0 for a float parameter, yes
        becomes true for a switch."""
        if self.kind == "bool":
            return bool(as_switch(value))
        if self.kind == "float":
            return float(value)
        return int(value) if self.kind == "int" else value

    def _out_of_bounds(self, value: float) -> str | None:
        if self.low is not None and (value < self.low or (self.low_open and value == self.low)):
            return f"must be {'>' if self.low_open else '>='} {self.low:g}, got {shown(value)}"
        if self.high is not None and (value > self.high or (self.high_open and value == self.high)):
            return f"must be {'<' if self.high_open else '<='} {self.high:g}, got {shown(value)}"
        return None

    def _not_a_choice(self, value: object) -> str:
        if self.kind == "bool":
            return f"must be true or false, got {shown(value)}"
        words = [str(choice) for choice in self.choices]
        ordered = nearest(value, words) if isinstance(value, str) else words
        return f"must be one of {', '.join(ordered)}; got {shown(value)}"


def same(one: object, other: object) -> bool:
    """Equal, and both or neither a truth value: Python takes True for 1, a user does not."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def nearest(word: str, words: Iterable[str]) -> list[str]:
    """`words` with the most similar to `word` first; equally similar ones keep their order."""
    return sorted(words, key=lambda known: -SequenceMatcher(None, word[:80], known).ratio())


def shown(value: object) -> str:
    """A value as it appears in a message: YAML's words for truth values, long text cut."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"  # printing it may take ages, or be refused by Python
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _among(value: object, choices: tuple[Scalar, ...]) -> bool:
    return any(same(value, choice) for choice in choices)


def _noun(kind: str) -> str:
    return "whole number" if kind == "int" else "number"


ACTIVATIONS = (
    "relu", "leaky_relu", "elu", "selu", "gelu", "swish", "softplus", "sigmoid", "tanh", "arctan",
    "linear",
)  # fmt: skip
INITIALIZERS = (
    "auto", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform",
    "lecun_normal", "normal", "orthogonal",
)  # fmt: skip
OPTIMIZERS = ("adam", "adamw", "nadam", "sgd", "rmsprop", "adagrad")
SCHEDULES = ("constant", "plateau", "cosine", "exponential", "one_cycle")

# By task, the losses that fit it; the first is what `auto` means.
LOSSES: dict[str, tuple[str, ...]] = {
    "classes": ("cross_entropy", "mse"),
    "binary": ("cross_entropy", "mse"),
    "regression": ("mse", "mae", "huber"),
}
ALL_LOSSES = tuple(dict.fromkeys(loss for losses in LOSSES.values() for loss in losses))


def _table(*parameters: Parameter) -> dict[str, Parameter]:
    return {parameter.name: parameter for parameter in parameters}


def _share(name: str, default: float = 0.0, **more: Any) -> Parameter:
    """A float in [0, 1)."""
    return Parameter(
        name, "float", default, role=Role.SCALAR, low=0.0, high=1.0, high_open=True, **more
    )


def _amount(name: str, doc: str) -> Parameter:
    """A float from 0, which means none."""
    return Parameter(name, "float", 0.0, role=Role.SCALAR, low=0.0, doc=doc)


def _needs(parent: str, *values: Scalar) -> dict[str, tuple[Scalar, ...]]:
    return {parent: values}


_LENGTH = _table(
    Parameter(
        "epochs", "int", 27, role=Role.LOOP, low=1, high=100_000, doc="most epochs a trial trains"
    ),
    Parameter(
        "patience",
        "int",
        5,
        role=Role.LOOP,
        low=1,
        high=100_000,
        doc="epochs without a better objective before a trial stops early",
    ),
    Parameter(
        "batch_size", "int", 32, role=Role.SIZE, low=1, high=1_048_576, doc="rows a training step"
    ),
)

_LOSS = _table(
    Parameter(
        "loss",
        "categorical",
        "auto",
        role=Role.STRUCTURE,
        choices=("auto", *ALL_LOSSES),
        doc="what is minimised; mse of classes is that of their one-hot form",
        note="auto: cross_entropy for classes and binary, mse for regression",
    ),
    Parameter(
        "huber_delta",
        "float",
        1.0,
        role=Role.SCALAR,
        low=0.0,
        low_open=True,
        when=_needs("loss", "huber"),
        doc="error, in standard deviations of the target, from which huber grows linearly",
    ),
    _share(
        "label_smoothing",
        when=_needs("loss", "auto", "cross_entropy", "mse"),
        doc="share of the target that is spread evenly over all classes",
    ),
)

_OPTIMIZER = _table(
    Parameter(
        "optimizer",
        "categorical",
        "adam",
        role=Role.CHOICE,
        choices=OPTIMIZERS,
        doc="Keras optimizer",
    ),
    Parameter(
        "learning_rate",
        "float",
        1e-3,
        role=Role.SCHEDULE,
        low=0.0,
        low_open=True,
        doc="of the optimizer; where a schedule changes it, its largest",
    ),
    _share("momentum", when=_needs("optimizer", "sgd"), doc="of sgd"),
    Parameter(
        "nesterov",
        "bool",
        False,
        role=Role.SWITCH,
        choices=(True, False),
        when=_needs("optimizer", "sgd"),
        doc="Nesterov's form of momentum",
    ),
    _amount(
        "weight_decay",
        "share of each kernel taken away a step, times the learning rate (decoupled); adamw is "
        "adam with this",
    ),
    _amount("clip_norm", "largest norm of all gradients together; 0: not clipped"),
)

_SCHEDULE = _table(
    Parameter(
        "schedule",
        "categorical",
        "constant",
        role=Role.SCHEDULE,
        choices=SCHEDULES,
        doc="of the learning rate over the steps of a trial",
    ),
    Parameter(
        "warmup_epochs",
        "float",
        0.0,
        role=Role.SCHEDULE,
        low=0.0,
        doc="epochs of a linear rise to the learning rate, behind which the schedule begins; with "
        "one_cycle it takes the place of the rise",
    ),
    Parameter(
        "plateau_factor",
        "float",
        0.5,
        role=Role.SCHEDULE,
        low=0.0,
        high=1.0,
        low_open=True,
        high_open=True,
        when=_needs("schedule", "plateau"),
        doc="what the rate is multiplied by when the objective no longer gets better",
    ),
    Parameter(
        "plateau_patience",
        "int",
        2,
        role=Role.SCHEDULE,
        low=1,
        high=100_000,
        when=_needs("schedule", "plateau"),
        doc="epochs without a better objective before that",
    ),
    Parameter(
        "plateau_min_delta",
        "float",
        1e-4,
        role=Role.SCHEDULE,
        low=0.0,
        when=_needs("schedule", "plateau"),
        doc="by how much an objective must be better to count",
    ),
    Parameter(
        "cosine_floor",
        "float",
        0.0,
        role=Role.SCHEDULE,
        low=0.0,
        high=1.0,
        when=_needs("schedule", "cosine"),
        doc="share of the learning rate that is left at the end",
    ),
    Parameter(
        "decay",
        "float",
        0.9,
        role=Role.SCHEDULE,
        low=0.0,
        high=1.0,
        low_open=True,
        when=_needs("schedule", "exponential"),
        doc="what the rate is multiplied by each epoch",
    ),
    Parameter(
        "cycle_rise",
        "float",
        0.3,
        role=Role.SCHEDULE,
        low=0.0,
        high=1.0,
        low_open=True,
        high_open=True,
        when=_needs("schedule", "one_cycle"),
        doc="share of the steps in which the rate rises",
    ),
)

_REGULARISATION = _table(
    _amount("l1", "penalty on the sum of all kernels' absolute values"),
    _amount("l2", "penalty on the sum of all kernels' squares"),
    _amount("max_norm", "largest norm of a unit's incoming weights; 0: not bounded"),
    Parameter(
        "augment_shift",
        "int",
        0,
        role=Role.SCALAR,
        low=0,
        high=64,
        doc="images: shifted by up to so many pixels each way, anew each time; zeros come in",
    ),
    Parameter(
        "augment_flip",
        "bool",
        False,
        role=Role.SWITCH,
        choices=(True, False),
        doc="images: left and right exchanged in half of the cases",
    ),
)

TRAINING: dict[str, Parameter] = _LENGTH | _LOSS | _OPTIMIZER | _SCHEDULE | _REGULARISATION

_LAYERS = _table(
    Parameter("depth", "int", 2, role=Role.STRUCTURE, low=0, high=64, doc="hidden layers"),
    Parameter(
        "width",
        "int",
        128,
        role=Role.SIZE,
        low=1,
        high=65_536,
        layers="depth",
        doc="units of a layer",
    ),
    Parameter(
        "taper",
        "float",
        1.0,
        role=Role.SIZE,
        low=0.0,
        high=4.0,
        low_open=True,
        doc="each further hidden layer has so many times the width of the one before",
    ),
    Parameter(
        "activation",
        "categorical",
        "relu",
        role=Role.CHOICE,
        choices=ACTIVATIONS,
        doc="of hidden layers",
    ),
    _share(
        "leaky_slope", 0.2, when=_needs("activation", "leaky_relu"), doc="of leaky_relu below zero"
    ),
    Parameter(
        "initializer",
        "categorical",
        "auto",
        role=Role.INIT,
        choices=INITIALIZERS,
        doc="of the kernels",
        note="auto: he_normal for relu, leaky_relu, elu, gelu, swish; lecun_normal for selu; "
        "glorot_uniform for the others and the output layer",
    ),
    Parameter(
        "init_sigma",
        "float",
        0.05,
        role=Role.INIT,
        low=0.0,
        low_open=True,
        when=_needs("initializer", "normal"),
        doc="standard deviation of normal",
    ),
    Parameter(
        "bias",
        "categorical",
        "all",
        role=Role.STRUCTURE,
        choices=("all", "input", "none"),
        doc="which layers have one; input: one constant input beside the others, its weights drawn "
        "as theirs",
    ),
    _share("dropout", layers="depth", doc="share of a hidden layer's outputs dropped in training"),
    _share("input_dropout", doc="share of the inputs dropped in training"),
    Parameter(
        "batch_norm",
        "bool",
        False,
        role=Role.SWITCH,
        choices=(True, False),
        doc="batch normalisation in every hidden layer",
    ),
    Parameter(
        "layer_norm",
        "bool",
        False,
        role=Role.SWITCH,
        choices=(True, False),
        doc="layer normalisation in every hidden layer",
    ),
    Parameter(
        "norm_position",
        "categorical",
        "before",
        role=Role.STRUCTURE,
        choices=("before", "after"),
        doc="normalisation before or after the activation",
    ),
)

_BLOCKS = _table(
    Parameter(
        "blocks",
        "int",
        2,
        role=Role.STRUCTURE,
        low=0,
        high=8,
        doc="of convolutions, each ended by max pooling",
    ),
    Parameter("convolutions", "int", 1, role=Role.STRUCTURE, low=1, high=8, doc="in each block"),
    Parameter(
        "filters",
        "int",
        32,
        role=Role.SIZE,
        low=1,
        high=4096,
        layers="blocks",
        doc="of a block's convolutions",
    ),
    Parameter(
        "filter_growth",
        "float",
        2.0,
        role=Role.SIZE,
        low=0.0,
        high=8.0,
        low_open=True,
        doc="each further block has so many times the filters of the one before",
    ),
    Parameter(
        "kernel",
        "int",
        3,
        role=Role.STRUCTURE,
        low=1,
        high=31,
        doc="side of a convolution's window, in pixels",
    ),
    Parameter(
        "padding",
        "categorical",
        "same",
        role=Role.STRUCTURE,
        choices=("same", "valid"),
        doc="of convolutions; a map smaller than the window is padded in any case",
    ),
    Parameter(
        "pool",
        "int",
        2,
        role=Role.STRUCTURE,
        low=1,
        high=16,
        doc="side of a pooling window; 1: no pooling",
    ),
    _share("block_dropout", layers="blocks", doc="share of a block's outputs dropped in training"),
)

MLP = _LAYERS
CNN = _BLOCKS | _LAYERS

NETWORKS: dict[str, dict[str, Parameter]] = {"mlp": MLP, "cnn": CNN}

# As the reference lists them.
GROUPS: dict[str, dict[str, Parameter]] = {
    "dense layers (mlp, cnn)": _LAYERS,
    "convolutions (cnn)": _BLOCKS,
    "length": _LENGTH,
    "loss": _LOSS,
    "optimizer": _OPTIMIZER,
    "schedule": _SCHEDULE,
    "regularisation": _REGULARISATION,
}


# The defaults of studies that were made before a study stored its own. Never change this table, and
# add nothing to it.
DEFAULTS_BEFORE: dict[str, Scalar] = {
    "depth": 2, "width": 128, "taper": 1.0, "activation": "relu", "leaky_slope": 0.2,
    "initializer": "auto", "init_sigma": 0.05, "bias": "all", "dropout": 0.0, "input_dropout": 0.0,
    "batch_norm": False, "layer_norm": False, "norm_position": "before", "epochs": 27,
    "patience": 5, "batch_size": 32, "loss": "auto", "huber_delta": 1.0, "label_smoothing": 0.0,
    "optimizer": "adam", "learning_rate": 0.001, "momentum": 0.0, "nesterov": False,
    "weight_decay": 0.0, "clip_norm": 0.0, "schedule": "constant", "warmup_epochs": 0.0,
    "plateau_factor": 0.5, "plateau_patience": 2, "plateau_min_delta": 0.0001, "cosine_floor": 0.0,
    "decay": 0.9, "cycle_rise": 0.3, "l1": 0.0, "l2": 0.0, "max_norm": 0.0, "augment_shift": 0,
    "augment_flip": False, "blocks": 2, "convolutions": 1, "filters": 32, "filter_growth": 2.0,
    "kernel": 3, "padding": "same", "pool": 2, "block_dropout": 0.0,
}  # fmt: skip


def catalogue(network: str) -> dict[str, Parameter]:
    """The parameters known for `network`: its own and the training's. A network that is not
    shipped (`file.py:build`) has the training's alone; any other name is its own affair."""
    return {**NETWORKS.get(network, {}), **TRAINING}


def defaults(network: str) -> dict[str, Scalar]:
    """The present default of each parameter known for `network`."""
    return {name: parameter.default for name, parameter in catalogue(network).items()}


def former_defaults(network: str) -> dict[str, Scalar]:
    """The same for a study of which no defaults are stored."""
    return {name: DEFAULTS_BEFORE[name] for name in catalogue(network) if name in DEFAULTS_BEFORE}


def settled_defaults(network: str, stored: Mapping[str, Scalar] | None) -> dict[str, Scalar]:
    """The default of each parameter in a study with these `stored` ones; None: the present ones.
    A parameter that is newer than the study has no effect there."""
    if stored is None:
        return defaults(network)
    return {
        name: stored.get(name, parameter.without_effect)
        for name, parameter in catalogue(network).items()
    }
