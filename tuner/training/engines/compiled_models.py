"""What a compiled model says of itself: how its loss takes targets, and what its outputs are."""

from typing import Any

import keras
import tensorflow as tf

# Losses that compare with one-hot rows; of functions, classes and texts alike.
_CATEGORICAL = frozenset(
    {
        "categorical_crossentropy",
        "categorical_focal_crossentropy",
        "categorical_generalized_cross_entropy",
        "categorical_hinge",
        "kl_divergence",
        "kullback_leibler_divergence",
    }
)


def _loss_name(loss: Any) -> str:
    """In the form of a function's name: "categorical_crossentropy"."""
    if isinstance(loss, str):
        name = loss
    elif isinstance(loss, keras.losses.Loss):
        name = type(loss).__name__
    else:
        name = getattr(loss, "__name__", "")
    return name if "_" in name else _snake_case(name)


def _snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def wants_one_hot(model: Any) -> bool:
    """Whether its loss compares with one-hot rows, not with the numbers of classes."""
    losses = keras.tree.flatten(getattr(model, "loss", None))
    return any(_loss_name(loss) in _CATEGORICAL for loss in losses)


def gives_logits(model: Any) -> bool:
    """Whether its loss says that the outputs come before a softmax or sigmoid."""
    losses = keras.tree.flatten(getattr(model, "loss", None))
    return any(
        bool(getattr(loss, "from_logits", False) or _arguments(loss).get("from_logits"))
        for loss in losses
    )


def _arguments(loss: Any) -> dict[str, Any]:
    return getattr(loss, "_fn_kwargs", None) or {}


def convolves_on_cpu(model: Any) -> bool:
    """Whether XLA would make it slow: of convolutions' gradients it makes plain loops on a CPU (an
    epoch took 118 s, and 5 s in a graph, whose kernels are oneDNN's)."""
    # Also those inside a user's own layers and wrappers, which `model.layers` does not list.
    convolves = any("Conv" in type(layer).__name__ for layer in model._flatten_layers())
    return convolves and not tf.config.get_visible_devices("GPU")


def uncompile(model: Any) -> None:
    """Make the model, and models inside it, forget how they were compiled, so that a saved file has
    none of it: losses and metrics of the user's own would not load elsewhere."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.Model):
            layer.compiled = False


def plain_model(model: Any) -> Any:
    """The same layers and weights as a plain keras.Model, where the model's class only changes how
    it is trained: a file of it loads without the user's code."""
    kind, functional = type(model), type(keras.Model(*_identity()))
    is_subclass = issubclass(kind, functional) and kind is not functional
    if not is_subclass or kind.call is not functional.call:
        return model
    return keras.Model(model._inputs_struct, model._outputs_struct)


def _identity() -> tuple[Any, Any]:
    inputs = keras.Input((1,))
    return inputs, keras.layers.Activation("linear")(inputs)
