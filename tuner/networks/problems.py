"""What makes a user's model unfit for training here, seen before anything is computed."""

import inspect
from collections.abc import Iterator
from typing import Any

from tuner.catalogue import OPTIMIZERS

_NARROW = ("float16", "bfloat16")
_OPTIONAL_INPUTS = ("training", "mask")


def problems(model: Any) -> Iterator[str]:
    """Each in a line that says what to do, worded to follow the function's name."""
    if getattr(model, "compiled", False):
        yield (
            "returns a compiled model, but tuner compiles by itself: remove compile(), and fix or "
            f"search {_instead(model)} in the space instead"
        )
    for layer in model._flatten_layers():
        if getattr(layer, "compute_dtype", None) in _NARROW:
            yield precision_problem(f"layer {layer.name!r} computes in {layer.compute_dtype}")
    if not model.trainable_variables:
        yield "returns a model without trainable weights: there is nothing to train"


def precision_problem(what: str) -> str:
    return (
        f"{what}, but tuner trains in float32: remove mixed precision "
        "(keras.mixed_precision.set_global_policy) and the dtype arguments of layers"
    )


def _instead(model: Any) -> str:
    """The parameters of a space that stand for what was given to compile()."""
    optimizer = getattr(model, "optimizer", None)
    name = type(optimizer).__name__.lower()
    words = [f"optimizer (here {name})" if name in OPTIMIZERS else "optimizer", "learning_rate"]
    if name == "sgd":
        words += ["momentum", "nesterov"]
    if getattr(optimizer, "weight_decay", None):
        words.append("weight_decay")
    if getattr(optimizer, "clipnorm", None) or getattr(optimizer, "global_clipnorm", None):
        words.append("clip_norm")
    return ", ".join([*words, "loss"])


def input_problem(model: Any, input_shape: tuple[int, ...]) -> str | None:
    """Why a model cannot take rows of this shape, as far as it says so itself."""
    inputs = getattr(model, "inputs", None) or []  # a subclass has none before it is called
    count = len(inputs) or _positional_inputs(model)
    if count != 1:
        return f"a network has one input, this one has {count}"
    shapes = [tuple(tensor.shape)[1:] for tensor in inputs]
    if shapes and not _takes(shapes[0], input_shape):
        return (
            f"has an input of shape {shapes[0]}, but a row has shape {input_shape}; write "
            "keras.Input(input_shape)"
        )
    return None


def _positional_inputs(model: Any) -> int:
    """How many inputs a subclass' `call` needs."""
    try:
        parameters = inspect.signature(model.call).parameters.values()
    except (TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        each.name
        for each in parameters
        if each.kind in positional
        and each.default is inspect.Parameter.empty
        and each.name not in _OPTIONAL_INPUTS
    ]
    return max(len(needed), 1)


def _takes(shape: tuple[int | None, ...], row: tuple[int, ...]) -> bool:
    """Keras adds and takes away a last axis of 1 by itself."""
    if len(shape) == len(row) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    elif len(row) == len(shape) + 1 and row[-1] == 1:
        row = row[:-1]
    return len(shape) == len(row) and all(
        size in (None, wanted) for size, wanted in zip(shape, row, strict=True)
    )
