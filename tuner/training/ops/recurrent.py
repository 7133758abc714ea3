"""Recurrent layers: a table of cells, and the layer in two forms with the same weights.

- `FastRecurrent` trains: its inputs are multiplied for all steps at once, and up to
  `_UNROLLED_STEPS` steps are laid out one by one, without a loop.
- `keras_layer`: Keras' own layers, for saved networks.

An epoch of 60 000 rows of 28 steps and 128 units on one thread, in seconds: lstm 11.6 (Keras' `fit`
14.2, unrolled 13.6), gru 10.4 (15.6, 15.0). XLA is slower here (21.8, 12.6) and compiles 12 s. A
loop of many steps takes twice the time in a graph and is best left to XLA. To add a cell: its
choice in search_space/parameters.py, its entry here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Up to here no loop: more steps would trace for longer than XLA compiles its loop.
_UNROLLED_STEPS = 64

State = tuple[tf.Tensor, ...]
Step = Callable[[tf.Tensor, tf.Tensor, State], State]


@dataclass(frozen=True)
class Cell:
    """One step of a recurrent network.

    `gates`: how many times `units` columns its kernels have. `states`: how many arrays (n, units)
    go from step to step; the first is the output. `step(inputs, recurrent, state)`: the next state;
    the first two are the products (n, gates * units) of the step's inputs and of the output before,
    with their biases. `biases`: 2 if the recurrent product has one of its own. `forgets`: the gate,
    if any, whose bias starts at 1.
    """

    keras_class: Any
    gates: int
    states: int
    step: Step
    biases: int = 1
    forgets: int | None = None

    def bias_shape(self, units: int) -> tuple[int, ...]:
        columns = self.gates * units
        return (columns,) if self.biases == 1 else (self.biases, columns)

    def first_bias(self, units: int) -> np.ndarray:
        """Zeros, and ones where the cell would forget at the start (Jozefowicz et al., 2015)."""
        bias = np.zeros(self.bias_shape(units), np.float32)
        if self.forgets is not None:
            bias[..., self.forgets * units : (self.forgets + 1) * units] = 1
        return bias


def _simple_step(inputs: tf.Tensor, recurrent: tf.Tensor, state: State) -> State:
    return (tf.tanh(inputs + recurrent),)


def _lstm_step(inputs: tf.Tensor, recurrent: tf.Tensor, state: State) -> State:
    enter, forget, new, leave = tf.split(inputs + recurrent, 4, axis=-1)
    carried = tf.sigmoid(forget) * state[1] + tf.sigmoid(enter) * tf.tanh(new)
    return tf.sigmoid(leave) * tf.tanh(carried), carried


def _gru_step(inputs: tf.Tensor, recurrent: tf.Tensor, state: State) -> State:
    update_in, reset_in, new_in = tf.split(inputs, 3, axis=-1)
    update_back, reset_back, new_back = tf.split(recurrent, 3, axis=-1)
    update = tf.sigmoid(update_in + update_back)
    new = tf.tanh(new_in + tf.sigmoid(reset_in + reset_back) * new_back)
    return (update * state[0] + (1.0 - update) * new,)


CELLS: dict[str, Cell] = {
    # Elman (1990)
    "simple": Cell(keras.layers.SimpleRNN, gates=1, states=1, step=_simple_step),
    # Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000)
    "lstm": Cell(keras.layers.LSTM, gates=4, states=2, step=_lstm_step, forgets=1),
    # Cho et al. (2014), the gate applied behind the recurrent product
    "gru": Cell(keras.layers.GRU, gates=3, states=1, step=_gru_step, biases=2),
}


@dataclass(frozen=True)
class RecurrentShape:
    """A recurrent layer. `sequences`: it gives its output at each step (n, steps, outputs), and not
    only the last one (n, outputs). Both directions side by side have twice as many outputs."""

    cell: str
    units: int
    bidirectional: bool
    sequences: bool


def keras_layer(shape: RecurrentShape, recurrent_dropout: float) -> Any:
    """Keras' own layer."""
    layer = CELLS[shape.cell].keras_class(
        shape.units, return_sequences=shape.sequences, recurrent_dropout=recurrent_dropout
    )
    return keras.layers.Bidirectional(layer) if shape.bidirectional else layer


