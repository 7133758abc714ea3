"""Trials side by side in one XLA program: one lane a trial, each with its own steps and numbers.

Networks of one depth side by side, padded to common widths, as XLA needs it.

The first axis of every array is the lane: one trial each. Units beyond a trial's own width are
zero, and stay so: nothing goes into them or comes out of them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tuner.data import Dataset
from tuner.networks.layers import dense_widths
from tuner.search_space.parameters import NETWORKS
from tuner.training.engines.feeds import ResidentData, chunk_rows
from tuner.training.engines.graph_network import TRAINED, has_bias
from tuner.training.engines.lane_store import LaneStore
from tuner.training.ops import normalization
from tuner.training.ops.activations import select_activation
from tuner.training.ops.augmentation import Augmentation
from tuner.training.ops.dropout import multipliers
from tuner.training.ops.losses import Heads
from tuner.training.ops.normalization import MOVING
from tuner.training.ops.optimizers import COEFFICIENTS, coefficients, updated
from tuner.training.ops.regularizers import bounded, clipped, decayed, penalties, with_penalties
from tuner.training.program_key import NUMBERS, SHARED_NETWORK, ProgramKey

Inputs = Mapping[str, Any]
# name -> (lanes, …) of one layer; the names are those of network.Layer.
Arrays = dict[str, tf.Tensor]


def lane_outputs(
    design: ProgramKey,
    layers: list[Arrays],
    x: tf.Tensor,
    inputs: Inputs,
    counted: tf.Tensor | None = None,
    clock: tf.Tensor | None = None,
) -> tuple[tf.Tensor, list[tuple[tf.Tensor, tf.Tensor]]]:
    """What comes before the task's activation (lanes, rows, outputs), for x (lanes or 1, rows,
    inputs), and each hidden layer's batch statistics (lanes, units).

    In training `counted` (lanes, rows) is 1 for the rows of the batch, 0 for what fills a short one
    up, and `clock` (lanes,) each lane's step; without them nothing is dropped, and the moving
    statistics are used.
    """
    forward = _Forward(design, inputs, counted, clock)
    hidden = forward.dropped(x, 0, None)
    for number, layer in enumerate(layers[:-1]):
        hidden = forward.dense(hidden, layer)
        hidden = forward.activated(hidden, layer, number)
        hidden = forward.dropped(hidden, number + 1, inputs["widths"][:, number])
    return forward.dense(hidden, layers[-1]), forward.statistics


class _Forward:
    """One pass through the layers."""

    def __init__(self, design: ProgramKey, inputs: Inputs, counted: Any, clock: Any) -> None:
        self._design, self._inputs = design, inputs
        self._counted, self._clock = counted, clock
        self.statistics: list[tuple[tf.Tensor, tf.Tensor]] = []

    def dense(self, hidden: tf.Tensor, layer: Arrays) -> tf.Tensor:
        return tf.matmul(hidden, layer["kernel"]) + layer["bias"][:, tf.newaxis, :]

    def activated(self, hidden: tf.Tensor, layer: Arrays, number: int) -> tf.Tensor:
        width = self._inputs["widths"][:, number, tf.newaxis, tf.newaxis]
        true = tf.cast(tf.range(hidden.shape[-1]) < width, tf.float32)
        if self._design["norm_position"] == "after":
            return self._normalised(self._activation(hidden) * true, layer, true)
        return self._activation(self._normalised(hidden, layer, true)) * true

    def _activation(self, hidden: tf.Tensor) -> tf.Tensor:
        index = self._inputs["activation"][:, tf.newaxis, tf.newaxis]
        numbers = {name: self._inputs[name][:, tf.newaxis, tf.newaxis] for name in NUMBERS}
        return select_activation(self._design.activations, index, numbers, hidden)

    def _normalised(self, hidden: tf.Tensor, layer: Arrays, true: tf.Tensor) -> tf.Tensor:
        may = self._design.included
        if "batch_norm" in may:
            on = self._inputs["batch_norm"][:, tf.newaxis, tf.newaxis]
            normalised = self._by_batch(hidden, layer)
            always = "batch_norm" in self._design.always
            hidden = normalised if always else tf.where(on, normalised, hidden)
        if "layer_norm" in may:
            on = self._inputs["layer_norm"][:, tf.newaxis, tf.newaxis]
            normalised = _by_row(hidden, layer, true)
            always = "layer_norm" in self._design.always
            hidden = normalised if always else tf.where(on, normalised, hidden)
        return hidden

    def _by_batch(self, hidden: tf.Tensor, layer: Arrays) -> tf.Tensor:
        if self._counted is None:
            mean, variance = layer["mean"], layer["variance"]
        else:
            counted = self._counted[:, :, tf.newaxis]
            rows = tf.reduce_sum(counted, 1)
            mean = tf.reduce_sum(hidden * counted, 1) / rows
            centred = (hidden - mean[:, tf.newaxis, :]) * counted
            variance = tf.reduce_sum(tf.square(centred), 1) / rows
            self.statistics.append((mean, variance))
        spread = tf.math.rsqrt(variance + normalization.EPSILON)[:, tf.newaxis, :]
        unit = (hidden - mean[:, tf.newaxis, :]) * spread
        return unit * layer["scale"][:, tf.newaxis, :] + layer["shift"][:, tf.newaxis, :]

    def dropped(self, hidden: tf.Tensor, place: int, width: tf.Tensor | None) -> tf.Tensor:
        """`width` (lanes,): the true one, by which a unit's bits are found; None: all of it."""
        may = "dropout" if place else "input_dropout"
        if self._clock is None or may not in self._design.included:
            return hidden
        rows, units = hidden.shape[1], hidden.shape[2]
        stride = tf.constant([units]) if width is None else width
        row, unit = tf.range(rows)[tf.newaxis, :, tf.newaxis], tf.range(units)
        positions = tf.cast(row * stride[:, tf.newaxis, tf.newaxis] + unit, tf.uint32)
        rate, seed, clock = (
            of_lane[:, tf.newaxis, tf.newaxis]
            for of_lane in (self._inputs["rates"][:, place], self._inputs["seed"], self._clock)
        )
        return hidden * multipliers(positions, rate, place, seed, clock)


