"""One program for all trials of a design on resident data, whatever their widths."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from tuner.data import Dataset
from tuner.networks.layers import dense_widths
from tuner.search_space.parameters import NETWORKS
from tuner.training.engines.feeds import ResidentData, chunk_rows
from tuner.training.engines.graph_network import SharedNetwork, has_bias, layer_sizes
from tuner.training.ops.augmentation import Augmentation
from tuner.training.ops.dropout import draw_masks, steps_at_once
from tuner.training.ops.losses import Heads
from tuner.training.ops.optimizers import FACTORS, FORMS, factors, form_of
from tuner.training.ops.regularizers import Rules
from tuner.training.program_key import NUMBERS, SHARED_NETWORK, ProgramKey

Params = dict[str, Any]


def _signature(depth: int) -> dict[str, tf.TensorSpec]:
    """What each of a trial's inputs is."""
    numbers = [*NUMBERS, "flipped_share"]
    whole = dict.fromkeys(("activation", "form", "batch_size"), tf.int32)
    switches = dict.fromkeys(("batch_norm", "layer_norm"), tf.bool)
    dtypes = dict.fromkeys(numbers, tf.float32) | whole | switches | {"seed": tf.uint32}
    signature = {name: tf.TensorSpec([], dtype) for name, dtype in dtypes.items()}
    return signature | {"has_bias": tf.TensorSpec([depth + 1])}


