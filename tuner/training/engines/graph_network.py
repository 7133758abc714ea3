"""A multilayer perceptron of one depth whose widths and kinds of layers are a trial's inputs.

The arrays of its layers have names ("kernel", "bias", those of ops/normalization.py). The functions
at the end say which of them a trial has and what they start with, for lanes too (lane_store.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tuner.networks.layers import dense_widths, first_weights
from tuner.search_space.parameter_types import Params, read_whole
from tuner.search_space.parameters import NETWORKS
from tuner.training.ops import normalization
from tuner.training.ops.activations import branch_activation
from tuner.training.ops.dropout import apply_mask
from tuner.training.ops.normalization import NORMALIZATIONS
from tuner.training.program_key import SHARED_NETWORK, ProgramKey

# The arrays of a dense layer by name, variables or values.
Layer = Mapping[str, Any]

_STARTS = {"kernel": 0.0, "bias": 0.0} | {
    name: start for kind in NORMALIZATIONS.values() for name, start in kind.arrays.items()
}
_MOVING = frozenset(name for kind in NORMALIZATIONS.values() for name in kind.moving)


class GraphInputs(NamedTuple):
    """What differs from trial to trial, scalars unless said otherwise."""

    numbers: dict[str, tf.Tensor]  # float32, by the parameter's name
    switches: dict[str, tf.Tensor]  # bool, by the normalisation's parameter
    activation: tf.Tensor  # int32, among the key's
    optimizer: tf.Tensor  # int32, among the program's variants
    batch_size: tf.Tensor  # int32
    flipped_share: tf.Tensor  # float32
    has_bias: tf.Tensor  # float32 (layers,), 1 or 0
    seed: tf.Tensor  # uint32


class GraphNetwork:
    """The network's variables and what they compute. Shapes are those of the trial at hand."""

    def __init__(self, key: ProgramKey, inputs: int, outputs: int) -> None:
        self._key, self._sizes = key, (inputs, outputs)
        # Only the first layer's inputs and the last one's units are the same for all trials.
        befores = [inputs, *[None] * key.depth]
        units = [*[None] * key.depth, outputs]
        self.layers = [
            {name: _variable(name, *shape) for name in array_names(key, number)}
            for number, shape in enumerate(zip(befores, units, strict=True))
        ]
        self._params: Params = {}

    @property
    def trained_places(self) -> list[tuple[int, str]]:
        """Layer and name of each array that the optimizer changes, including those this trial does
        not use."""
        return [
            (number, name)
            for number, layer in enumerate(self.layers)
            for name in layer
            if is_trained(name)
        ]

    @property
    def trained(self) -> list[tf.Variable]:
        return [self.layers[number][name] for number, name in self.trained_places]

    @property
    def trained_now(self) -> list[bool]:
        """For each trained variable, whether the trial at hand has it."""
        places = self.trained_places
        return [name in present_arrays(self._params, number) for number, name in places]

    @property
    def kernels(self) -> list[tf.Variable]:
        return [layer["kernel"] for layer in self.layers]

    def start(self, params: Params, seed: int) -> None:
        """Draw a trial's first weights, as the Keras network has them under that seed."""
        self._params = params
        arrays_of_layers = first_arrays(params, self._sizes, seed)
        for layer, arrays in zip(self.layers, arrays_of_layers, strict=True):
            for name, variable in layer.items():
                variable.assign(arrays[name])

    def variables(self) -> list[tf.Variable]:
        """Those of the trial at hand, as `model.weights` of the Keras network lists them."""
        return [
            layer[name]
            for number, layer in enumerate(self.layers)
            for name in present_arrays(self._params, number)
        ]

    def outputs(
        self, x: tf.Tensor, inputs: GraphInputs, masks: Sequence[tf.Tensor | None] | None = None
    ) -> tuple[tf.Tensor, list[tuple[tf.Tensor, tf.Tensor]]]:
        """What comes before the task's activation, (rows, outputs), for x (rows, inputs), and the
        batch statistics of the hidden layers. `masks`: dropout's multipliers in training, one
        (rows, units) a place; None uses the moving statistics and drops nothing."""
        forward = _GraphForward(self._key, inputs, masks)
        hidden = forward.drop(x, 0)
        for number, layer in enumerate(self.layers[:-1]):
            hidden = forward.activate(_dense(hidden, layer), layer)
            hidden = forward.drop(hidden, number + 1)
        return _dense(hidden, self.layers[-1]), forward.statistics

    def follow(
        self, statistics: Sequence[tuple[tf.Tensor, tf.Tensor]], inputs: GraphInputs
    ) -> None:
        """Move the moving statistics a step further towards a batch's."""

        def assign() -> None:
            for layer, (mean, variance) in zip(self.layers, statistics, strict=False):
                layer["mean"].assign(normalization.moved_on(layer["mean"], mean))
                layer["variance"].assign(normalization.moved_on(layer["variance"], variance))

        if statistics:
            _where_on(self._key, "batch_norm", inputs, assign, lambda: None)


