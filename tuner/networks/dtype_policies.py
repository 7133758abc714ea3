"""In which numbers a network computes: Keras' dtype policy for each value of `precision`.

Weights stay float32 in all of them, and so do the inputs, the outputs and the loss. Micikevicius et
al. (2018) for float16, whose loss is scaled; Kalamkar et al. (2019) for bfloat16.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

from tuner.search_space.parameters import FULL_PRECISION

POLICIES = {
    FULL_PRECISION: "float32",
    "bfloat16": "mixed_bfloat16",
    "mixed_float16": "mixed_float16",
}


def precision_of(params: Mapping[str, Any]) -> str:
    return str(params.get("precision", FULL_PRECISION))


@contextmanager
def dtype_policy(precision: str) -> Iterator[None]:
    """Inside, layers are made for this precision. Afterwards the policy is as before, also where
    the user's code has set another."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def precision_problem(model: Any, precision: str) -> str | None:
    """A line on a model that was not compiled and has a layer of another precision; None for one
    that fits."""
    for layer in model._flatten_layers():
        dtype = getattr(layer, "compute_dtype", None)
        if dtype in ("float16", "bfloat16") and precision == FULL_PRECISION:
            wanted = "mixed_float16" if dtype == "float16" else dtype
            return (
                f"layer {layer.name!r} computes in {dtype}, but the study's precision is float32: "
                f"set precision: {wanted} in the space, in place of "
                "keras.mixed_precision.set_global_policy and the dtype arguments of layers"
            )
    return None


def output_problem(dtype: str, precision: str) -> str:
    """A line on a model whose outputs are of this dtype, not float32."""
    if precision != FULL_PRECISION:
        return f"its outputs are {dtype}; give its last layer dtype='float32'"
    return (
        f"its outputs are {dtype}, but tuner trains in float32: remove mixed precision "
        "(keras.mixed_precision.set_global_policy) and the dtype arguments of layers"
    )
