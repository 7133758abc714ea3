"""A multilayer perceptron of one depth whose widths and kinds of layers are a trial's inputs."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tuner.networks.layers import dense_widths, first_weights
from tuner.training.ops import normalization
from tuner.training.ops.activations import branch_activation
from tuner.training.program_key import ProgramKey

Params = dict[str, Any]
Inputs = Mapping[str, Any]


class Layer(NamedTuple):
    """A dense layer's variables, in the order in which Keras lists them, all of them whatever a
    trial has; of the output layer, kernel and bias alone are used."""

    kernel: tf.Variable
    bias: tf.Variable
    scale: tf.Variable
    shift: tf.Variable
    mean: tf.Variable
    variance: tf.Variable
    layer_scale: tf.Variable
    layer_shift: tf.Variable


TRAINED = ("kernel", "bias", "scale", "shift", "layer_scale", "layer_shift")
_FIRST = {"scale": 1.0, "variance": 1.0, "layer_scale": 1.0}


class SharedNetwork:
    """The network's variables and what they compute. Shapes are those of the trial at hand."""

    def __init__(self, design: ProgramKey, inputs: int, outputs: int) -> None:
        self._design, self._sizes = design, (inputs, outputs)
        self.layers = [
            _layer(inputs if number == 0 else None, None) for number in range(design.depth)
        ]
        self.layers.append(_layer(inputs if design.depth == 0 else None, outputs))
        self._params: Params = {}

    @property
    def trained(self) -> list[tf.Variable]:
        """The variables that the optimizer changes, whatever a trial has."""
        return [variable for variable, _ in self._trained()]

    @property
    def kernels(self) -> list[tf.Variable]:
        return [layer.kernel for layer in self.layers]

    def _trained(self) -> Iterator[tuple[tf.Variable, bool]]:
        """Each trained variable, and whether it belongs to the trial at hand."""
        for number, layer in enumerate(self.layers):
            for name in self._names(number, TRAINED):
                yield getattr(layer, name), name in self._present(number)

    def _names(self, number: int, names: tuple[str, ...]) -> list[str]:
        """Those that the design has a use for."""
        may = self._design.included if number < self._design.depth else frozenset[str]()
        batch, layer = "batch_norm" in may, "layer_norm" in may
        normed = {"scale": batch, "shift": batch, "mean": batch, "variance": batch}
        normed |= {"layer_scale": layer, "layer_shift": layer}
        return [name for name in names if normed.get(name, True)]

    def _present(self, number: int) -> list[str]:
        """What the trial at hand has in a layer, in Keras' order."""
        return present(self._params, number, number == self._design.depth)

    def start(self, params: Params, seed: int) -> None:
        """Draw a trial's first weights, as the exact network has them under that seed."""
        self._params = params
        for number, arrays in enumerate(first_arrays(params, self._sizes, seed)):
            for name in self._names(number, Layer._fields):
                getattr(self.layers[number], name).assign(arrays[name])

    def variables(self) -> list[tf.Variable]:
        """Those of the trial at hand, as `model.weights` of the exact network lists them."""
        return [
            getattr(layer, name)
            for number, layer in enumerate(self.layers)
            for name in self._present(number)
        ]

    def trained_now(self) -> list[bool]:
        """Of each trained variable, whether the trial at hand has it."""
        return [now for _, now in self._trained()]

    def outputs(self, x: tf.Tensor, inputs: Inputs, masks: Any = None) -> tuple[Any, Any]:
        """What comes before the task's activation, (rows, outputs), for x (rows, inputs), and the
        batch statistics of the hidden layers. `masks`: dropout's multipliers in training, one
        (rows, units) a place; None uses the moving statistics and drops nothing."""
        statistics: list[Any] = []
        hidden = self._dropped(x, 0, masks, "input_dropout")
        for number, layer in enumerate(self.layers[:-1]):
            hidden = tf.nn.bias_add(tf.matmul(hidden, _read(layer.kernel)), _read(layer.bias))
            hidden = self._activated(hidden, layer, inputs, statistics, masks is not None)
            hidden = self._dropped(hidden, number + 1, masks, "dropout")
        last = self.layers[-1]
        return tf.nn.bias_add(tf.matmul(hidden, _read(last.kernel)), _read(last.bias)), statistics

    def _activated(
        self, hidden: tf.Tensor, layer: Layer, inputs: Inputs, statistics: Any, training: bool
    ) -> tf.Tensor:
        activate = branch_activation(self._design.activations, inputs["activation"], inputs)
        if self._design["norm_position"] == "after":
            return self._normalised(activate(hidden), layer, inputs, statistics, training)
        return activate(self._normalised(hidden, layer, inputs, statistics, training))

    def _normalised(
        self, hidden: tf.Tensor, layer: Layer, inputs: Inputs, statistics: Any, training: bool
    ) -> tf.Tensor:
        if "batch_norm" in self._design.included:
            hidden, *found = self._by_batch(hidden, layer, inputs, training)
            statistics.append(found)
        if "layer_norm" in self._design.included:
            hidden = self._by_row(hidden, layer, inputs)
        return hidden

    def _by_batch(self, hidden: tf.Tensor, layer: Layer, inputs: Inputs, training: bool) -> Any:
        # Read outside of the branches: in one not taken TensorFlow has no gradient of their shape.
        scale, shift, mean, variance = (_read(variable) for variable in layer[2:6])
        if not training:
            moved = self._where_on(
                "batch_norm",
                inputs,
                lambda: normalization.by_moving(hidden, scale, shift, mean, variance),
                lambda: tf.identity(hidden),
            )
            return moved, mean, variance
        if "batch_norm" in self._design.always:
            return normalization.batch_normalised(hidden, scale, shift)
        return normalization.batch_normalised_where(
            inputs["batch_norm"], hidden, scale, shift, mean, variance
        )

    def _by_row(self, hidden: tf.Tensor, layer: Layer, inputs: Inputs) -> tf.Tensor:
        scale, shift = _read(layer.layer_scale), _read(layer.layer_shift)

        def normalised() -> tf.Tensor:
            return normalization.layer_normalised(hidden, scale, shift)

        return self._where_on("layer_norm", inputs, normalised, lambda: tf.identity(hidden))

    def _where_on(
        self, name: str, inputs: Inputs, then: Callable[[], Any], otherwise: Callable[[], Any]
    ) -> Any:
        return then() if name in self._design.always else tf.cond(inputs[name], then, otherwise)

    def _dropped(self, hidden: tf.Tensor, place: int, masks: Any, name: str) -> tf.Tensor:
        if masks is None or name not in self._design.included:
            return hidden
        return normalization.masked(hidden, masks[place])

    def gather(self, statistics: Any, inputs: Inputs) -> None:
        """Let the moving statistics follow a batch's."""

        def follow() -> None:
            for layer, (mean, variance) in zip(self.layers, statistics, strict=False):
                layer.mean.assign(
                    layer.mean * normalization.MOVING + mean * (1.0 - normalization.MOVING)
                )
                layer.variance.assign(
                    layer.variance * normalization.MOVING + variance * (1.0 - normalization.MOVING)
                )

        if statistics:
            self._where_on("batch_norm", inputs, follow, lambda: None)


