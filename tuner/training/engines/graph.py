"""A plain graph that trains every trial of one program key on resident data."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from tuner.data import Dataset
from tuner.networks.layers import dense_widths
from tuner.search_space.parameter_types import Params, read_number, read_whole
from tuner.study import engines
from tuner.training.engines.feeds import (
    Chunk,
    Floats,
    ResidentData,
    as_predictions,
    evaluate_chunks,
    predict_chunks,
    sum_steps,
)
from tuner.training.engines.graph_network import (
    GraphInputs,
    GraphNetwork,
    array_number,
    dropout_rates,
    has_bias,
    lacks_biases,
    layer_sizes,
)
from tuner.training.ops.augmentation import FLIPPED_SHARE, Augmentation
from tuner.training.ops.dropout import draw_masks, steps_at_once
from tuner.training.ops.losses import SharedObjective, weigh_loss
from tuner.training.ops.normalization import NORMALIZATIONS
from tuner.training.ops.optimizers import (
    FACTORS,
    StepNumbers,
    graph_schedule,
    optimizer_variant,
    optimizer_variants,
    shared_update,
)
from tuner.training.ops.regularizers import GRAPH, Regularizers, StepContext
from tuner.training.program_key import NUMBERS, ProgramKey
from tuner.training.row_weights import RowWeights


class GraphProgram:
    """A graph for one program key: it is traced once, and trains and scores any trial of the key.

    Its variables have the shapes of the trial at hand. What differs from trial to trial otherwise
    comes in with each call, as `GraphInputs`.
    """

    engine = engines.GRAPH

    def __init__(self, key: ProgramKey, dataset: Dataset, data: ResidentData) -> None:
        self._key, self._dataset, self._data = key, dataset, data
        self._width, self._outputs = math.prod(dataset.input_shape), dataset.outputs
        self.network = GraphNetwork(key, self._width, dataset.outputs)
        self._variants = optimizer_variants(key.optimizers, "momentum" in key.included)
        self._slots = {
            name: [tf.Variable(tf.zeros_like(v), shape=v.shape) for v in self.network.trained]
            for name in sorted({n for v in self._variants for n in shared_update(v).slots})
        }
        self._values = SharedObjective(key, dataset)
        self._augmentation = Augmentation(
            "augment_shift" in key.included, "augment_flip" in key.included
        )
        self._rules = Regularizers(key.included, GRAPH)
        self._row_weights = RowWeights(dataset)
        self._weighs_rows = key.weighs_rows or dataset.train.weights is not None
        self._weights: list[tf.Tensor] = []  # of the trial at hand, if the program weighs rows
        self.objective = self._values.objective({})
        self.called: set[str] = set()  # the kinds of work whose functions are traced
        self._params: Params = {}
        self._seed = self.steps_done = 0
        self._inputs: GraphInputs | None = None
        self._loop, self._score, self._predict = self._functions()

    def _functions(self) -> tuple[Any, Any, Any]:
        """Training, evaluation and prediction. Without signatures each new length of an argument
        would be traced anew."""
        depth, number = self._key.depth, tf.TensorSpec([], tf.int32)
        inputs = _input_specs(depth)
        steps = [
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 1 + FACTORS]),
            [tf.TensorSpec([None, None, None])] * (depth + 1),
        ]
        signature = [inputs, *steps, number, number, tf.TensorSpec([], tf.uint32)]
        signature += [tf.TensorSpec([None])] if self._weighs_rows else []
        train = tf.function(self._train_steps, signature, autograph=False)
        x, y = (tf.TensorSpec([None, *v.shape[1:]], v.dtype) for v in self._data.evaluation)
        score = tf.function(self._score_rows, [inputs, x, y], autograph=False)
        return train, score, tf.function(self._predict_rows, [inputs, x], autograph=False)

    @property
    def parameter_count(self) -> int:
        trained = zip(self.network.trained, self.network.trained_now, strict=True)
        return sum(int(tf.size(variable)) for variable, present in trained if present)

    @property
    def nbytes(self) -> int:
        sizes = layer_sizes(self._params, (self._width, self._outputs)) if self._params else [0]
        weights = sum((before + 1) * after for before, after in pairwise(sizes))
        return 4 * weights * (1 + len(self._slots))

    def start(self, params: Params, seed: int) -> None:
        """Begin a trial: weights drawn from `seed`, optimizer and dropout as new, inputs set."""
        self._params, self._seed, self.steps_done = params, seed, 0
        self.network.start(params, seed)
        for name, first in shared_update(optimizer_variant(params)).slots.items():
            for slot, variable in zip(self._slots[name], self.network.trained, strict=True):
                slot.assign(tf.fill(tf.shape(variable), first))
        if self._weighs_rows:
            self._weights = [tf.constant(self._row_weights.ones_if_none(params))]
        self._inputs = GraphInputs(
            numbers={name: tf.constant(read_number(params, name, 0.0)) for name in NUMBERS},
            switches={name: tf.constant(bool(params.get(name))) for name in NORMALIZATIONS},
            activation=tf.constant(self._key.activations.index(params["activation"])),
            optimizer=tf.constant(self._variants.index(optimizer_variant(params))),
            batch_size=tf.constant(read_whole(params, "batch_size")),
            flipped_share=tf.constant(FLIPPED_SHARE if params.get("augment_flip") else 0.0),
            has_bias=tf.constant(has_bias(params)),
            seed=tf.constant(seed & 0xFFFFFFFF, tf.uint32),
        )

    def weights(self) -> list[np.ndarray]:
        """As `model.get_weights()` of the Keras network orders them."""
        return [variable.numpy() for variable in self.network.variables()]

    def set_weights(self, weights: list[np.ndarray]) -> None:
        for variable, value in zip(self.network.variables(), weights, strict=True):
            variable.assign(value)

    def state(self) -> dict[str, list[np.ndarray]]:
        """All that the next steps depend on."""
        names = shared_update(optimizer_variant(self._params)).slots
        slots = {name: [slot.numpy() for slot in self._present_slots(name)] for name in names}
        return {"model": self.weights(), "steps": [np.asarray(self.steps_done)], **slots}

    def restore(self, state: dict[str, list[np.ndarray]]) -> None:
        """Bring back what `state` gave, in a trial started with the same params and seed."""
        self.set_weights(state["model"])
        self.steps_done = int(state["steps"][0])
        for name in shared_update(optimizer_variant(self._params)).slots:
            for slot, value in zip(self._present_slots(name), state[name], strict=True):
                slot.assign(value)

    def _present_slots(self, name: str) -> list[tf.Variable]:
        """The slots of that name for the arrays that the trial has."""
        slots = zip(self._slots[name], self.network.trained_now, strict=True)
        return [slot for slot, present in slots if present]

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        """As a Feed does (feeds.py)."""
        rows, shapes = tf.constant(order, tf.int32), self._mask_shapes()
        at_once = steps_at_once(shapes, stop - start)
        sums = np.zeros(len(self.objective.names), np.float32)
        while start < stop and np.isfinite(sums[0]):
            upto, done = min(stop, start + at_once), self.steps_done
            masks = draw_masks(
                shapes,
                dropout_rates(self._params),
                upto - start,
                self._seed,
                done,
            )
            schedule = tf.constant(graph_schedule(self._params, rates[start:upto], done))
            at = tf.constant(start), tf.constant(upto), tf.constant(done, tf.uint32)
            steps = self._inputs, rows, schedule, masks, *at
            sums = sums + self._loop(*steps, *self._weights).numpy()
            self.steps_done += upto - start
            start = upto
        return np.asarray(sums)

    def _mask_shapes(self) -> list[tuple[int, int]]:
        """Of each dropout's mask, with no rows where no trial drops any."""
        rows = min(read_whole(self._params, "batch_size"), len(self._data.train[1]))
        units = [self._width, *dense_widths(self._params)]
        return [(rows if self._may_drop(place) else 0, n) for place, n in enumerate(units)]

    def _may_drop(self, place: int) -> bool:
        return ("dropout" if place else "input_dropout") in self._key.included

    def evaluate(self) -> np.ndarray:
        """As a Feed does (feeds.py)."""
        return evaluate_chunks(self._chunks(), lambda c: self._score(self._inputs, c.x, c.y))

    def predictions(self) -> Floats:
        """As a Feed does (feeds.py)."""
        outputs = predict_chunks(self._chunks(), lambda x: self._predict(self._inputs, x))
        return as_predictions(outputs, self._dataset)

    def _chunks(self) -> Iterator[Chunk]:
        return self._data.chunks(row_values=max(self._width, *dense_widths(self._params), 0))

    def _train_steps(
        self, inputs: GraphInputs, order: Any, schedule: Any, masks: Any, start: Any, stop: Any,
        first: Any, weights: Any = None,
    ) -> tf.Tensor:  # fmt: skip
        size, rows = inputs.batch_size, tf.shape(order)[0]

        def train_step(step: tf.Tensor) -> tf.Tensor:
            at = step - start
            begin = step * size
            chosen = tf.slice(order, [begin], [tf.minimum(size, rows - begin)])
            of_step = [
                self._mask_of_step(place, mask, at, tf.shape(chosen)[0])
                for place, mask in enumerate(masks)
            ]
            x, y = (tf.gather(part, chosen) for part in self._data.train)
            done = first + tf.cast(at, tf.uint32)
            numbers = tf.unstack(schedule[at])
            of_rows = None if weights is None else tf.gather(weights, chosen)
            return self._step(inputs, x, y, of_rows, numbers, of_step, done)

        return sum_steps(train_step, start, stop, count=len(self.objective.names))

    def _mask_of_step(
        self, place: int, mask: tf.Tensor, at: tf.Tensor, rows: tf.Tensor
    ) -> tf.Tensor | None:
        if not self._may_drop(place):
            return None
        return tf.squeeze(tf.slice(mask, tf.stack([at, 0, 0]), tf.stack([1, rows, -1])), 0)

    def _step(
        self,
        inputs: GraphInputs,
        x: tf.Tensor,
        y: tf.Tensor,
        weights: tf.Tensor | None,
        schedule: Sequence[tf.Tensor],
        masks: Sequence[tf.Tensor | None],
        done: tf.Tensor,
    ) -> tf.Tensor:
        """One optimizer step; sums over the batch's rows of loss and metrics."""
        shift, share = inputs.numbers["augment_shift"], inputs.flipped_share
        x = self._augmentation(x, shift, share, inputs.seed, done)
        leaves = self.network.trained
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for leaf in leaves:
                tape.watch(leaf)
            raw, statistics = self.network.outputs(self._values.scaled(x), inputs, masks)
            rows = weigh_loss(self._values.row_values(raw, y, inputs.numbers), weights)
            loss = tf.reduce_mean(rows[0])
        gradients = tape.gradient(loss, leaves, unconnected_gradients="zero")
        penalty = self._penalty(inputs)
        self._change_weights(gradients, schedule, inputs, done)
        self.network.follow(statistics, inputs)
        count = tf.cast(tf.shape(y)[0], tf.float32)
        # Keras adds regularisation to the reported loss of every row, to no other metric.
        sums = [tf.reduce_sum(values) for values in rows]
        return tf.stack([sums[0] + penalty * count, *sums[1:]])

    def _penalty(self, inputs: GraphInputs) -> tf.Tensor:
        kernels = [tf.convert_to_tensor(kernel) for kernel in self.network.kernels]
        return self._rules.penalty(kernels, inputs.numbers)

    def _change_weights(
        self, gradients: Sequence[tf.Tensor], schedule: Any, inputs: GraphInputs, done: tf.Tensor
    ) -> None:
        numbers, kernels = inputs.numbers, self.network.kernels
        arrays = [array_number(*place) for place in self.network.trained_places]
        context = StepContext(GRAPH, schedule[0], seed=inputs.seed, step=done, arrays=arrays)
        complete = self._without_unused(self._with_slopes(gradients, inputs), inputs)
        changed = self._rules.change_gradients(complete, numbers, context)
        if self._rules.fill_unused:
            changed = self._without_unused(changed, inputs)
        self._rules.assign_before(kernels, numbers, context)
        self._update(changed, schedule, inputs)
        self._rules.assign_after(kernels, numbers, context)

    def _with_slopes(self, gradients: Sequence[tf.Tensor], inputs: GraphInputs) -> list[tf.Tensor]:
        """The gradients with those of the penalties."""
        complete = []
        for gradient, (number, name) in zip(gradients, self.network.trained_places, strict=True):
            if name == "kernel":
                kernel = tf.convert_to_tensor(self.network.layers[number][name])
                gradient = self._rules.add_slopes(gradient, kernel, inputs.numbers)
            complete.append(gradient)
        return complete

    def _without_unused(
        self, gradients: Sequence[tf.Tensor], inputs: GraphInputs
    ) -> list[tf.Tensor]:
        """The gradients with zeros for biases the trial does not have."""
        if not lacks_biases(self._key):
            return list(gradients)
        return [
            gradient * inputs.has_bias[number] if name == "bias" else gradient
            for gradient, (number, name) in zip(gradients, self.network.trained_places, strict=True)
        ]

    def _update(self, gradients: list[tf.Tensor], schedule: Any, inputs: GraphInputs) -> None:
        numbers = StepNumbers(schedule[0], inputs.numbers["momentum"], schedule[1:])

        def branch(variant: str) -> Any:
            update = shared_update(variant)

            def change_all() -> None:
                for place, variable in enumerate(self.network.trained):
                    slots = {name: self._slots[name][place] for name in update.slots}
                    update.fused(variable, gradients[place], slots, numbers)

            return change_all

        branches = [branch(variant) for variant in self._variants]
        if len(branches) == 1:
            branches[0]()
        else:
            tf.switch_case(inputs.optimizer, branches)

    def _score_rows(
        self, inputs: GraphInputs, x: tf.Tensor, y: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        raw, _ = self.network.outputs(self._values.scaled(x), inputs)
        rows = self._values.row_values(raw, y, inputs.numbers)
        return tf.stack([tf.reduce_sum(values) for values in rows]), self._penalty(inputs)

    def _predict_rows(self, inputs: GraphInputs, x: tf.Tensor) -> tf.Tensor:
        raw, _ = self.network.outputs(self._values.scaled(x), inputs)
        return self._values.activated(raw)


def _input_specs(depth: int) -> GraphInputs:
    number, switch = tf.TensorSpec([]), tf.TensorSpec([], tf.bool)
    whole = tf.TensorSpec([], tf.int32)
    return GraphInputs(
        numbers=dict.fromkeys(NUMBERS, number),
        switches=dict.fromkeys(NORMALIZATIONS, switch),
        activation=whole,
        optimizer=whole,
        batch_size=whole,
        flipped_share=number,
        has_bias=tf.TensorSpec([depth + 1]),
        seed=tf.TensorSpec([], tf.uint32),
    )
