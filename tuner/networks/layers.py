"""Parts of the shipped networks: dropouts, activations and recurrent layers in the forms that
training and export need, dense layers with their normalisations, the output layer, and how weights
start."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import keras
import numpy as np

from tuner.search_space.parameter_types import (
    Params,
    read_number,
    read_whole,
    read_word,
    repeat_value,
)
from tuner.training.ops.activations import ACTIVATIONS
from tuner.training.ops.dropout import DropoutClock, FastDropout
from tuner.training.ops.normalization import NORMALIZATIONS
from tuner.training.ops.recurrent import FastRecurrent, RecurrentShape, keras_layer
from tuner.training.ops.scalars import Scalars


class LayerFactory(Protocol):
    """Makes what differs between training and the exported network: dropout, in the order of the
    network (None where the rate is 0), and activations, which may read a number."""

    def dropout(self, rate: float) -> Any | None: ...

    def activation(self, params: Params) -> Callable[[Any], Any]: ...

    def recurrent(self, shape: RecurrentShape, dropout: float) -> Any:
        """`dropout`: of the recurrent inputs. Its place is that of the call."""
        ...


class CompiledLayers:
    """Layers of a program of the Keras engine. Each trial of the structure sets their numbers."""

    def __init__(self, scalars: Scalars) -> None:
        self.clock = DropoutClock()
        self._scalars = scalars
        self._places = 0
        self._dropouts: list[FastDropout] = []

    def dropout(self, rate: float) -> FastDropout | None:
        place = self._places
        self._places += 1
        if rate == 0:
            return None
        self._dropouts.append(FastDropout(place, self.clock, name=f"dropout_{place}"))
        return self._dropouts[-1]

    def activation(self, params: Params) -> Callable[[Any], Any]:
        return ACTIVATIONS[read_word(params, "activation")].compiled_form(self._scalars)

    def recurrent(self, shape: RecurrentShape, dropout: float) -> FastRecurrent:
        return FastRecurrent(shape, self.dropout(dropout))

    def reset(self, seed: int, rates: list[float]) -> None:
        """Start a trial: its dropout seed, and one rate for each dropout layer in order."""
        self.clock.reset(seed)
        for layer, rate in zip(self._dropouts, rates, strict=True):
            layer.rate.assign(rate)


class KerasLayers:
    """Keras' own layers with constant numbers, for networks that are exported."""

    def dropout(self, rate: float) -> Any | None:
        return keras.layers.Dropout(rate) if rate > 0 else None

    def activation(self, params: Params) -> Callable[[Any], Any]:
        return ACTIVATIONS[read_word(params, "activation")].exported_form(params)

    def recurrent(self, shape: RecurrentShape, dropout: float) -> Any:
        return keras_layer(shape, dropout)


HEAD_ACTIVATIONS = {
    "classes": "softmax",
    "binary": "sigmoid",
    "multilabel": "sigmoid",
    "regression": "linear",
}


_OUTPUT = "output"


def output_layer(task: Any, outputs: Any, bias: bool = True) -> Callable[[Any], Any]:
    """The Dense layer that ends a network for `task`, with `outputs` units. Where both are dicts by
    the names of heads, a layer for each; the result is a dict."""
    if isinstance(outputs, Mapping):
        heads = {
            name: _dense_head(task[name], units, bias, f"{_OUTPUT}_{name}")
            for name, units in outputs.items()
        }
        return lambda hidden: {name: head(hidden) for name, head in heads.items()}
    return _dense_head(task, outputs, bias, _OUTPUT)


def _dense_head(task: str, units: int, bias: bool, name: str) -> Any:
    activation = HEAD_ACTIVATIONS[task]
    # float32 in any precision: probabilities and the loss must not be rounded more.
    return keras.layers.Dense(units, activation, use_bias=bias, name=name, dtype="float32")


def _is_output(layer: Any) -> bool:
    return str(layer.name).partition("_")[0] == _OUTPUT


def growing_sizes(sizes: list[int], factor: float) -> list[int]:
    """The sizes of layers, the n-th multiplied by factor**n (from 0) and rounded; at least 1."""
    return [max(1, round(size * factor**index)) for index, size in enumerate(sizes)]


def uses_bias(params: Params, first: bool, normalised: bool = False) -> bool:
    """Whether a weighted layer has a bias. It has none where a normalisation follows directly,
    whose shift takes its place. `first`: no layer with weights comes before."""
    wanted = params.get("bias", "all")
    return not normalised and (wanted == "all" or (wanted == "input" and first))


def normalises_before(params: Params) -> bool:
    """Whether a normalisation stands between a layer's weights and its activation."""
    return _normalises(params) and params.get("norm_position", "before") == "before"


def add_activation(hidden: Any, params: Params, parts: LayerFactory) -> Any:
    """Add normalisation and activation, in the order of `norm_position`."""
    if normalises_before(params):
        return parts.activation(params)(add_normalisations(hidden, params))
    return add_normalisations(parts.activation(params)(hidden), params)


def _normalises(params: Params) -> bool:
    return any(params.get(name) for name in NORMALIZATIONS)


def add_normalisations(hidden: Any, params: Params) -> Any:
    for name, normalization in NORMALIZATIONS.items():
        if params.get(name):
            hidden = normalization.keras()(hidden)
    return hidden


def add_dropout(hidden: Any, rate: float, parts: LayerFactory) -> Any:
    # The factory is asked at a rate of 0 too: a dropout's number among all places decides which
    # random bits it draws.
    layer = parts.dropout(rate)
    return hidden if layer is None else layer(hidden)


def dense_widths(params: Params) -> list[int]:
    """Units of each hidden layer."""
    return growing_sizes(
        repeat_value(params["width"], read_whole(params, "depth")),
        read_number(params, "taper", 1.0),
    )


