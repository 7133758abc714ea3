"""The Keras engine: a Keras model of one structure with its optimizer.

What a step and an evaluated chunk compute is traced into compiled functions by a feed (feeds.py),
which says where rows come from. A trial's numbers and weights are variables, so trials of one
structure share the compilation.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tuner.data import Dataset
from tuner.networks import build_network, dropout_rates, initialise
from tuner.networks.custom import CompiledModel, CustomNetwork
from tuner.networks.dtype_policies import precision_of
from tuner.networks.layers import CompiledLayers
from tuner.networks.step_rows import steps_of
from tuner.search_space.parameter_types import Params, read_number
from tuner.study.engines import KERAS, KERAS_XLA
from tuner.training.ops.augmentation import FLIPPED_SHARE, Augmentation
from tuner.training.ops.losses import (
    HeadObjectives,
    Objective,
    objective_of,
    parameter_count,
    weigh_loss,
)
from tuner.training.ops.optimizers import build_optimizer
from tuner.training.ops.regularizers import ONE_TRIAL, ModelRegularizers, StepContext
from tuner.training.ops.scalars import Scalars
from tuner.training.row_weights import RowWeights, Weights

State = dict[str, list[np.ndarray]]


class Program(Protocol):
    """What every engine is: compiled training with a trial's weights in it. `called`: the kinds of
    work whose functions are compiled."""

    called: set[str]

    @property
    def objective(self) -> Objective | HeadObjectives: ...

    @property
    def engine(self) -> str:
        """Its name (study/engines.py)."""
        ...

    @property
    def parameter_count(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """The bytes of its weights and of the optimizer's slots."""
        ...

    def start(self, params: Params, seed: int) -> None:
        """Begin a trial: draw its weights from `seed`, reset optimizer and dropout, set its
        numbers."""
        ...

    def state(self) -> State:
        """All arrays that the next steps depend on, by the part that owns them."""
        ...

    def restore(self, state: State) -> None:
        """Set what `state` gave, in a trial started with the same params and seed."""
        ...

    def weights(self) -> list[np.ndarray]:
        """In the order of the exported network's `model.get_weights()`."""
        ...

    def set_weights(self, weights: list[np.ndarray]) -> None: ...