def layer_sizes(params: Params, sizes: tuple[int, int]) -> list[int]:
    """Values before and behind each dense layer; `sizes`: inputs and outputs of the network."""
    return [sizes[0], *dense_widths(params), sizes[1]]


def first_arrays(
    params: Params, sizes: tuple[int, int], seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """What the variables of each layer start with, those included that the trial has not."""
    widths = layer_sizes(params, sizes)
    last = len(widths) - 2
    for number, shape in enumerate(pairwise(widths)):
        has_bias = "bias" in present(params, number, number == last)
        kernel, bias = first_weights(shape, params, seed, number, number == last, has_bias)
        units = {
            name: np.full(shape[1], _FIRST.get(name, 0.0), np.float32) for name in Layer._fields[2:]
        }
        yield {"kernel": kernel, "bias": bias} | units


def has_bias(params: Params) -> list[float]:
    """1 for each dense layer with a bias, else 0."""
    depth = int(params["depth"])
    return [float("bias" in present(params, n, n == depth)) for n in range(depth + 1)]


def present(params: Params, number: int, output: bool) -> list[str]:
    """The variables of an exact network's dense layer, in Keras' order."""
    normed = not output and (params.get("batch_norm") or params.get("layer_norm"))
    wanted, before = params.get("bias", "all"), params.get("norm_position", "before") == "before"
    has_bias = wanted == "all" or (wanted == "input" and number == 0)
    names = ["kernel"] + ["bias"] * (has_bias and not (normed and before))
    if not output and params.get("batch_norm"):
        names += ["scale", "shift", "mean", "variance"]
    if not output and params.get("layer_norm"):
        names += ["layer_scale", "layer_shift"]
    return names


def _layer(inputs: int | None, units: int | None) -> Layer:
    kernel = _variable((inputs or 1, units or 1), (inputs, units))
    return Layer(kernel, *(_variable((units or 1,), (units,)) for _ in Layer._fields[1:]))


def _variable(first: tuple[int, ...], shape: tuple[int | None, ...]) -> tf.Variable:
    return tf.Variable(tf.zeros(first), shape=tf.TensorShape(shape), trainable=False)


def _read(variable: tf.Variable) -> tf.Tensor:
    return tf.convert_to_tensor(variable)