def add_dense_layers(
    hidden: Any, params: Params, outputs: Any, task: Any, parts: LayerFactory, first: bool
) -> Any:
    """Add hidden layers and the output layer. `first`: no layer with weights comes before."""
    depth = read_whole(params, "depth")
    rates = repeat_value(params["dropout"], depth)
    for width, rate in zip(dense_widths(params), rates, strict=True):
        bias = uses_bias(params, first, normalises_before(params))
        hidden = keras.layers.Dense(width, use_bias=bias)(hidden)
        hidden = add_dropout(add_activation(hidden, params, parts), rate, parts)
        first = False
    return output_layer(task, outputs, uses_bias(params, first))(hidden)


# What `auto` means for the output layer (Glorot and Bengio, 2010).
_OUTPUT_INITIALIZER = "glorot_uniform"

_INITIALIZERS: dict[str, Callable[[int, float], Any]] = {
    "glorot_uniform": lambda seed, _: keras.initializers.GlorotUniform(seed),
    "glorot_normal": lambda seed, _: keras.initializers.GlorotNormal(seed),
    "he_uniform": lambda seed, _: keras.initializers.HeUniform(seed),
    "he_normal": lambda seed, _: keras.initializers.HeNormal(seed),
    "lecun_uniform": lambda seed, _: keras.initializers.LecunUniform(seed),
    "lecun_normal": lambda seed, _: keras.initializers.LecunNormal(seed),
    "normal": lambda seed, sigma: keras.initializers.RandomNormal(0.0, sigma, seed),
    "orthogonal": lambda seed, _: keras.initializers.Orthogonal(seed=seed),
}


def initialise(model: Any, params: Params, seed: int) -> None:
    """Draw a shipped network's weights: kernels and the weights of a constant input by the
    initializer of `params`, each layer with a seed of its own; all other weights by their layer's
    default."""
    weighted = [layer for layer in model.layers if any(w.name == "kernel" for w in layer.weights)]
    for layer in model.layers:
        if layer not in weighted:
            _initialise_others(layer, seed)
    for number, layer in enumerate(weighted):
        if isinstance(layer, FastRecurrent):
            _initialise_recurrent(layer, params, seed, number)
            continue
        has_bias = any(weight.name == "bias" for weight in layer.weights)
        kernel, bias = first_weights(
            layer.kernel.shape, params, seed, number, _is_output(layer), has_bias
        )
        layer.kernel.assign(kernel)
        if has_bias:
            layer.bias.assign(bias)


def _initialise_others(layer: Any, seed: int) -> None:
    """A normalisation, or the vectors of tokens."""
    for weight in layer.weights:
        if weight.name == "embeddings":
            draw = keras.initializers.RandomUniform(seed=_derive_seed(seed, *_OF_EMBEDDINGS))
        else:
            draw = getattr(layer, f"{weight.name}_initializer")
        weight.assign(draw(weight.shape))


def _initialise_recurrent(layer: FastRecurrent, params: Params, seed: int, number: int) -> None:
    """Recurrent kernels are orthogonal (Saxe et al., 2014), whatever the initializer."""
    chosen = {**params, "activation": "tanh"}  # what `auto` follows
    for direction in range(layer.directions):
        draw = _make_initializer(chosen, False, _derive_seed(seed, 2 * number, direction + 1))
        recurrent_seed = _derive_seed(seed, 2 * number + 1, direction + 1)
        orthogonal = keras.initializers.Orthogonal(seed=recurrent_seed)
        kernel, recurrent = layer.kernels[direction], layer.recurrent_kernels[direction]
        kernel.assign(draw(kernel.shape))
        recurrent.assign(orthogonal(recurrent.shape))
        layer.biases[direction].assign(layer.cell.first_bias(layer.shape.units))


def first_weights(
    shape: Any, params: Params, seed: int, number: int, output: bool, has_bias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (`shape`, units last) and bias (units,) of a weighted layer; `number` counts these
    layers from the input on. The bias is zeros if the layer has none."""
    draw = _make_initializer(params, output, _derive_seed(seed, 2 * number))
    beside = _make_initializer(params, output, _derive_seed(seed, 2 * number + 1))
    constant_input = has_bias and params.get("bias") == "input"
    kernel, bias = _with_constant_input(shape, draw, beside, constant_input)
    return np.asarray(kernel), np.zeros(shape[-1], np.float32) if bias is None else bias


def _make_initializer(params: Params, output: bool, seed: int) -> Any:
    name = read_word(params, "initializer", "auto")
    if name == "auto":
        name = (
            _OUTPUT_INITIALIZER
            if output
            else ACTIVATIONS[read_word(params, "activation")].initializer
        )
    return _INITIALIZERS[name](seed, read_number(params, "init_sigma", 1.0))


def _with_constant_input(shape: Any, draw: Any, beside: Any, wanted: bool) -> tuple[Any, Any]:
    """The kernel and, if `wanted`, the weights of one more input that is always 1. They are drawn
    together; those beside a convolution's window are one place of a second kernel."""
    *window, inputs, units = shape
    if not wanted:
        return draw(shape), None
    if window:
        # Not as a matrix: Glorot counts a unit once for each place of the window.
        return draw(shape), np.asarray(beside(shape)).reshape(-1, units)[0]
    drawn = np.asarray(draw((inputs + 1, units)))
    return drawn[:-1], drawn[-1]


# Beside the numbers of layers with kernels.
_OF_EMBEDDINGS = (0, 3)


def _derive_seed(seed: int, *index: int) -> int:
    return int(np.random.SeedSequence([seed, *index]).generate_state(1)[0] >> 1)