class FastRecurrent(keras.layers.Layer):
    """The layer that trains. Its weights are those of `keras_layer`, in their order. `dropout`: the
    layer, if any, that drops shares of the recurrent inputs: for one sequence the same at each step
    (Gal and Ghahramani, 2016)."""

    def __init__(self, shape: RecurrentShape, dropout: Any | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.shape, self.cell = shape, CELLS[shape.cell]
        self._held = (dropout,)  # in a tuple: Keras would count its weights among this layer's
        self.directions = 2 if shape.bidirectional else 1
        self.kernels: list[Any] = []
        self.recurrent_kernels: list[Any] = []
        self.biases: list[Any] = []
        self.is_unrolled = False

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _, steps, channels = input_shape
        self.is_unrolled = steps is not None and steps <= _UNROLLED_STEPS
        units = self.shape.units
        columns = self.cell.gates * units
        for _ in range(self.directions):
            self.kernels.append(self.add_weight(shape=(channels, columns), name="kernel"))
            self.recurrent_kernels.append(
                self.add_weight(shape=(units, columns), name="recurrent_kernel")
            )
            self.biases.append(self.add_weight(shape=self.cell.bias_shape(units), name="bias"))
        self.built = True

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        rows, steps, _ = input_shape
        outputs = self.directions * self.shape.units
        return (rows, steps, outputs) if self.shape.sequences else (rows, outputs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return mask if self.shape.sequences else None

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        """`mask` (n, steps): where it is false, a step leaves the state as it was."""
        by_step = tf.transpose(inputs, [1, 0, 2])
        valid = None if mask is None else tf.transpose(tf.cast(mask, tf.bool))[..., tf.newaxis]
        units = self.shape.units
        masks = self._dropout_masks(tf.shape(inputs)[0], training)
        outputs = []
        for direction in range(self.directions):
            of_direction = slice(direction * units, (direction + 1) * units)
            dropout_mask = None if masks is None else masks[:, of_direction]
            outputs.append(self._run(direction, by_step, valid, dropout_mask))
        hidden = outputs[0] if len(outputs) == 1 else tf.concat(outputs, -1)
        return tf.transpose(hidden, [1, 0, 2]) if self.shape.sequences else hidden

    def _dropout_masks(self, rows: tf.Tensor, training: bool) -> tf.Tensor | None:
        """What the recurrent inputs of all directions are multiplied by (n, directions * units)."""
        (dropout,) = self._held
        if dropout is None or not training:
            return None
        return dropout(
            tf.ones([rows, self.directions * self.shape.units], self.compute_dtype), training=True
        )

    def _run(
        self,
        direction: int,
        by_step: tf.Tensor,
        valid: tf.Tensor | None,
        dropout_mask: tf.Tensor | None,
    ) -> tf.Tensor:
        """The outputs of one direction, (steps, n, units) or those of its last step (n, units)."""
        cell, units, rows = self.cell, self.shape.units, tf.shape(by_step)[1]
        bias, recurrent_bias = self._biases_of(direction)
        kernel = tf.convert_to_tensor(self.recurrent_kernels[direction])
        flat = tf.reshape(by_step, [-1, by_step.shape[-1]])
        products = flat @ tf.convert_to_tensor(self.kernels[direction]) + bias
        products = tf.reshape(products, [by_step.shape[0], rows, cell.gates * units])

        def advance(at: Any, inputs: tf.Tensor, state: State) -> State:
            output = state[0] if dropout_mask is None else state[0] * dropout_mask
            new = cell.step(inputs, output @ kernel + recurrent_bias, state)
            if valid is None:
                return new
            return tuple(tf.where(valid[at], *pair) for pair in zip(new, state, strict=True))

        start = tuple(tf.zeros([rows, units], products.dtype) for _ in range(cell.states))
        run = _run_unrolled if self.is_unrolled else _run_in_loop
        return run(advance, products, start, direction == 1, self.shape.sequences)

    def _biases_of(self, direction: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Those of the inputs' product and of the recurrent one."""
        bias = tf.convert_to_tensor(self.biases[direction])
        return (bias[0], bias[1]) if self.cell.biases == 2 else (bias, tf.zeros([], bias.dtype))


Advance = Callable[[Any, tf.Tensor, State], State]


def _run_unrolled(
    advance: Advance, inputs: tf.Tensor, state: State, backwards: bool, sequences: bool
) -> tf.Tensor:
    by_step = tf.unstack(inputs)
    outputs: list[tf.Tensor] = []
    for at in reversed(range(len(by_step))) if backwards else range(len(by_step)):
        state = advance(at, by_step[at], state)
        outputs.append(state[0])
    if not sequences:
        return state[0]
    return tf.stack(outputs[::-1] if backwards else outputs)


def _run_in_loop(
    advance: Advance, inputs: tf.Tensor, start: State, backwards: bool, sequences: bool
) -> tf.Tensor:
    steps = inputs.shape[0]
    outputs = tf.TensorArray(inputs.dtype, steps, element_shape=[None, start[0].shape[-1]])

    def body(step: tf.Tensor, state: State, outputs: Any) -> Any:
        at = steps - 1 - step if backwards else step
        state = advance(at, inputs[at], state)
        return step + 1, state, outputs.write(at, state[0]) if sequences else outputs

    _, state, outputs = tf.while_loop(
        lambda step, *_: step < steps, body, (0, start, outputs), maximum_iterations=steps
    )
    return outputs.stack() if sequences else state[0]
