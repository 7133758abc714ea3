"""Named inputs and heads of a user's model: which input takes which array, and which output is
which head. Names decide where all of them agree, else the order."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tuner.errors import NetworkError
from tuner.values import join_names


def arranged_inputs(model: Any, inputs: Any) -> Any:
    """Arrays or tensors by name in the form that the model takes; a single one as it is. A subclass
    of keras.Model is given the dict. Raises NetworkError where names or counts differ."""
    if not isinstance(inputs, Mapping):
        return inputs
    structure = getattr(model, "_inputs_struct", None)
    if structure is None:  # a subclass of Model, or a Sequential one
        takes_one = isinstance(model, keras.Sequential) and len(inputs) == 1
        return next(iter(inputs.values())) if takes_one else dict(inputs)
    own = [tensor.name for tensor in model.inputs]
    order = _order(own, list(inputs), "input")
    return keras.tree.pack_sequence_as(structure, [inputs[name] for name in order])


def arranged_outputs(model: Any, outputs: Any, heads: Any) -> Any:
    """The model's outputs by the names of `heads`; as they are where there are no names. Raises
    NetworkError where names or counts differ."""
    if not isinstance(heads, Mapping):
        return outputs
    if isinstance(outputs, Mapping):
        if set(outputs) != set(heads):
            raise NetworkError(
                f"gives outputs named {join_names(outputs)}, the targets are {join_names(heads)}"
            )
        return {name: outputs[name] for name in heads}
    flat = keras.tree.flatten(outputs)
    own = list(getattr(model, "output_names", None) or map(str, range(len(flat))))
    order = _order(own, list(heads), "output")
    by_head = dict(zip(order, flat, strict=True))
    return {name: by_head[name] for name in heads}


def _order(own: Sequence[str], names: Sequence[str], what: str) -> Sequence[str]:
    """The names of the data in the model's order. `own`: the model's own names."""
    if set(own) == set(names):
        return own
    in_data = "inputs" if what == "input" else "targets"
    if len(own) != len(names):
        plural = "s" * (len(own) != 1)
        raise NetworkError(
            f"has {len(own)} {what}{plural} ({join_names(own)}), the data have {len(names)} "
            f"{in_data} ({join_names(names)})"
        )
    if set(own) & set(names):
        raise NetworkError(
            f"has {what}s named {join_names(own)}, the {in_data} of the data are "
            f"{join_names(names)}: name all of them so, or none"
        )
    return names


def arranged_model(model: Any, input_shape: Any, outputs: Any) -> Any:
    """A model of named inputs and heads, as training and saved files have it, with the same layers;
    the model itself where nothing has a name."""
    if not isinstance(input_shape, Mapping) and not isinstance(outputs, Mapping):
        return model
    inputs = keras_inputs(input_shape)
    results = model(arranged_inputs(model, inputs))
    return keras.Model(inputs, arranged_outputs(model, results, outputs))


def keras_inputs(input_shape: Any) -> Any:
    """An Input for a row of this shape; of several inputs name → Input."""
    if isinstance(input_shape, Mapping):
        return {name: keras.Input(shape, name=name) for name, shape in input_shape.items()}
    return keras.Input(input_shape)