class _GraphForward:
    """One pass through the layers."""

    def __init__(self, key: ProgramKey, inputs: GraphInputs, masks: Any) -> None:
        self._key, self._inputs, self._masks = key, inputs, masks
        self._activation = branch_activation(key.activations, inputs.activation, inputs.numbers)
        self.statistics: list[tuple[tf.Tensor, tf.Tensor]] = []

    def activate(self, hidden: tf.Tensor, layer: Layer) -> tf.Tensor:
        if self._key["norm_position"] == "after":
            return self._normalised(self._activation(hidden), layer)
        return self._activation(self._normalised(hidden, layer))

    def drop(self, hidden: tf.Tensor, place: int) -> tf.Tensor:
        mask = None if self._masks is None else self._masks[place]
        return hidden if mask is None else apply_mask(hidden, mask)

    def _normalised(self, hidden: tf.Tensor, layer: Layer) -> tf.Tensor:
        if "batch_norm" in self._key.included:
            hidden = self._by_batch(hidden, layer)
        if "layer_norm" in self._key.included:
            hidden = self._by_row(hidden, layer)
        return hidden

    def _by_batch(self, hidden: tf.Tensor, layer: Layer) -> tf.Tensor:
        # Read outside of the branches: in one not taken TensorFlow has no gradient of their shape.
        arrays = [_read(layer[name]) for name in NORMALIZATIONS["batch_norm"].arrays]
        if self._masks is None:
            return _where_on(
                self._key,
                "batch_norm",
                self._inputs,
                lambda: normalization.normalize_by_moving(hidden, *arrays),
                lambda: tf.identity(hidden),
            )
        if "batch_norm" in self._key.always:
            hidden, mean, variance = normalization.normalize_batch(hidden, *arrays[:2])
        else:
            on = self._inputs.switches["batch_norm"]
            hidden, mean, variance = normalization.normalize_batch_if(on, hidden, *arrays)
        self.statistics.append((mean, variance))
        return hidden

    def _by_row(self, hidden: tf.Tensor, layer: Layer) -> tf.Tensor:
        arrays = [_read(layer[name]) for name in NORMALIZATIONS["layer_norm"].arrays]
        return _where_on(
            self._key,
            "layer_norm",
            self._inputs,
            lambda: normalization.normalize_rows(hidden, *arrays),
            lambda: tf.identity(hidden),
        )


def _where_on(
    key: ProgramKey,
    name: str,
    inputs: GraphInputs,
    then: Callable[[], Any],
    otherwise: Callable[[], Any],
) -> Any:
    return then() if name in key.always else tf.cond(inputs.switches[name], then, otherwise)


def _dense(hidden: tf.Tensor, layer: Layer) -> tf.Tensor:
    return tf.nn.bias_add(tf.matmul(hidden, _read(layer["kernel"])), _read(layer["bias"]))


def _variable(name: str, inputs: int | None, units: int | None) -> tf.Variable:
    """A variable that takes arrays of any size where `inputs` or `units` is None."""
    shape = (inputs, units) if name == "kernel" else (units,)
    first = tf.zeros([size or 1 for size in shape])
    return tf.Variable(first, shape=tf.TensorShape(shape), trainable=False)


def _read(variable: tf.Variable) -> tf.Tensor:
    return tf.convert_to_tensor(variable)


def is_trained(name: str) -> bool:
    """Whether the optimizer changes the array; moving statistics it leaves alone."""
    return name not in _MOVING


def array_names(key: ProgramKey, number: int) -> list[str]:
    """The arrays of a layer that some trial of the key may have, in the order of Keras' weights."""
    names = ["kernel", "bias"]
    if number < key.depth:
        names += _normalization_arrays(
            switch for switch in NORMALIZATIONS if switch in key.included
        )
    return names


def array_number(number: int, name: str) -> int:
    """A number of its own for each array of a network. Where there are only kernels and biases it
    is the array's place among the Keras network's."""
    names = list(_STARTS)
    if names.index(name) < 2:
        return 2 * number + names.index(name)
    return 1000 * names.index(name) + number


def present_arrays(params: Params, number: int) -> list[str]:
    """The arrays that the Keras network of these `params` has in a layer, in its order."""
    hidden = number < read_whole(params, "depth")
    switches = [name for name in NORMALIZATIONS if hidden and params.get(name)]
    wanted, before = params.get("bias", "all"), params.get("norm_position", "before") == "before"
    has_bias = wanted == "all" or (wanted == "input" and number == 0)
    names = ["kernel"] + ["bias"] * (has_bias and not (switches and before))
    return names + _normalization_arrays(switches)


def _normalization_arrays(switches: Iterable[str]) -> list[str]:
    return [name for switch in switches for name in NORMALIZATIONS[switch].arrays]


def has_bias(params: Params) -> list[float]:
    """1 for each dense layer with a bias, else 0."""
    layers = range(read_whole(params, "depth") + 1)
    return [float("bias" in present_arrays(params, number)) for number in layers]


def lacks_biases(key: ProgramKey) -> bool:
    """Whether a trial of the key may have layers without a bias."""
    return key["bias"] is not None or any(switch in key.included for switch in NORMALIZATIONS)


def dropout_rates(params: Params) -> list[float]:
    """The rate of each dropout place, from the inputs on; 0 for none."""
    return NETWORKS[SHARED_NETWORK].dropout_rates(params)


def layer_sizes(params: Params, sizes: tuple[int, int]) -> list[int]:
    """Values before and behind each dense layer; `sizes`: inputs and outputs of the network."""
    return [sizes[0], *dense_widths(params), sizes[1]]


def first_arrays(
    params: Params, sizes: tuple[int, int], seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """What the arrays of each layer start with, including those this trial does not use."""
    widths = layer_sizes(params, sizes)
    last = len(widths) - 2
    for number, shape in enumerate(pairwise(widths)):
        bias_present = "bias" in present_arrays(params, number)
        kernel, bias = first_weights(shape, params, seed, number, number == last, bias_present)
        of_units = {name: np.full(shape[1], start, np.float32) for name, start in _STARTS.items()}
        yield of_units | {"kernel": kernel, "bias": bias}