class GraphProgram:
    """A plain graph for one design: it is traced once, and trains and scores any trial of it.

    Its variables have the shapes of the trial at hand. What differs from trial to trial otherwise
    comes in with each call, `inputs`.
    """

    engine = "shared graph"

    def __init__(self, design: ProgramKey, dataset: Dataset, data: ResidentData) -> None:
        self._design, self._data = design, data
        self._width, self._outputs = math.prod(dataset.input_shape), dataset.outputs
        self.network = SharedNetwork(design, self._width, dataset.outputs)
        self._forms = design.update_forms
        self._slots = {
            name: [tf.Variable(tf.zeros_like(v), shape=v.shape) for v in self.network.trained]
            for name in sorted({name for form in self._forms for name in FORMS[form].slots})
        }
        self._heads = Heads(design, dataset)
        self._augmented = Augmentation(
            "augment_shift" in design.included, "augment_flip" in design.included
        )
        self._rules = Rules(design, self.network)
        self.objective = self._heads.objective({})
        self.called: set[str] = set()  # the kinds of work whose functions are traced
        self._params: Params = {}
        self._seed = self.steps_done = 0
        self._inputs: dict[str, Any] = {}
        # Signatures, since without them each new length of an argument is traced anew.
        inputs, number = _signature(design.depth), tf.TensorSpec([], tf.int32)
        steps = [
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 1 + FACTORS]),
            [tf.TensorSpec([None, None, None])] * (design.depth + 1),
        ]
        signature = [inputs, *steps, number, number, tf.TensorSpec([], tf.uint32)]
        self._loop = tf.function(self._train_steps, signature, autograph=False)
        self._score = tf.function(self._score_chunks, [inputs, number], autograph=False)

    @property
    def parameter_count(self) -> int:
        trained = zip(self.network.trained, self.network.trained_now(), strict=True)
        return sum(int(tf.size(variable)) for variable, now in trained if now)

    @property
    def nbytes(self) -> int:
        sizes = layer_sizes(self._params, (self._width, self._outputs)) if self._params else [0]
        weights = sum((before + 1) * after for before, after in pairwise(sizes))
        return 4 * weights * (1 + len(self._slots))

    def start(self, params: Params, seed: int) -> None:
        """Begin a trial: weights drawn from `seed`, optimizer and dropout as new, inputs set."""
        self._params, self._seed, self.steps_done = params, seed, 0
        self.network.start(params, seed)
        for name, start in FORMS[form_of(params)].slots.items():
            for slot, variable in zip(self._slots[name], self.network.trained, strict=True):
                slot.assign(tf.fill(tf.shape(variable), start))
        numbers = {name: tf.constant(float(params.get(name, 0.0))) for name in NUMBERS}
        self._inputs = numbers | {
            "activation": tf.constant(self._design.activations.index(params["activation"])),
            "form": tf.constant(self._forms.index(form_of(params))),
            "batch_norm": tf.constant(bool(params.get("batch_norm", False))),
            "layer_norm": tf.constant(bool(params.get("layer_norm", False))),
            "flipped_share": tf.constant(0.5 if params.get("augment_flip", False) else 0.0),
            "has_bias": tf.constant(has_bias(params)),
            "seed": tf.constant(seed & 0xFFFFFFFF, tf.uint32),
            "batch_size": tf.constant(int(params["batch_size"])),
        }

    def weights(self) -> list[np.ndarray]:
        """As `model.get_weights()` of the exact network orders them."""
        return [variable.numpy() for variable in self.network.variables()]

    def set_weights(self, weights: list[np.ndarray]) -> None:
        for variable, value in zip(self.network.variables(), weights, strict=True):
            variable.assign(value)

    def state(self) -> dict[str, list[np.ndarray]]:
        """All that the next steps depend on."""
        kept = FORMS[form_of(self._params)].slots
        slots = {name: [slot.numpy() for slot in self._present(name)] for name in kept}
        return {"model": self.weights(), "steps": [np.asarray(self.steps_done)], **slots}

    def restore(self, state: dict[str, list[np.ndarray]]) -> None:
        """Bring back what `state` gave, in a trial started with the same params and seed."""
        self.set_weights(state["model"])
        self.steps_done = int(state["steps"][0])
        for name in FORMS[form_of(self._params)].slots:
            for slot, value in zip(self._present(name), state[name], strict=True):
                slot.assign(value)

    def _present(self, name: str) -> list[tf.Variable]:
        """The slots of that name of what the trial has."""
        return [
            slot
            for slot, now in zip(self._slots[name], self.network.trained_now(), strict=True)
            if now
        ]

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        """As a Feed does (feeds.py)."""
        rows = tf.constant(order, tf.int32)
        form, shapes = form_of(self._params), self._mask_shapes()
        at_once = steps_at_once(shapes, stop - start)
        sums = np.zeros(len(self.objective.names), np.float32)
        while start < stop and np.isfinite(sums[0]):
            upto = min(stop, start + at_once)
            done = self.steps_done
            masks = draw_masks(
                shapes,
                NETWORKS[SHARED_NETWORK].dropout_rates(self._params),
                upto - start,
                self._seed,
                done,
            )
            schedule = np.column_stack([rates[start:upto], factors(form, done, upto - start)])
            at = tf.constant(start), tf.constant(upto), tf.constant(done, tf.uint32)
            sums = sums + self._loop(self._inputs, rows, tf.constant(schedule), masks, *at).numpy()
            self.steps_done += upto - start
            start = upto
        return np.asarray(sums)

    def _mask_shapes(self) -> list[tuple[int, int]]:
        """Of each dropout's mask, with no rows where no trial drops any."""
        rows = min(int(self._params["batch_size"]), len(self._data.train[1]))
        units = [self._width, *dense_widths(self._params)]
        return [(rows if self._draws(place) else 0, n) for place, n in enumerate(units)]

    def evaluate(self) -> np.ndarray:
        """As a Feed does (feeds.py)."""
        rows = len(self._data.validation[1])
        widest = max(self._width, *dense_widths(self._params), 0)
        return np.asarray(self._score(self._inputs, tf.constant(chunk_rows(rows, widest))).numpy())

    def _train_steps(
        self, inputs: Any, order: Any, schedule: Any, masks: Any, start: Any, stop: Any, first: Any
    ) -> tf.Tensor:
        size, rows = inputs["batch_size"], tf.shape(order)[0]

        def body(step: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            at = step - start
            begin = step * size
            chosen = tf.slice(order, [begin], [tf.minimum(size, rows - begin)])
            first_of, upto = tf.stack([at, 0, 0]), tf.stack([1, tf.shape(chosen)[0], -1])
            drawn = [
                tf.squeeze(tf.slice(mask, first_of, upto), 0) if self._draws(place) else None
                for place, mask in enumerate(masks)
            ]
            x, y = (tf.gather(part, chosen) for part in self._data.train)
            clock = first + tf.cast(at, tf.uint32)
            taken = tf.unstack(schedule[at])
            return step + 1, sums + self._step(inputs, x, y, taken, drawn, clock)

        def going(step: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
            return tf.logical_and(step < stop, tf.math.is_finite(sums[0]))

        return tf.while_loop(going, body, [start, tf.zeros([len(self.objective.names)])])[1]

    def _draws(self, place: int) -> bool:
        return ("dropout" if place else "input_dropout") in self._design.included

    def _step(
        self, inputs: Any, x: Any, y: Any, schedule: Any, masks: Any, clock: Any
    ) -> tf.Tensor:
        """One optimizer step; sums over the batch's rows of loss and metrics."""
        x = self._augmented(
            x, inputs["augment_shift"], inputs["flipped_share"], inputs["seed"], clock
        )
        leaves = self.network.trained
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for leaf in leaves:
                tape.watch(leaf)
            raw, statistics = self.network.outputs(self._heads.scaled(x), inputs, masks)
            rows = self._heads.row_values(raw, y, inputs)
            loss = tf.reduce_mean(rows[0])
        gradients = tape.gradient(loss, leaves, unconnected_gradients="zero")
        penalty = self._rules.penalty(inputs)
        gradients = self._rules.changed(gradients, inputs)
        self._rules.decay(schedule[0], inputs)
        self._update(gradients, schedule, inputs)
        self._rules.bound(inputs)
        self.network.gather(statistics, inputs)
        return self._sums(rows, penalty, tf.cast(tf.shape(y)[0], tf.float32))

    def _update(self, gradients: list[tf.Tensor], schedule: tf.Tensor, inputs: Any) -> None:
        def taking(form: str) -> Any:
            def take() -> None:
                for number, variable in enumerate(self.network.trained):
                    slots = {name: self._slots[name][number] for name in FORMS[form].slots}
                    FORMS[form].update(
                        variable, gradients[number], slots, schedule[0], inputs["momentum"],
                        schedule[1:],
                    )  # fmt: skip

            return take

        branches = [taking(form) for form in self._forms]
        if len(branches) == 1:
            branches[0]()
        else:
            tf.switch_case(inputs["form"], branches)

    def _sums(self, rows: Any, penalty: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        # Keras adds regularisation to the reported loss of every row, to no other metric.
        sums = [tf.reduce_sum(values) for values in rows]
        return tf.stack([sums[0] + penalty * count, *sums[1:]])

    def _score_chunks(self, inputs: Any, size: tf.Tensor) -> tf.Tensor:
        x, y = self._data.validation
        rows = len(y)

        def body(first: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            chunk = slice(first, tf.minimum(first + size, rows))
            raw, _ = self.network.outputs(self._heads.scaled(x[chunk]), inputs)
            found = self._heads.row_values(raw, y[chunk], inputs)
            return first + size, sums + tf.stack([tf.reduce_sum(values) for values in found])

        zeros = tf.zeros([len(self.objective.names)])
        sums = tf.while_loop(lambda first, _: first < rows, body, [0, zeros])[1]
        return sums + tf.one_hot(0, len(self.objective.names)) * self._rules.penalty(inputs) * rows
