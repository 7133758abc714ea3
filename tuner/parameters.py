"""The catalogue: every parameter that the shipped networks and the training take, with its legal
values and its default. Pure data; a search space is checked against it.

To add a parameter: add it here, read it in the network or the training, and give it a range in
search_spaces/.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Literal

Scalar = bool | int | float | str
Params = dict[str, Scalar | list[Scalar]]
Kind = Literal["int", "float", "categorical", "bool"]

LAYERS = "depth"  # the parameter of a shipped network that a per-layer parameter repeats over


@dataclass(frozen=True)
class Parameter:
    """One parameter. `low` and `high` are inclusive unless marked open; None means no bound.

    `when`: the parameter exists only while the others have these values (momentum with sgd).
    `per_layer`: may be given once a layer (`repeat: depth`), then it is a list in `Params`.
    """

    name: str
    kind: Kind
    default: Scalar
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    choices: tuple[Scalar, ...] = ()
    when: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    per_layer: bool = False
    doc: str = ""

    def refusal(self, value: object) -> str | None:
        """Why `value` is not legal, worded to follow a name ("must be >= 1, got 0"), or None."""
        if self.kind in ("categorical", "bool"):
            return None if _among(value, self.choices) else self._not_a_choice(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a {_noun(self.kind)}, got {shown(value)}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"must be finite, got {shown(value)}"
        if self.kind == "int" and value != int(value):
            return f"must be a whole number, got {shown(value)}"
        return self._out_of_bounds(value)

    def cast(self, value: Scalar) -> Scalar:
        """A legal value in the parameter's own type: 0 becomes 0.0 for a float parameter."""
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


def _table(*parameters: Parameter) -> dict[str, Parameter]:
    return {parameter.name: parameter for parameter in parameters}


ACTIVATIONS = (
    "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "swish", "softplus", "leaky_relu", "linear",
)  # fmt: skip
OPTIMIZERS = ("adam", "sgd")

TRAINING: dict[str, Parameter] = _table(
    Parameter("epochs", "int", 27, low=1, high=100_000, doc="most epochs a trial trains"),
    Parameter(
        "patience", "int", 5, low=1, high=100_000,
        doc="epochs without a better objective before a trial stops early",
    ),
    Parameter("batch_size", "int", 32, low=1, high=1_048_576, doc="rows a training step"),
    Parameter("learning_rate", "float", 1e-3, low=0.0, low_open=True, doc="of the optimizer"),
    Parameter("optimizer", "categorical", "adam", choices=OPTIMIZERS, doc="Keras optimizer"),
    Parameter(
        "momentum", "float", 0.0, low=0.0, high=1.0, high_open=True,
        when={"optimizer": ("sgd",)}, doc="of sgd",
    ),
)  # fmt: skip

MLP: dict[str, Parameter] = _table(
    Parameter("depth", "int", 2, low=0, high=64, doc="hidden layers"),
    Parameter("width", "int", 128, low=1, high=65_536, per_layer=True, doc="units of a layer"),
    Parameter("activation", "categorical", "relu", choices=ACTIVATIONS, doc="of hidden layers"),
    Parameter(
        "dropout", "float", 0.0, low=0.0, high=1.0, high_open=True, per_layer=True,
        doc="share of a hidden layer's outputs that is dropped in training",
    ),
    Parameter(
        "batch_norm", "bool", False, choices=(True, False),
        doc="batch normalisation in every hidden layer",
    ),
)  # fmt: skip

NETWORKS: dict[str, dict[str, Parameter]] = {"mlp": MLP}


def catalogue(network: str) -> dict[str, Parameter]:
    """The parameters known for `network`: its own and the training's. A network that is not
    shipped (`file.py:build`) has the training's alone; any other name is its own affair."""
    return {**NETWORKS.get(network, {}), **TRAINING}
