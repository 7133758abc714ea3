"""The fit engine: a model that the user's code has compiled, and the rows that `fit` is given.

Rows go in as the network of any trial takes them: scaled, in float32. Targets go in as the model's
own losses mean them: classes as numbers, or one-hot where its loss is categorical; numbers in their
own units, (n, 1), never standardised.
"""

from collections.abc import Callable, Set
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tuner.data import Dataset, Split
from tuner.data.named_rows import named_parts
from tuner.networks import add_target_shift, by_head, layer_name, with_preparation
from tuner.networks.arranging import arranged_outputs
from tuner.training.engines.compiled_models import (
    losses_by_head,
    plain_model,
    takes_logits,
    uncompile,
    wants_one_hot,
)
from tuner.training.engines.feeds import Chunk, ResidentData, chunk_rows, predict_chunks
from tuner.training.engines.keras import State
from tuner.training.ops.losses import parameter_count

Order = Callable[[], npt.NDArray[np.int32]]

# Of the steps between two callbacks. More gain nothing: 64 steps of a small network take longer
# than what Keras does once a call.
_MOST_STEPS = 64


class FitProgram:
    """A compiled model in training, and its rows. `weights`: one a training row, None if all count
    alike. `data`: the rows in memory; None: they are read from disk as they are needed."""

    def __init__(
        self,
        model: Any,
        dataset: Dataset,
        data: ResidentData | None,
        weights: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.model, self.dataset, self._weights = model, dataset, weights
        losses = losses_by_head(model, [head.name for head in dataset.heads] or [""])
        one_hot = {name for name, loss in losses.items() if wants_one_hot(loss)}
        train, evaluation = (None, None) if data is None else (data.train, data.evaluation)
        self._train = _SplitRows(dataset, dataset.train, train, one_hot)
        self._evaluation = _SplitRows(dataset, dataset.evaluation, evaluation, one_hot)
        self._logits = {name for name, loss in losses.items() if takes_logits(loss)}
        self._predict = tf.function(self._probabilities, autograph=False)

    @property
    def row_count(self) -> int:
        return len(self.dataset.train.y)

    @property
    def parameter_count(self) -> int:
        return parameter_count(self.model)

    @property
    def row_values(self) -> int:
        """How many values a row takes where the network is widest."""
        return widest_values(self.model, self.dataset.input_shape)

    def training_batches(self, order: Order, steps: int, batch_size: int) -> tf.data.Dataset:
        """The first `steps` batches (x, y) or (x, y, weights) of an epoch, whose rows come in the
        order that `order` gives when the epoch begins (int32, one entry a row)."""
        weights = None if self._weights is None else tf.constant(self._weights)

        def numbers(_: tf.Tensor) -> tf.data.Dataset:
            rows = tf.ensure_shape(tf.numpy_function(order, [], tf.int32), [self.row_count])
            return tf.data.Dataset.from_tensor_slices(rows).batch(batch_size)

        def batch(rows: tf.Tensor) -> tuple[Any, ...]:
            weighed = () if weights is None else (tf.gather(weights, rows),)
            return (*self._train.at(rows), *weighed)

        batches = tf.data.Dataset.range(1).flat_map(numbers).map(batch).take(steps)
        return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)

    def evaluation_batches(self, batch_size: int | None = None) -> tf.data.Dataset:
        """The rows of the split that is evaluated, in their order: (x, y)."""
        count = len(self.dataset.evaluation.y)
        size = batch_size or chunk_rows(count, self.row_values)

        def batch(first: tf.Tensor) -> tuple[Any, ...]:
            stop = tf.minimum(first + size, count)
            return self._evaluation.at(tf.cast(tf.range(first, stop), tf.int32))

        return tf.data.Dataset.range(0, count, size).map(batch).prefetch(2)

    def arrays(self) -> dict[str, Any]:
        """The same as NumPy arrays, as `fit` names them: x, y, sample_weight where rows have
        weights, validation_data where a search is scored on the validation split."""
        x, y = self._train.all()
        arguments: dict[str, Any] = {"x": x, "y": y}
        if self._weights is not None:
            arguments["sample_weight"] = self._weights
        if self.dataset.evaluation_name == "val":
            arguments["validation_data"] = self._evaluation.all()
        return arguments

    def predictions(self) -> Any:
        """Of the rows that are evaluated, as `Feed.predictions` gives them."""
        chunks = (Chunk(x, y) for x, y in self.evaluation_batches())
        return by_head(_as_predictions, predict_chunks(chunks, self._predict), self.dataset)

    def _probabilities(self, x: Any) -> Any:
        outputs = self.model(x, training=False)
        return by_head(
            self._head_probabilities,
            arranged_outputs(self.model, outputs, self.dataset.outputs),
            self.dataset,
        )

    def _head_probabilities(self, outputs: tf.Tensor, target: Any, name: str) -> tf.Tensor:
        outputs = tf.cast(outputs, tf.float32)
        if name not in self._logits:
            return outputs
        return tf.nn.softmax(outputs) if target.task == "classes" else tf.sigmoid(outputs)

    def exported(self) -> Any:
        """The model as it is saved: of raw inputs, giving probabilities or values in the target's
        units, with nothing of how it was compiled. It shares the weights."""
        model = plain_model(self.model)
        uncompile(model)
        return with_preparation(model, self.dataset, self._export_head)

    def _export_head(self, outputs: Any) -> Any:
        return add_target_shift(by_head(self._activated, outputs, self.dataset), self.dataset)

    def _activated(self, outputs: Any, target: Any, name: str) -> Any:
        if name not in self._logits:
            return outputs
        function = "softmax" if target.task == "classes" else "sigmoid"
        layer_of_head = layer_name("probabilities", name)
        return keras.layers.Activation(function, name=layer_of_head, dtype="float32")(outputs)

    def state(self) -> State:
        """All variables that the next steps depend on. Random states are part of it if they are
        Keras' own, variables of a SeedGenerator."""
        return {part: [v.numpy() for v in of_part] for part, of_part in self._variables().items()}

    def restore(self, state: State) -> None:
        for optimizer in self._optimizers():
            if not optimizer.built:
                optimizer.build(self.model.trainable_variables)
        for part, variables in self._variables().items():
            for variable, value in zip(variables, state[part], strict=True):
                variable.assign(value)

    def _variables(self) -> dict[str, list[Any]]:
        optimizers = self._optimizers()
        return {
            "model": list(self.model.variables),
            "optimizer": [v for optimizer in optimizers for v in optimizer.variables],
        }

    def _optimizers(self) -> list[Any]:
        """Its optimizer, and further ones that a train_step of its own uses."""
        candidates = [self.model.optimizer, *vars(self.model).values()]
        by_id = {id(it): it for it in candidates if isinstance(it, keras.optimizers.Optimizer)}
        return list(by_id.values())

    def weights(self) -> list[npt.NDArray[Any]]:
        return [weight.numpy() for weight in self.model.weights]

    def set_weights(self, weights: list[npt.NDArray[Any]]) -> None:
        for variable, value in zip(self.model.weights, weights, strict=True):
            variable.assign(value)


