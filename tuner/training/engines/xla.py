"""Trials side by side in one XLA program: one lane a trial, each with its own steps and numbers.

The first axis of every array is the lane. Networks have one depth and are padded to common widths,
as XLA needs it: padding units stay zero, since nothing flows into them or out of them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tuner.data import Dataset
from tuner.networks.layers import dense_widths
from tuner.search_space.parameter_types import Params, read_number
from tuner.training.engines.feeds import (
    Chunk,
    Floats,
    ResidentData,
    as_predictions,
    evaluate_chunks,
    predict_chunks,
)
from tuner.training.engines.graph_network import (
    array_number,
    dropout_rates,
    has_bias,
    is_trained,
)
from tuner.training.engines.lane_store import LaneStore
from tuner.training.ops import normalization
from tuner.training.ops.activations import select_activation
from tuner.training.ops.augmentation import FLIPPED_SHARE, Augmentation
from tuner.training.ops.dropout import drop_lanes
from tuner.training.ops.losses import SharedObjective, weigh_loss
from tuner.training.ops.normalization import NORMALIZATIONS
from tuner.training.ops.optimizers import Coefficients, lane_schedule, lane_update
from tuner.training.ops.regularizers import LANES, Regularizers, StepContext
from tuner.training.program_key import NUMBERS, ProgramKey
from tuner.training.row_weights import RowWeights

# name -> (lanes, …) of one layer; the names are those of graph_network.array_names.
Arrays = dict[str, tf.Tensor]
Statistics = list[tuple[tf.Tensor, tf.Tensor]]
COEFFICIENTS = len(Coefficients._fields)


class LaneInputs(NamedTuple):
    """What differs from lane to lane; first axis: the lane."""

    numbers: dict[str, tf.Tensor]  # float32 (lanes,), by the parameter's name
    switches: dict[str, tf.Tensor]  # bool (lanes,), by the normalisation's parameter
    activation: tf.Tensor  # int32 (lanes,), among the key's
    flipped_share: tf.Tensor  # float32 (lanes,)
    dropout: tf.Tensor  # float32 (lanes, places)
    widths: tf.Tensor  # int32 (lanes, hidden layers)
    has_bias: tf.Tensor  # float32 (lanes, layers), 1 or 0
    seed: tf.Tensor  # uint32 (lanes,)


class Batch(NamedTuple):
    """The rows of a step. `counted`: 1 for rows of the batch, 0 for what fills a short one up.
    `weights`: of the rows, None if all count alike."""

    chosen: tf.Tensor  # int32 (lanes, rows)
    counted: tf.Tensor  # float32 (lanes, rows)
    done: tf.Tensor  # uint32 (lanes,): steps taken before
    weights: tf.Tensor | None = None  # float32 (lanes, rows)


def lane_outputs(
    key: ProgramKey,
    layers: Sequence[Arrays],
    x: tf.Tensor,
    inputs: LaneInputs,
    batch: Batch | None = None,
) -> tuple[tf.Tensor, Statistics]:
    """What comes before the task's activation (lanes, rows, outputs), for x (lanes or 1, rows,
    inputs), and each hidden layer's batch statistics (lanes, units). Without a batch nothing is
    dropped, and the moving statistics are used."""
    forward = _LaneForward(key, inputs, batch)
    hidden = forward.drop(x, 0)
    for number, layer in enumerate(layers[:-1]):
        hidden = forward.activate(_dense(hidden, layer), layer, number)
        hidden = forward.drop(hidden, number + 1)
    return _dense(hidden, layers[-1]), forward.statistics


class _LaneForward:
    """One pass through the layers."""

    def __init__(self, key: ProgramKey, inputs: LaneInputs, batch: Batch | None) -> None:
        self._key, self._inputs, self._batch = key, inputs, batch
        self._index, self._numbers = tf.nest.map_structure(
            lambda of_lanes: of_lanes[:, tf.newaxis, tf.newaxis],
            (inputs.activation, inputs.numbers),
        )
        self.statistics: Statistics = []

    def activate(self, hidden: tf.Tensor, layer: Arrays, number: int) -> tf.Tensor:
        own_units = _own_units(self._inputs, number, hidden.shape[-1])[:, tf.newaxis, :]
        if self._key["norm_position"] == "after":
            return self._normalised(self._activation(hidden) * own_units, layer, own_units)
        return self._activation(self._normalised(hidden, layer, own_units)) * own_units

    def _activation(self, hidden: tf.Tensor) -> tf.Tensor:
        return select_activation(self._key.activations, self._index, self._numbers, hidden)

    def _normalised(self, hidden: tf.Tensor, layer: Arrays, own_units: tf.Tensor) -> tf.Tensor:
        if "batch_norm" in self._key.included:
            normalised = normalization.normalize_lanes_batch(
                hidden, layer, *self._by(hidden, layer)
            )
            hidden = self._where_on("batch_norm", normalised, hidden)
        if "layer_norm" in self._key.included:
            normalised = normalization.normalize_lanes_rows(hidden, layer, own_units)
            hidden = self._where_on("layer_norm", normalised, hidden)
        return hidden

    def _by(self, hidden: tf.Tensor, layer: Arrays) -> tuple[tf.Tensor, tf.Tensor]:
        """The statistics by which a batch is normalised."""
        if self._batch is None:
            return layer["mean"], layer["variance"]
        self.statistics.append(normalization.batch_statistics(hidden, self._batch.counted))
        return self.statistics[-1]

    def _where_on(self, name: str, then: tf.Tensor, otherwise: tf.Tensor) -> tf.Tensor:
        if name in self._key.always:
            return then
        return tf.where(self._inputs.switches[name][:, tf.newaxis, tf.newaxis], then, otherwise)

    def drop(self, hidden: tf.Tensor, place: int) -> tf.Tensor:
        name = "dropout" if place else "input_dropout"
        if self._batch is None or name not in self._key.included:
            return hidden
        inputs = self._inputs
        # No trial has padded inputs.
        width = inputs.widths[:, place - 1] if place else tf.constant([hidden.shape[2]])
        rate, seed, done = inputs.dropout[:, place], inputs.seed, self._batch.done
        return drop_lanes(hidden, width, rate, place, seed, done)


def _dense(hidden: tf.Tensor, layer: Arrays) -> tf.Tensor:
    return tf.matmul(hidden, layer["kernel"]) + layer["bias"][:, tf.newaxis, :]


def _own_units(inputs: LaneInputs, number: int, units: int) -> tf.Tensor:
    """(lanes, units): 1 for a trial's own units of a hidden layer, 0 for padding."""
    return tf.cast(tf.range(units) < inputs.widths[:, number, tf.newaxis], tf.float32)