def _by_row(hidden: tf.Tensor, layer: Arrays, true: tf.Tensor) -> tf.Tensor:
    units = tf.reduce_sum(true, -1, keepdims=True)
    # Masked although it is zero there: no gradient may go to units that are not.
    mean = tf.reduce_sum(hidden * true, -1, keepdims=True) / units
    centred = (hidden - mean) * true
    variance = tf.reduce_sum(tf.square(centred), -1, keepdims=True) / units
    unit = centred * tf.math.rsqrt(variance + normalization.EPSILON)
    return unit * layer["layer_scale"][:, tf.newaxis, :] + layer["layer_shift"][:, tf.newaxis, :]


Params = dict[str, Any]


class LaneProgram:
    """`lanes` trials of one design with batches of `batch_size`, their hidden layers padded to
    `widths`. Each lane is started, trained, read and filled again by itself: what it computes does
    not depend on the others."""

    def __init__(
        self,
        design: ProgramKey,
        widths: tuple[int, ...],
        batch_size: int,
        dataset: Dataset,
        data: ResidentData,
        lanes: int = 1,
    ) -> None:
        self._design, self._data, self.lanes = design, data, lanes
        self._rows = len(data.train[1])
        self._size = min(batch_size, self._rows)
        self._steps = math.ceil(self._rows / self._size)
        self._width = math.prod(dataset.input_shape)
        self._heads = Heads(design, dataset)
        self.objective = self._heads.objective({})
        self._augmented = Augmentation(
            "augment_shift" in design.included, "augment_flip" in design.included
        )
        self.store = LaneStore(design, (self._width, dataset.outputs), widths, lanes)
        self.compiled = False  # whether it has run
        self._widest = max(self._width, *widths, 0)
        self._run = tf.function(self._train_steps, autograph=False, jit_compile=True)
        self._score = tf.function(self._score_chunks, autograph=False)

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
        schedule[:, :, -1] = 1.0  # idle lanes divide by it
        for lane, (order, of_lane) in enumerate(zip(orders, rates, strict=True)):
            if order is not None and of_lane is not None:
                params, taken = self.store.params[lane], slice(starts[lane], starts[lane] + count)
                padded[lane, : self._rows], chosen = order, of_lane[taken]
                schedule[lane, taken, 0] = chosen
                schedule[lane, taken, 1:] = coefficients(params, chosen, self.store.done[lane])
        layers, slots, sums = self._run(
            self.store.layers, self.store.slots, self._numbers(), tf.constant(padded),
            tf.constant(schedule), tf.constant(starts), tf.constant(count),
            tf.constant(self.store.done, tf.uint32),
        )  # fmt: skip
        self._take(layers, slots, [order is None for order in orders], count)
        return np.asarray(sums)

    def _take(self, layers: Any, slots: Any, idle: list[bool], count: int) -> None:
        """Keep what has become of the lanes that are not idle."""

        def taken(before: np.ndarray, after: tf.Tensor) -> np.ndarray:
            kept = np.array(after)
            kept[idle] = before[idle]
            return kept

        store = self.store
        store.layers = tf.nest.map_structure(taken, store.layers, layers)
        store.slots = tf.nest.map_structure(taken, store.slots, slots)
        store.done = [
            at + count * (not is_idle) for at, is_idle in zip(store.done, idle, strict=True)
        ]
        self.compiled = True

    def evaluate(self) -> np.ndarray:
        """Sums of loss and metrics over the validation rows, float32 (lanes, 1 + metrics)."""
        return np.asarray(self._score(self.store.layers, self._numbers()))

    def _numbers(self) -> dict[str, tf.Tensor]:
        """What differs from lane to lane, (lanes, …)."""
        # Lanes that never had a trial compute with the numbers of one that has.
        started = [params for params in self.store.params if params]
        trials, design = [params or started[0] for params in self.store.params], self._design
        numbers = {
            name: tf.constant([float(params.get(name, 0.0)) for params in trials])
            for name in NUMBERS
        }
        flips = [0.5 if params.get("augment_flip", False) else 0.0 for params in trials]
        activations = [design.activations.index(params["activation"]) for params in trials]
        return numbers | {
            "activation": tf.constant(activations),
            "batch_norm": tf.constant([bool(params.get("batch_norm")) for params in trials]),
            "layer_norm": tf.constant([bool(params.get("layer_norm")) for params in trials]),
            "flipped_share": tf.constant(flips),
            "rates": tf.constant(
                [NETWORKS[SHARED_NETWORK].dropout_rates(params) for params in trials], tf.float32
            ),
            "widths": tf.constant([dense_widths(params) for params in trials], tf.int32),
            "has_bias": tf.constant([has_bias(params) for params in trials]),
            "seed": tf.constant([seed & 0xFFFFFFFF for seed in self.store.seeds], tf.uint32),
        }

    def _train_steps(
        self, layers: Any, slots: Any, inputs: Any, orders: Any, schedule: Any, starts: Any,
        count: Any, done: Any,
    ) -> Any:  # fmt: skip
        def body(at: tf.Tensor, layers: Any, slots: Any, sums: tf.Tensor) -> Any:
            places = (starts + at)[:, tf.newaxis] * self._size + tf.range(self._size)
            counted = tf.cast(places < self._rows, tf.float32)
            chosen = tf.gather(orders, places, batch_dims=1)
            row = tf.gather(schedule, starts + at, batch_dims=1)
            clock = done + tf.cast(at, tf.uint32)
            layers, slots, found = self._step(layers, slots, inputs, chosen, counted, row, clock)
            return at + 1, layers, slots, sums + found

        zeros = tf.zeros([self.lanes, len(self.objective.names)])
        going = lambda at, *_: at < count  # noqa: E731
        return tf.while_loop(going, body, [0, layers, slots, zeros])[1:]

    def _step(
        self, layers: Any, slots: Any, inputs: Any, chosen: Any, counted: Any, row: Any, clock: Any
    ) -> Any:
        x, y = (tf.gather(part, chosen) for part in self._data.train)
        x = self._heads.scaled(self._changed(x, inputs, clock))
        rows = tf.reduce_sum(counted, 1)
        leaves = _leaves(layers)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(leaves)
            raw, statistics = lane_outputs(self._design, layers, x, inputs, counted, clock)
            values = self._heads.lane_values(raw, y, inputs)
            loss = tf.reduce_sum(tf.reduce_sum(values[0] * counted, 1) / rows)
        flat = tape.gradient(loss, leaves, unconnected_gradients="zero")
        gradients = tf.nest.pack_sequence_as([_trained(layer) for layer in layers], flat)
        may = self._design.included
        penalty = penalties(layers, inputs, may)
        gradients = clipped(with_penalties(gradients, layers, inputs, may), inputs, may)
        layers = decayed(layers, inputs, row[:, 0], may)
        layers, slots = _updated(layers, gradients, slots, row[:, 1:])
        layers = _following(bounded(layers, inputs, may), statistics, inputs)
        sums = [tf.reduce_sum(tf.where(counted > 0, one, 0.0), 1) for one in values]
        return layers, slots, tf.stack([sums[0] + penalty * rows, *sums[1:]], axis=1)

    def _changed(self, x: tf.Tensor, inputs: Any, clock: Any) -> tf.Tensor:
        names = ("augment_shift", "flipped_share", "seed")
        shift, share, seed = (inputs[name] for name in names)
        lanes = [
            self._augmented(x[lane], shift[lane], share[lane], seed[lane], clock[lane])
            for lane in range(self.lanes)
        ]
        return tf.stack(lanes)

    def _score_chunks(self, layers: Any, inputs: Any) -> tf.Tensor:
        x, y = self._data.validation
        rows = len(y)
        size = chunk_rows(rows, self._widest * self.lanes)

        def body(first: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            chunk = slice(first, tf.minimum(first + size, rows))
            scaled = self._heads.scaled(x[tf.newaxis, chunk])
            raw, _ = lane_outputs(self._design, layers, scaled, inputs)
            labels = tf.tile(y[tf.newaxis, chunk], [self.lanes, 1])
            values = self._heads.lane_values(raw, labels, inputs)
            found = tf.stack([tf.reduce_sum(one, 1) for one in values], axis=1)
            return first + size, sums + found

        zeros = tf.zeros([self.lanes, len(self.objective.names)])
        sums = tf.while_loop(lambda first, _: first < rows, body, [0, zeros])[1]
        penalty = penalties(layers, inputs, self._design.included)[:, tf.newaxis]
        return sums + tf.one_hot(0, len(self.objective.names)) * penalty * float(rows)


def _trained(layer: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: value for name, value in layer.items() if name in TRAINED}


def _leaves(layers: list[dict[str, tf.Tensor]]) -> list[tf.Tensor]:
    return list(tf.nest.flatten([_trained(layer) for layer in layers]))


def _updated(layers: Any, gradients: Any, slots: Any, row: tf.Tensor) -> Any:
    after, kept = [dict(layer) for layer in layers], tf.nest.map_structure(tf.identity, slots)
    for number, of_layer in enumerate(gradients):
        for name, gradient in of_layer.items():
            shape = [-1] + [1] * (gradient.shape.rank - 1)
            broadcast = [tf.reshape(column, shape) for column in tf.unstack(row, axis=1)]
            mine = {slot: kept[slot][number][name] for slot in slots}
            weight, mine = updated(layers[number][name], gradient, mine, broadcast)
            after[number][name] = weight
            for slot, value in mine.items():
                kept[slot][number][name] = value
    return after, kept


def _following(layers: Any, statistics: Any, inputs: Any) -> Any:
    """The moving statistics, a step further towards the batch's."""
    share = tf.where(inputs["batch_norm"], 1.0 - MOVING, 0.0)[:, tf.newaxis]
    after = [dict(layer) for layer in layers]
    for layer, (mean, variance) in zip(after, statistics, strict=False):
        layer["mean"] += (mean - layer["mean"]) * share
        layer["variance"] += (variance - layer["variance"]) * share
    return after