class KerasProgram:
    """The model, its optimizer and its objective for one structure. `xla`: whether its feed
    compiles the steps by XLA."""

    def __init__(self, network: str | CustomNetwork, params: Params, dataset: Dataset) -> None:
        self.network, self.dataset, self.xla = network, dataset, False
        self._scalars = Scalars()
        self.objective = objective_of(dataset, params, self._scalars)
        self._parts = CompiledLayers(self._scalars)
        self._shape = (dataset.input_shape, dataset.outputs, dataset.network_task)
        self.model = self._build(params)
        self._augmented = Augmentation(
            read_number(params, "augment_shift", 0.0) > 0, bool(params.get("augment_flip", False))
        )
        self._rules = ModelRegularizers(self.model, params, self._scalars)
        self.optimizer = build_optimizer(params, self._scalars)
        self._scales_loss = precision_of(params) == "mixed_float16"
        if self._scales_loss:
            self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer)
        self.optimizer.build(self.model.trainable_variables)
        self.called: set[str] = set()
        self._row_weights = RowWeights(dataset)
        self.row_weights: Weights | None = None  # of the trial at hand, one a training row
        self._optimizer_start = [v.numpy() for v in self.optimizer.variables]
        of_inputs = {name: part.scaling for name, part in dataset.input_parts.items()}
        of_heads = {head.name: head.scaling for head in dataset.heads}
        self._scale = _lines(of_inputs if dataset.inputs else dataset.scaling)
        self._target_scale = _lines(of_heads if dataset.heads else dataset.target_scaling)

    def _build(self, params: Params) -> Any:
        steps = steps_of(self.dataset)
        return _uncompiled(build_network(self.network, params, *self._shape, self._parts, steps))

    @property
    def slow_under_xla(self) -> bool:
        """Whether the network trains on a CPU and has convolutions or unrolled recurrent layers.
        XLA makes plain loops of a convolution's gradients there: an epoch took 118 s, and 5 s in a
        graph, whose kernels are oneDNN's. Figures of recurrent layers: ops/recurrent.py."""
        # Also those inside a user's own layers and wrappers, which `model.layers` does not list.
        is_slow = any(
            "Conv" in type(layer).__name__ or getattr(layer, "is_unrolled", False)
            for layer in self.model._flatten_layers()
        )
        return is_slow and not tf.config.get_visible_devices("GPU")

    @cached_property  # asking all layers takes as long as evaluating a small network
    def row_values(self) -> int:
        """How many values a row takes where the network is widest, its inputs included."""
        shapes = [
            tuple(output.shape[1:])
            for layer in self.model._flatten_layers()
            for output in keras.tree.flatten(getattr(layer, "output", []))
        ]
        complete_shapes = [shape for shape in shapes if None not in shape]
        inputs = self._shape[0].values() if self.dataset.inputs else [self._shape[0]]
        return max(int(np.prod(shape)) for shape in [*inputs, *complete_shapes])

    @property
    def engine(self) -> str:
        return KERAS_XLA if self.xla else KERAS

    @property
    def parameter_count(self) -> int:
        return parameter_count(self.model)

    @property
    def nbytes(self) -> int:
        variables = [*self.model.variables, *self.optimizer.variables]
        return sum(4 * int(np.prod(variable.shape)) for variable in variables)

    def start(self, params: Params, seed: int) -> None:
        _assign(self.optimizer.variables, self._optimizer_start)
        self._scalars.set(params)
        self.row_weights = self._row_weights.of(params)
        if isinstance(self.network, CustomNetwork):
            self._rebuild(params, seed)
        else:
            initialise(self.model, params, seed)
        self._parts.reset(seed, dropout_rates(self.network, params))

    def _rebuild(self, params: Params, seed: int) -> None:
        # Only a user's own code knows how its layers start: run it again under the seed.
        tf.keras.utils.set_random_seed(seed % (2**31))
        fresh = self._build(params)
        _assign(self.model.variables, fresh.variables)

    def state(self) -> State:
        """Random states of a user's layers are part of it if they are Keras' own, variables of a
        SeedGenerator."""
        return {part: [v.numpy() for v in of_part] for part, of_part in self._variables().items()}

    def restore(self, state: State) -> None:
        for part, variables in self._variables().items():
            _assign(variables, state[part])

    def _variables(self) -> dict[str, list[Any]]:
        return {
            "model": self.model.variables,
            "optimizer": self.optimizer.variables,
            "dropout": self._parts.clock.variables,
        }

    def weights(self) -> list[np.ndarray]:
        return [weight.numpy() for weight in self.model.weights]

    def set_weights(self, weights: list[np.ndarray]) -> None:
        _assign(self.model.weights, weights)

    def step(
        self,
        x: Any,
        y: Any,
        learning_rate: tf.Tensor,
        weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """One optimizer step on a raw batch; x and y are dicts by name where there are several
        inputs or heads. `weights`: of its rows (n,), if the trial weighs rows. Sums over its rows
        of loss and metrics, float32."""
        seed, done = self._parts.clock.seed.value(), self._parts.clock.step.value()
        if not self.dataset.inputs:
            shift, share = self._scalars["augment_shift"], tf.constant(FLIPPED_SHARE)
            x = self._augmented(x, shift, share, seed, done)
        scaled = self._scaled(x)
        with tf.GradientTape() as tape:
            outputs = _as_float32(self.model(scaled, training=True))
            rows = weigh_loss(self.objective.row_values(self._target(y), outputs), weights)
            penalty = self._rules.penalty()
            loss = self._scaled_loss(tf.reduce_mean(rows[0]) + penalty)
        variables = self.model.trainable_variables
        context = StepContext(ONE_TRIAL, learning_rate, seed, done)
        gradients = self._changed(tape.gradient(loss, variables), context)
        self._rules.before_step(context)
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(gradients, variables)
        self._rules.after_step(context)
        self._parts.clock.tick()
        sums = tf.stack([tf.reduce_sum(values) for values in rows])
        return sums + self._penalty_sum(penalty, len(rows), tf.cast(_row_count(y), tf.float32))

    def _scaled_loss(self, loss: tf.Tensor) -> tf.Tensor:
        return self.optimizer.scale_loss(loss) if self._scales_loss else loss

    def _changed(self, gradients: list[Any], context: StepContext) -> list[Any]:
        """The gradients as the rules change them. The optimizer takes those of a scaled loss
        scaled, but a rule, such as one that clips, means their true sizes."""
        if not self._scales_loss:
            return self._rules.change_gradients(gradients, context)
        scale = self.optimizer.scale_loss(tf.constant(1.0))
        true_sizes = [None if gradient is None else gradient / scale for gradient in gradients]
        changed = self._rules.change_gradients(true_sizes, context)
        return [None if gradient is None else gradient * scale for gradient in changed]

    def score(self, x: Any, y: Any, repeated: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Sums of loss and metrics over raw rows, of which the first `repeated` do not count, and
        0: the penalties are in the sums, since those of a user's own layers depend on the rows."""
        rows = self.objective.row_values(self._target(y), self.predict(x))
        counts = tf.range(_row_count(y)) >= repeated
        # where, not a product: a padded row's infinity times 0 would be NaN.
        sums = tf.stack([tf.reduce_sum(tf.where(counts, values, 0.0)) for values in rows])
        row_count = tf.reduce_sum(tf.cast(counts, tf.float32))
        penalties = self._penalty_sum(self._rules.penalty(), len(rows), row_count)
        return sums + penalties, tf.constant(0.0)

    def predict(self, x: Any) -> Any:
        """The network's outputs (n, outputs) for raw rows."""
        return _as_float32(self.model(self._scaled(x), training=False))

    @staticmethod
    def _penalty_sum(penalty: tf.Tensor, metrics: int, rows: tf.Tensor) -> tf.Tensor:
        """Keras adds regularisation to the reported loss of every row, to no other metric."""
        return tf.one_hot(0, metrics) * penalty * rows

    def _scaled(self, x: Any) -> Any:
        return _on_lines(
            lambda values, line: tf.cast(values, tf.float32) * line[0] + line[1], x, self._scale
        )

    def _target(self, y: Any) -> Any:
        return _on_lines(_scaled_target, y, self._target_scale)


_Line = tuple[tf.Tensor, tf.Tensor]


def _lines(scaling: Any) -> Any:
    """Scale and offset, of several scalings by name."""
    if isinstance(scaling, dict):
        return {name: _lines(each) for name, each in scaling.items()}
    return tf.constant(scaling.scale, tf.float32), tf.constant(scaling.offset, tf.float32)


def _on_lines(change: Callable[[tf.Tensor, _Line], tf.Tensor], values: Any, lines: Any) -> Any:
    """Values changed by their line; of several by name."""
    if isinstance(values, Mapping):
        return {name: change(values[name], lines[name]) for name in lines}
    return change(values, lines)


def _scaled_target(y: tf.Tensor, line: _Line) -> tf.Tensor:
    return y if y.dtype.is_integer else y * line[0] + line[1]


def _as_float32(outputs: Any) -> Any:
    return tf.nest.map_structure(lambda of_head: tf.cast(of_head, tf.float32), outputs)


def _row_count(y: Any) -> tf.Tensor:
    return tf.shape(tf.nest.flatten(y)[0])[0]


def _uncompiled(model: Any) -> Any:
    """Raises CompiledModel for one that the user's code has compiled: the fit engine trains it."""
    if getattr(model, "compiled", False):
        raise CompiledModel
    return model


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def library_versions() -> str:
    """The libraries that train here, with the kind of device: a checkpoint fits only the same."""
    versions = [f"{module.__name__} {module.__version__}" for module in (tf, keras, np)]
    device = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
    return ", ".join([*versions, device])
