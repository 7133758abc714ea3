"""What makes a user's model unfit for training here, seen before anything is computed."""

import inspect
from collections.abc import Iterator
from typing import Any

import keras

from tuner.catalogue import OPTIMIZERS

_NARROW = ("float16", "bfloat16")
# What Keras' fit() would call.
_REPLACED = ("train_step", "compute_loss")
_OPTIONAL_INPUTS = ("training", "mask")


def problems(model: Any) -> Iterator[str]:
    """Each in a line that says what to do, worded to follow the function's name."""
    if getattr(model, "compiled", False):
        yield (
            "returns a compiled model, but tuner compiles by itself: remove compile(), and fix or "
            f"search {_instead(model)} in the space instead"
        )
    for name in _REPLACED:
        if getattr(type(model), name) is not getattr(keras.Model, name):
            yield (
                f"returns a model with a {name}() of its own, which tuner does not call; give its "
                "loss by the parameter loss, and further ones by add_loss() in call()"
            )
    for layer in model._flatten_layers():
        if getattr(layer, "compute_dtype", None) in _NARROW:
            yield precision_problem(f"layer {layer.name!r} computes in {layer.compute_dtype}")
    for tensor in _inputs(model):
        if (rows := next(iter(tensor.shape))) is not None:
            yield (
                f"has an input of {rows} rows, but batches have different numbers of rows; write "
                "keras.Input(input_shape) without a batch size, and no stateful=True"
            )
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


def input_problem(model: Any) -> str | None:
    """Whether a model has another number of inputs than one."""
    count = len(_inputs(model)) or _positional_inputs(model)
    return None if count == 1 else f"a network has one input, this one has {count}"


def shape_problem(model: Any, input_shape: tuple[int, ...]) -> str | None:
    """How a model's input differs from a row of this shape, as far as it says so itself. Keras
    takes some of these all the same."""
    for tensor in _inputs(model):
        shape = tuple(tensor.shape)[1:]
        alike = len(shape) == len(input_shape) and all(
            size in (None, wanted) for size, wanted in zip(shape, input_shape, strict=True)
        )
        if not alike:
            return (
                f"has an input of shape {shape}, but a row has shape {input_shape}; write "
                "keras.Input(input_shape), and a Reshape behind it where another is needed"
            )
    return None


def _inputs(model: Any) -> list[Any]:
    """Of a subclass none, before it is called."""
    return list(getattr(model, "inputs", None) or [])


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
