"""What a compiled model says of itself: how its loss takes targets, and what its outputs are."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf


def losses_by_head(model: Any, heads: Sequence[str]) -> dict[str, Any]:
    """The loss of each head, as the model was compiled with it; None where it has none. `heads`:
    the names of the data's; [""] for a single one."""
    loss = getattr(model, "loss", None)
    if len(heads) == 1:
        return {heads[0]: next(iter(keras.tree.flatten(loss)), None)}
    own = list(getattr(model, "output_names", None) or heads)
    in_order = own if set(own) == set(heads) else list(heads)
    if isinstance(loss, Mapping):
        losses = [loss.get(name) for name in own]
    else:
        losses = list(loss) if isinstance(loss, list | tuple) else [loss] * len(heads)
    return dict(zip(in_order, losses, strict=False))


def wants_one_hot(loss: Any) -> bool:
    """Whether a loss compares with one-hot rows, not with the numbers of classes: as all of Keras'
    do but the sparse ones. One of the user's own gets the numbers."""
    return _is_keras_loss(loss) and "sparse" not in _name(loss)


def _name(loss: Any) -> str:
    if isinstance(loss, str):
        return loss.lower()
    return str(getattr(loss, "__name__", type(loss).__name__)).lower()


def _is_keras_loss(loss: Any) -> bool:
    if isinstance(loss, str):
        return True
    of = loss if callable(loss) and hasattr(loss, "__name__") else type(loss)
    return str(getattr(of, "__module__", "")).startswith("keras.")


def compile_problem(model: Any) -> str | None:
    """A mistake in the arguments of `compile` that Keras notices only in training, and then with an
    error of its inside."""
    weights = getattr(getattr(model, "_compile_loss", None), "_user_loss_weights", None)
    if any(isinstance(weight, str) for weight in keras.tree.flatten(weights)):
        return f"compile() is given loss_weights={weights!r}; write metrics={weights!r}"
    if getattr(model, "loss", None) is None and type(model).train_step is keras.Model.train_step:
        own = type(model).compute_loss is not keras.Model.compute_loss
        if not own and not model.losses:
            return "compile() is given no loss; name one, such as compile(…, loss='mse')"
    return None


def gives_logits(model: Any) -> bool:
    """Whether a loss of its says that outputs come before a softmax or sigmoid."""
    return any(map(takes_logits, keras.tree.flatten(getattr(model, "loss", None))))


def takes_logits(loss: Any) -> bool:
    """Whether a loss is of outputs before a softmax or sigmoid."""
    return bool(getattr(loss, "from_logits", False) or _arguments(loss).get("from_logits"))


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
