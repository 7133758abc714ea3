"""How weights start. Keras' initializers by name, seeded weight by weight."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

# He et al. (2015) for what is zero on one side, Klambauer et al. (2017) for selu, Glorot and
# Bengio (2010) for the rest.
_MATCHED = {
    **dict.fromkeys(("relu", "leaky_relu", "elu", "gelu", "swish"), "he_normal"),
    "selu": "lecun_normal",
}
_DEFAULT = "glorot_uniform"

_BY_NAME: dict[str, Callable[[int, float], Any]] = {
    "glorot_uniform": lambda seed, _: keras.initializers.GlorotUniform(seed),
    "glorot_normal": lambda seed, _: keras.initializers.GlorotNormal(seed),
    "he_uniform": lambda seed, _: keras.initializers.HeUniform(seed),
    "he_normal": lambda seed, _: keras.initializers.HeNormal(seed),
    "lecun_uniform": lambda seed, _: keras.initializers.LecunUniform(seed),
    "lecun_normal": lambda seed, _: keras.initializers.LecunNormal(seed),
    "normal": lambda seed, sigma: keras.initializers.RandomNormal(0.0, sigma, seed),
    "orthogonal": lambda seed, _: keras.initializers.Orthogonal(seed=seed),
}


def initialise(model: Any, params: dict[str, Any], seed: int) -> None:
    """Draw a shipped network's weights anew: kernels and the weights of a constant input as
    `params` say, each layer with a seed of its own; every other weight as its layer starts it."""
    weighted = [layer for layer in model.layers if any(w.name == "kernel" for w in layer.weights)]
    for layer in model.layers:
        for weight in layer.weights:
            if weight.name not in ("kernel", "bias"):
                weight.assign(getattr(layer, f"{weight.name}_initializer")(weight.shape))
    for number, layer in enumerate(weighted):
        has_bias = any(weight.name == "bias" for weight in layer.weights)
        kernel, bias = first_weights(
            layer.kernel.shape, params, seed, number, layer.name == "output", has_bias
        )
        layer.kernel.assign(kernel)
        if has_bias:
            layer.bias.assign(bias)


def first_weights(
    shape: Any, params: dict[str, Any], seed: int, number: int, output: bool, has_bias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (`shape`, units last) and bias (units,) of the weighted layer that is `number` from
    the input on; zeros in place of a bias that it has not."""
    draw = _drawing(params, output, _seed(seed, 2 * number))
    beside = _drawing(params, output, _seed(seed, 2 * number + 1))
    constant_input = has_bias and params.get("bias") == "input"
    kernel, bias = _with_constant_input(shape, draw, beside, constant_input)
    return np.asarray(kernel), np.zeros(shape[-1], np.float32) if bias is None else bias


def _drawing(params: dict[str, Any], output: bool, seed: int) -> Any:
    name = params.get("initializer", "auto")
    if name == "auto":
        name = _DEFAULT if output else _MATCHED.get(params["activation"], _DEFAULT)
    return _BY_NAME[name](seed, params.get("init_sigma", 1.0))


def _with_constant_input(shape: Any, draw: Any, beside: Any, wanted: bool) -> tuple[Any, Any]:
    """The kernel, and the weights of one more input that is always 1, as large as their
    neighbours: drawn together, or, beside a window's, as one place of a second kernel."""
    *window, inputs, units = shape
    if not wanted:
        return draw(shape), None
    if window:
        # Not as a matrix: Glorot counts a unit once for each place of the window.
        return draw(shape), np.asarray(beside(shape)).reshape(-1, units)[0]
    drawn = np.asarray(draw((inputs + 1, units)))
    return drawn[:-1], drawn[-1]


def _seed(seed: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0] >> 1)