class _SplitRows:
    """A split's rows as a compiled model takes them."""

    def __init__(
        self, dataset: Dataset, split: Split, tensors: tuple[Any, Any] | None, one_hot: Set[str]
    ) -> None:
        self._parts = named_parts(split.x)
        self._x = None if tensors is None else _by_name(tensors[0])
        self._scaling = {name: part.scaling for name, part in dataset.input_parts.items()}
        targets = named_parts(split.y)
        names = [head.name for head in dataset.heads] or [""]
        self._y = {
            name: _target(np.asarray(targets[name]), head, name in one_hot)
            for name, head in zip(names, dataset.targets, strict=True)
        }
        self._names_inputs, self._names_targets = bool(dataset.inputs), bool(dataset.heads)

    def at(self, rows: tf.Tensor) -> tuple[Any, Any]:
        """x and y of these rows, inside a pipeline."""
        x = {name: self._scaled(name, self._read(name, rows)) for name in self._parts}
        y = {name: tf.gather(tf.constant(values), rows) for name, values in self._y.items()}
        return _unnamed(x, self._names_inputs), _unnamed(y, self._names_targets)

    def all(self) -> tuple[Any, Any]:
        """x and y as NumPy arrays."""
        x = {n: self._scaling[n].apply(np.asarray(part)) for n, part in self._parts.items()}
        return _unnamed(x, self._names_inputs), _unnamed(self._y, self._names_targets)

    def _read(self, name: str, rows: tf.Tensor) -> tf.Tensor:
        if self._x is not None:
            return tf.gather(self._x[name], rows)
        part = self._parts[name]
        values = tf.numpy_function(
            lambda numbers: _in_file_order(part, numbers), [rows], part.dtype
        )
        return tf.ensure_shape(values, [None, *part.shape[1:]])

    def _scaled(self, name: str, values: tf.Tensor) -> tf.Tensor:
        scaling = self._scaling[name]
        return tf.cast(values, tf.float32) * tf.constant(scaling.scale) + tf.constant(
            scaling.offset
        )


def _in_file_order(part: Any, numbers: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
    """Rows in the order of `numbers`; sorted reads walk the file forwards."""
    ascending = np.argsort(numbers, kind="stable")
    rows = np.asarray(part[numbers[ascending]])
    return rows[np.argsort(ascending, kind="stable")]


def _target(y: npt.NDArray[Any], head: Any, one_hot: bool) -> npt.NDArray[Any]:
    if head.task == "classes":
        return np.eye(head.units, dtype=np.float32)[y] if one_hot else y
    values = np.asarray(y, np.float32)
    # With (n,) against outputs (n, 1), a loss such as y - outputs would be (n, n).
    return values[:, np.newaxis] if values.ndim == 1 else values


def _by_name(x: Any) -> dict[str, Any]:
    return x if isinstance(x, dict) else {"": x}


def _unnamed(values: dict[str, Any], has_names: bool) -> Any:
    return values if has_names else next(iter(values.values()))


def _as_predictions(outputs: Any, target: Any, name: str) -> Any:
    is_wide = target.task in ("classes", "multilabel") or outputs.shape[1:] != (1,)
    return outputs if is_wide else outputs[:, 0]


def widest_values(model: Any, input_shape: Any) -> int:
    """How many values a row takes where the model is widest, its inputs included."""
    inputs = input_shape.values() if isinstance(input_shape, dict) else [input_shape]
    shapes = [
        tuple(output.shape[1:])
        for layer in model._flatten_layers()
        for output in keras.tree.flatten(getattr(layer, "output", []))
    ]
    complete = [shape for shape in shapes if None not in shape]
    return max(int(np.prod(shape)) for shape in [*inputs, *complete])


def choose_steps(model: Any, steps: int, parts: int, callbacks: list[Any]) -> int:
    """Steps that Keras takes in one call: `steps_per_execution`. The user's own number stays, and
    callbacks that look at each batch are called for each. `parts`: reports in an epoch."""
    is_users = getattr(model, "steps_per_execution", 1) != 1
    if is_users or model.run_eagerly or any(map(_looks_at_batches, callbacks)):
        return int(model.steps_per_execution)
    return max(1, min(_MOST_STEPS, -(-steps // parts)))


def _looks_at_batches(callback: Any) -> bool:
    names = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    own = keras.callbacks.Callback
    return any(getattr(type(callback), name) is not getattr(own, name) for name in names)