class LaneProgram:
    """`lanes` trials of one program key with batches of `batch_size`, their hidden layers padded to
    `widths`. Each lane is started, trained, read and filled again by itself: what it computes does
    not depend on the others."""

    def __init__(
        self,
        key: ProgramKey,
        widths: tuple[int, ...],
        batch_size: int,
        dataset: Dataset,
        data: ResidentData,
        lanes: int = 1,
    ) -> None:
        self._key, self._dataset, self._data, self.lanes = key, dataset, data, lanes
        self._rows = len(data.train[1])
        self._size = min(batch_size, self._rows)
        self._steps = math.ceil(self._rows / self._size)
        width = math.prod(dataset.input_shape)
        self._values = SharedObjective(key, dataset)
        self.objective = self._values.objective({})
        self._augmentation = Augmentation(
            "augment_shift" in key.included, "augment_flip" in key.included
        )
        self._rules = Regularizers(key.included, LANES)
        self._row_weights = RowWeights(dataset)
        weighs_rows = key.weighs_rows or dataset.train.weights is not None
        # Of the training rows in each lane, if the program weighs rows.
        self._weights = np.ones((lanes, self._rows), np.float32) if weighs_rows else None
        self.store = LaneStore(key, (width, dataset.outputs), widths, lanes)
        self.compiled = False  # whether it has run
        self._widest = max(width, *widths, 0)
        self._run = tf.function(self._train_steps, autograph=False, jit_compile=True)
        self._score = tf.function(self._score_rows, autograph=False, reduce_retracing=True)
        self._predict = tf.function(self._predict_rows, autograph=False, reduce_retracing=True)

    @property
    def nbytes(self) -> int:
        return self.store.nbytes

    def start(self, lane: int, params: Params, seed: int) -> None:
        """Begin a trial in a lane: its first weights, its optimizer as new, its weights of rows."""
        self.store.start(lane, params, seed)
        if self._weights is not None:
            self._weights[lane] = self._row_weights.ones_if_none(params)

    def train(
        self,
        orders: Sequence[np.ndarray | None],
        rates: Sequence[np.ndarray | None],
        starts: Sequence[int],
        count: int,
    ) -> np.ndarray:
        """Take `count` steps in every lane: of an epoch whose rows come in the lane's order (int32,
        one entry a training row), with its learning rates (float32, one a step), from its `starts`
        on. Sums of loss and metrics over the rows, float32 (lanes, 1 + metrics). A lane without an
        order is idle: its weights stay, its sums mean nothing."""
        padded = np.zeros((self.lanes, self._steps * self._size), np.int32)
        schedule = np.zeros((self.lanes, self._steps, 1 + COEFFICIENTS), np.float32)
        schedule[:, :, -1] = 1.0  # the divisor, of idle lanes too
        for lane, (order, of_lane) in enumerate(zip(orders, rates, strict=True)):
            if order is not None and of_lane is not None:
                params, steps = self.store.params[lane], slice(starts[lane], starts[lane] + count)
                padded[lane, : self._rows], of_steps = order, of_lane[steps]
                schedule[lane, steps, 0] = of_steps
                schedule[lane, steps, 1:] = lane_schedule(params, of_steps, self.store.done[lane])
        layers, slots, sums = self._run(
            self.store.layers, self.store.slots, self._inputs(), tf.constant(padded),
            tf.constant(schedule), tf.constant(starts), tf.constant(count),
            tf.constant(self.store.done, tf.uint32),
            None if self._weights is None else tf.constant(self._weights),
        )  # fmt: skip
        self._store_results(layers, slots, [order is None for order in orders], count)
        return np.asarray(sums)

    def _store_results(self, layers: Any, slots: Any, idle: list[bool], count: int) -> None:
        """Write back the lanes that are not idle."""

        def merged(before: np.ndarray, after: tf.Tensor) -> np.ndarray:
            result = np.array(after)
            result[idle] = before[idle]
            return result

        store = self.store
        store.layers = tf.nest.map_structure(merged, store.layers, layers)
        store.slots = tf.nest.map_structure(merged, store.slots, slots)
        store.done = [
            at + count * (not is_idle) for at, is_idle in zip(store.done, idle, strict=True)
        ]
        self.compiled = True

    def evaluate(self) -> np.ndarray:
        """Sums of loss and metrics over the evaluation rows, float32 (lanes, 1 + metrics)."""
        layers, inputs = _tensors(self.store.layers), self._inputs()
        return evaluate_chunks(self._chunks(), lambda c: self._score(layers, inputs, c.x, c.y))

    def predictions(self) -> list[Floats]:
        """Of each lane, as a Feed gives them (feeds.py)."""
        layers, inputs = _tensors(self.store.layers), self._inputs()
        outputs = predict_chunks(self._chunks(), lambda x: self._predict(layers, inputs, x))
        return [as_predictions(of_lane, self._dataset) for of_lane in outputs]

    def _chunks(self) -> Iterator[Chunk]:
        return self._data.chunks(row_values=self._widest * self.lanes)

    def _inputs(self) -> LaneInputs:
        # Lanes that never had a trial compute with the numbers of one that has.
        started = [params for params in self.store.params if params]
        trials, key = [params or started[0] for params in self.store.params], self._key

        def switches(name: str) -> list[bool]:
            return [bool(params.get(name)) for params in trials]

        return LaneInputs(
            numbers={
                name: tf.constant([read_number(params, name, 0.0) for params in trials])
                for name in NUMBERS
            },
            switches={name: tf.constant(switches(name)) for name in NORMALIZATIONS},
            activation=tf.constant([key.activations.index(p["activation"]) for p in trials]),
            flipped_share=tf.constant([FLIPPED_SHARE * on for on in switches("augment_flip")]),
            dropout=tf.constant([dropout_rates(params) for params in trials], tf.float32),
            widths=tf.constant([dense_widths(params) for params in trials], tf.int32),
            has_bias=tf.constant([has_bias(params) for params in trials]),
            seed=tf.constant([seed & 0xFFFFFFFF for seed in self.store.seeds], tf.uint32),
        )

    def _train_steps(
        self, layers: Any, slots: Any, inputs: LaneInputs, orders: Any, schedule: Any, starts: Any,
        count: Any, done: Any, weights: Any,
    ) -> Any:  # fmt: skip
        def body(at: tf.Tensor, layers: Any, slots: Any, sums: tf.Tensor) -> Any:
            places = (starts + at)[:, tf.newaxis] * self._size + tf.range(self._size)
            chosen = tf.gather(orders, places, batch_dims=1)
            batch = Batch(
                chosen=chosen,
                counted=tf.cast(places < self._rows, tf.float32),
                done=done + tf.cast(at, tf.uint32),
                weights=None if weights is None else tf.gather(weights, chosen, batch_dims=1),
            )
            numbers = tf.gather(schedule, starts + at, batch_dims=1)
            layers, slots, values = self._step(layers, slots, inputs, batch, numbers)
            return at + 1, layers, slots, sums + values

        zeros = tf.zeros([self.lanes, len(self.objective.names)])
        return tf.while_loop(lambda at, *_: at < count, body, [0, layers, slots, zeros])[1:]

    def _step(
        self, layers: Any, slots: Any, inputs: LaneInputs, batch: Batch, schedule: tf.Tensor
    ) -> Any:
        """One step in each lane; `schedule`: learning rates and coefficients (lanes, …)."""
        x, y = (tf.gather(part, batch.chosen) for part in self._data.train)
        shift, share = inputs.numbers["augment_shift"], inputs.flipped_share
        x = self._augmentation.change_lanes(x, shift, share, inputs.seed, batch.done)
        rows = tf.reduce_sum(batch.counted, 1)
        leaves = [_trained(layer) for layer in layers]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tf.nest.flatten(leaves))
            scaled = self._values.scaled(x)
            raw, statistics = lane_outputs(self._key, layers, scaled, inputs, batch)
            values = self._values.lane_row_values(raw, y, inputs.numbers)
            values = weigh_loss(values, batch.weights)
            loss = tf.reduce_sum(tf.reduce_sum(values[0] * batch.counted, 1) / rows)
        gradients = tape.gradient(loss, leaves, unconnected_gradients="zero")
        penalty = self._penalty(layers, inputs)
        layers, slots = self._changed(layers, slots, gradients, inputs, batch, schedule)
        layers = _following(layers, statistics, inputs)
        sums = [tf.reduce_sum(tf.where(batch.counted > 0, value, 0.0), 1) for value in values]
        return layers, slots, tf.stack([sums[0] + penalty * rows, *sums[1:]], axis=1)

    def _penalty(self, layers: Sequence[Arrays], inputs: LaneInputs) -> tf.Tensor:
        return self._rules.penalty([layer["kernel"] for layer in layers], inputs.numbers)

    def _changed(
        self, layers: Any, slots: Any, gradients: Any, inputs: LaneInputs, batch: Batch,
        schedule: tf.Tensor,
    ) -> tuple[list[Arrays], Any]:  # fmt: skip
        """Layers and slots after the step that the gradients ask for."""
        complete = self._complete(gradients, layers, inputs)
        rate, seed, done = schedule[:, 0], inputs.seed, batch.done
        context = StepContext(LANES, rate, seed=seed, step=done, arrays=_array_numbers(complete))
        flat = self._rules.change_gradients(tf.nest.flatten(complete), inputs.numbers, context)
        changed = tf.nest.pack_sequence_as(complete, flat)
        if self._rules.fill_unused:
            changed = _without_unused(changed, inputs)
        kernels = [layer["kernel"] for layer in layers]
        kernels = self._rules.change_before(kernels, inputs.numbers, context)
        layers, slots = _updated(_with_kernels(layers, kernels), changed, slots, schedule[:, 1:])
        kernels = [layer["kernel"] for layer in layers]
        kernels = self._rules.change_after(kernels, inputs.numbers, context)
        return _with_kernels(layers, kernels), slots

    def _complete(self, gradients: Any, layers: Any, inputs: LaneInputs) -> list[Arrays]:
        """The gradients with those of the penalties, and zeros for biases a trial does not have."""
        complete = [dict(of_layer) for of_layer in gradients]
        for number, of_layer in enumerate(complete):
            kernel = layers[number]["kernel"]
            of_layer["kernel"] = self._rules.add_slopes(of_layer["kernel"], kernel, inputs.numbers)
            of_layer["bias"] *= inputs.has_bias[:, number, tf.newaxis]
        return complete

    def _score_rows(
        self, layers: Any, inputs: LaneInputs, x: tf.Tensor, y: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        raw, labels = self._raw(layers, inputs, x), tf.tile(y[tf.newaxis], [self.lanes, 1])
        values = self._values.lane_row_values(raw, labels, inputs.numbers)
        sums = tf.stack([tf.reduce_sum(value, 1) for value in values], axis=1)
        return sums, self._penalty(layers, inputs)

    def _predict_rows(self, layers: Any, inputs: LaneInputs, x: tf.Tensor) -> tf.Tensor:
        return self._values.activated(self._raw(layers, inputs, x))

    def _raw(self, layers: Any, inputs: LaneInputs, x: tf.Tensor) -> tf.Tensor:
        """What comes before the task's activation, (lanes, rows, outputs)."""
        return lane_outputs(self._key, layers, self._values.scaled(x[tf.newaxis]), inputs)[0]


def _tensors(layers: list[dict[str, np.ndarray]]) -> list[Arrays]:
    return list(tf.nest.map_structure(tf.convert_to_tensor, layers))


def _trained(layer: Arrays) -> Arrays:
    return {name: value for name, value in layer.items() if is_trained(name)}


def _with_kernels(layers: Sequence[Arrays], kernels: Sequence[tf.Tensor]) -> list[Arrays]:
    return [layer | {"kernel": kernel} for layer, kernel in zip(layers, kernels, strict=True)]


def _array_numbers(gradients: Sequence[Arrays]) -> list[int]:
    """One for each gradient, in the order of tf.nest.flatten."""
    return list(tf.nest.flatten([
        {name: array_number(number, name) for name in of_layer}
        for number, of_layer in enumerate(gradients)
    ]))  # fmt: skip


def _without_unused(gradients: Sequence[Arrays], inputs: LaneInputs) -> list[Arrays]:
    """The gradients with zeros where a lane pads its layers, and for biases it does not have."""
    masked = []
    for number, of_layer in enumerate(gradients):
        before, units = of_layer["kernel"].shape[1:]
        own = tf.ones([1, units])
        if number < len(gradients) - 1:
            own = _own_units(inputs, number, units)
        into = tf.ones([1, before]) if number == 0 else _own_units(inputs, number - 1, before)
        masked.append(
            {name: gradient * own for name, gradient in of_layer.items() if name != "kernel"}
        )
        masked[-1]["bias"] *= inputs.has_bias[:, number, tf.newaxis]
        masked[-1]["kernel"] = of_layer["kernel"] * into[:, :, tf.newaxis] * own[:, tf.newaxis, :]
    return masked


def _updated(
    layers: Sequence[Arrays], gradients: Sequence[Arrays], slots: Mapping[str, Any], row: tf.Tensor
) -> tuple[list[Arrays], Any]:
    """Layers and slots after the optimizers' step; `row`: (lanes, COEFFICIENTS)."""
    after = [dict(layer) for layer in layers]
    slots_after = tf.nest.map_structure(tf.identity, slots)
    for number, of_layer in enumerate(gradients):
        for name, gradient in of_layer.items():
            columns = [LANES.beside(column, gradient) for column in tf.unstack(row, axis=1)]
            own_slots = {slot: slots[slot][number][name] for slot in slots}
            weight, own_slots = lane_update(
                layers[number][name], gradient, own_slots, Coefficients(*columns)
            )
            after[number][name] = weight
            for slot, value in own_slots.items():
                slots_after[slot][number][name] = value
    return after, slots_after


def _following(
    layers: Sequence[Arrays], statistics: Statistics, inputs: LaneInputs
) -> list[Arrays]:
    """The moving statistics, a step further towards the batch's."""
    on = inputs.switches["batch_norm"]
    after = [dict(layer) for layer in layers]
    for layer, (mean, variance) in zip(after, statistics, strict=False):
        layer["mean"] = normalization.moved_on(layer["mean"], mean, on)
        layer["variance"] = normalization.moved_on(layer["variance"], variance, on)
    return after
