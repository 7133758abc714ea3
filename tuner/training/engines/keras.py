"""One network structure with its optimizer: what a step and a validation chunk compute.

Everything here is traced into compiled functions by a feed (feeds.py), which says where batches
come from. A trial's scalars and weights live in variables, so trials of one
structure share the compilation.

What trains a trial, whichever way it is made: exact (exact.py) or shared (shared/).
"""

from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tuner.data import Dataset
from tuner.networks import build_network, dropout_rates, initialise
from tuner.networks.custom import CustomNetwork
from tuner.networks.layers import CompiledLayers
from tuner.training.ops.augmentation import FLIPPED_SHARE, Augmentation
from tuner.training.ops.losses import Objective, parameter_count
from tuner.training.ops.optimizers import build_optimizer
from tuner.training.ops.regularizers import ONE_TRIAL, ModelRegularizers, StepContext
from tuner.training.ops.scalars import Scalars


class Program(Protocol):
    """Compiled training with a trial's weights in it. `called`: the kinds of work whose functions
    are compiled."""

    objective: Objective
    called: set[str]

    @property
    def engine(self) -> str:
        """The name of its kind."""
        ...

    @property
    def parameter_count(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """What its weights and the optimizer's slots take."""
        ...

    def start(self, params: dict[str, Any], seed: int) -> None:
        """Begin a trial: weights drawn from `seed`, optimizer and dropout as new, scalars set."""
        ...

    def state(self) -> dict[str, list[np.ndarray]]:
        """All that the next steps depend on, by the part that owns it."""
        ...

    def restore(self, state: dict[str, list[np.ndarray]]) -> None:
        """Bring back what `state` gave, in a trial started with the same params and seed."""
        ...

    def weights(self) -> list[np.ndarray]:
        """As `model.get_weights()` of the exported network orders them."""
        ...

    def set_weights(self, weights: list[np.ndarray]) -> None: ...


class KerasProgram:
    """The model, its optimizer and its objective for one structure."""

    def __init__(
        self, network: str | CustomNetwork, params: dict[str, Any], dataset: Dataset
    ) -> None:
        self.network = network
        self._scalars = Scalars()
        self.objective = Objective(dataset.task, dataset.outputs, params, self._scalars)
        self._parts = CompiledLayers(self._scalars)
        self._shape = (dataset.input_shape, dataset.outputs, dataset.task)
        self.model = build_network(network, params, *self._shape, self._parts)
        self._augmented = Augmentation(
            params.get("augment_shift", 0) > 0, bool(params.get("augment_flip", False))
        )
        self._rules = ModelRegularizers(self.model, params, self._scalars)
        self.optimizer = build_optimizer(params, self._scalars)
        self.optimizer.build(self.model.trainable_variables)
        self.xla = False  # how the feed compiles it
        self.called: set[str] = set()  # the kinds of work whose functions are compiled
        self._optimizer_start = [v.numpy() for v in self.optimizer.variables]
        self._scale = tf.constant(dataset.scaling.scale, tf.float32)
        self._offset = tf.constant(dataset.scaling.offset, tf.float32)
        self._target_scale = tf.constant(dataset.target_scaling.scale, tf.float32)
        self._target_offset = tf.constant(dataset.target_scaling.offset, tf.float32)

    @property
    def slow_under_xla(self) -> bool:
        """Whether the network has convolutions and a CPU to run on. XLA makes plain loops of their
        gradients there: an epoch took 118 s, and 5 s in a graph, whose kernels are oneDNN's."""
        # Those inside a user's own layers and wrappers too, which `model.layers` does not list.
        found = any("Conv" in type(layer).__name__ for layer in self.model._flatten_layers())
        return found and not tf.config.get_visible_devices("GPU")

    @property
    def row_values(self) -> int:
        """How many values a row takes where the network is widest, its inputs included."""
        shapes = [
            tuple(output.shape[1:])
            for layer in self.model._flatten_layers()
            for output in keras.tree.flatten(getattr(layer, "output", []))
        ]
        known = [shape for shape in shapes if None not in shape]
        return max(int(np.prod(shape)) for shape in [self._shape[0], *known])

    @property
    def engine(self) -> str:
        return "xla" if self.xla else "graph"

    @property
    def parameter_count(self) -> int:
        return parameter_count(self.model)

    @property
    def nbytes(self) -> int:
        owned = [*self.model.variables, *self.optimizer.variables]
        return sum(4 * int(np.prod(variable.shape)) for variable in owned)

    def start(self, params: dict[str, Any], seed: int) -> None:
        """Begin a trial: weights drawn from `seed`, optimizer and dropout as new, scalars set."""
        _assign(self.optimizer.variables, self._optimizer_start)
        self._scalars.set(params)
        if isinstance(self.network, CustomNetwork):
            self._rebuild(params, seed)
        else:
            initialise(self.model, params, seed)
        self._parts.reset(seed, dropout_rates(self.network, params))

    def _rebuild(self, params: dict[str, Any], seed: int) -> None:
        # How a user's layers start is known to their own code alone: run it again under the seed.
        tf.keras.utils.set_random_seed(seed % (2**31))
        fresh = build_network(self.network, params, *self._shape, self._parts)
        _assign(self.model.variables, fresh.variables)

    def state(self) -> dict[str, list[np.ndarray]]:
        """All that the next steps depend on, by the part that owns it. Random states of a user's
        layers are in it where they are Keras' own, variables of a SeedGenerator."""
        return {part: [v.numpy() for v in owned] for part, owned in self._variables().items()}

    def restore(self, state: dict[str, list[np.ndarray]]) -> None:
        """Bring back what `state` gave, in a trial started with the same params and seed."""
        for part, owned in self._variables().items():
            _assign(owned, state[part])

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

    def step(self, x: tf.Tensor, y: tf.Tensor, learning_rate: tf.Tensor) -> tf.Tensor:
        """One optimizer step on a raw batch; sums over its rows of loss and metrics, float32."""
        seed, done = self._parts.clock.seed.value(), self._parts.clock.step.value()
        shift, share = self._scalars["augment_shift"], tf.constant(FLIPPED_SHARE)
        x = self._augmented(x, shift, share, seed, done)
        scaled = self._scaled(x)
        with tf.GradientTape() as tape:
            outputs = self.model(scaled, training=True)
            rows = self.objective.row_values(self._target(y), outputs)
            penalty = self._rules.penalty()
            loss = tf.reduce_mean(rows[0]) + penalty
        variables = self.model.trainable_variables
        context = StepContext(ONE_TRIAL, learning_rate, seed, done)
        gradients = self._rules.change_gradients(tape.gradient(loss, variables), context)
        self._rules.before_step(context)
        self.optimizer.learning_rate.assign(learning_rate)
        self.optimizer.apply(gradients, variables)
        self._rules.after_step(context)
        self._parts.clock.tick()
        sums = tf.stack([tf.reduce_sum(values) for values in rows])
        return sums + self._penalty_sum(penalty, len(rows), tf.cast(tf.shape(y)[0], tf.float32))

    def score(self, x: tf.Tensor, y: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
        """Sums over the counted rows (float32 of 0 and 1) of loss and metrics, no training."""
        outputs = self.model(self._scaled(x), training=False)
        rows = self.objective.row_values(self._target(y), outputs)
        # where, not a product: a padded row's infinity times 0 would be NaN.
        sums = tf.stack([tf.reduce_sum(tf.where(counted > 0, values, 0.0)) for values in rows])
        return sums + self._penalty_sum(self._rules.penalty(), len(rows), tf.reduce_sum(counted))

    @staticmethod
    def _penalty_sum(penalty: tf.Tensor, metrics: int, rows: tf.Tensor) -> tf.Tensor:
        """Keras adds regularisation to the reported loss of every row, to no other metric."""
        return tf.one_hot(0, metrics) * penalty * rows

    def _scaled(self, x: tf.Tensor) -> tf.Tensor:
        return tf.cast(x, tf.float32) * self._scale + self._offset

    def _target(self, y: tf.Tensor) -> tf.Tensor:
        if y.dtype.is_integer:
            return y
        return y * self._target_scale + self._target_offset


def _assign(variables: list[Any], values: list[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def machinery() -> str:
    """What trains here, as far as it is the same on all machines that are set up alike."""
    versions = [f"{module.__name__} {module.__version__}" for module in (tf, keras, np)]
    device = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
    return ", ".join([*versions, device])
