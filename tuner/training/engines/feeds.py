"""Where batches come from: data resident beside the program, or streamed through tf.data.

Both feeds train rows in the order given and yield equal sums for equal batches.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tuner.data import Dataset, Split
from tuner.training.engines.keras import KerasProgram

# Validation runs in chunks: large ones for speed, bounded so that activations stay small.
_CHUNK_ROWS = 2000
_CHUNK_VALUES = 8_000_000


class Feed(Protocol):
    """A compiled program with data flowing through it."""

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Take optimizer steps start..stop-1 of an epoch whose rows come in `order` (int32, one
        entry a training row), with learning rates `rates` (float32, one a step). Sums of loss and
        metrics over the rows, float32; ends early, with non-finite sums, once the loss is not
        finite."""
        ...

    def evaluate(self) -> np.ndarray:
        """Sums of loss and metrics over the validation rows."""
        ...


@dataclass(frozen=True)
class Compilation:
    """How a program's functions are made. `xla`: the training loop by XLA, else a plain graph.
    `traces_last_batch`: a function for the short last batch, else it runs eagerly."""

    xla: bool
    traces_last_batch: bool


class ResidentData:
    """A split's arrays as tensors, made once a worker and shared by all its programs."""

    def __init__(self, dataset: Dataset) -> None:
        self.train = _tensors(dataset.train)
        self.validation = _tensors(dataset.evaluation)


def _tensors(split: Split) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(np.asarray(split.x)), tf.constant(np.asarray(split.y))


def chunk_rows(rows: int, row_values: int) -> int:
    """Rows in a validation chunk: as equal as possible, so that little of the last is padding.
    `row_values`: what a row takes where the network is widest."""
    most = max(1, min(_CHUNK_ROWS, _CHUNK_VALUES // max(1, row_values)))
    return -(-rows // -(-rows // most))


class ResidentFeed:
    """Whole intervals in one compiled call: gather, step, repeat.

    With XLA every batch in the loop has one static shape; the short last batch runs apart, eagerly
    where too few epochs are ahead to repay tracing it. The plain graph takes batches of any size,
    so there one function does. Validation's few large chunks gain nothing from XLA.
    """

    def __init__(
        self, program: KerasProgram, data: ResidentData, batch_size: int, compilation: Compilation
    ) -> None:
        self._program, self._batch_size, self._xla = program, batch_size, compilation.xla
        self._x, self._y = data.train
        self._validation_x, self._validation_y = data.validation
        self._rows = int(self._x.shape[0])
        self._loop = tf.function(self._train_steps, jit_compile=self._xla, autograph=False)
        traced = tf.function(self._train_rows, autograph=False)
        self._last = traced if compilation.traces_last_batch else self._train_rows
        self._evaluate = tf.function(self._evaluate_chunks, autograph=False)

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        order_tensor, rates_tensor = tf.constant(order, tf.int32), tf.constant(rates)
        alike = self._rows // self._batch_size if self._xla else stop
        sums = np.zeros(len(self._program.objective.names), np.float32)
        if start < alike:  # XLA cannot slice a batch out of fewer rows
            upto = tf.constant(min(stop, alike))
            sums = self._loop(order_tensor, rates_tensor, tf.constant(start), upto).numpy()
        if stop > alike and np.isfinite(sums).all():
            sums = (
                sums
                + self._last(order_tensor[alike * self._batch_size :], rates_tensor[-1]).numpy()
            )
        return np.asarray(sums)

    def evaluate(self) -> np.ndarray:
        return np.asarray(self._evaluate().numpy())

    def _train_rows(self, rows: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        return self._program.step(tf.gather(self._x, rows), tf.gather(self._y, rows), rate)

    def _train_steps(
        self, order: tf.Tensor, rates: tf.Tensor, start: tf.Tensor, stop: tf.Tensor
    ) -> tf.Tensor:
        def body(step: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            first = step * self._batch_size
            size = (
                self._batch_size if self._xla else tf.minimum(self._batch_size, self._rows - first)
            )
            rows = tf.slice(order, [first], [size])
            return step + 1, sums + self._train_rows(rows, rates[step])

        def going(step: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
            return tf.logical_and(step < stop, tf.math.is_finite(sums[0]))

        zeros = tf.zeros([len(self._program.objective.names)])
        return tf.while_loop(going, body, [start, zeros])[1]

    def _evaluate_chunks(self) -> tf.Tensor:
        rows = int(self._validation_x.shape[0])
        size = chunk_rows(rows, self._program.row_values)

        def body(first: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # The last chunk is moved back to stay inside, and its known rows are not counted.
            begin = tf.minimum(first, rows - size)
            counted = tf.cast(tf.range(size) + begin >= first, tf.float32)
            x = tf.slice(
                self._validation_x,
                [begin] + [0] * (self._validation_x.ndim - 1),
                [size, *self._validation_x.shape[1:]],
            )
            y = tf.slice(self._validation_y, [begin], [size])
            return first + size, sums + self._program.score(x, y, counted)

        zeros = tf.zeros([len(self._program.objective.names)])
        return tf.while_loop(lambda first, _: first < rows, body, [0, zeros])[1]


class StreamingFeed:
    """For data that should not sit in memory: batches are read from the mapped files by tf.data,
    two ahead, and each goes through one compiled step; a short last one through a plain graph, as
    compiling it for its single step would not pay."""

    def __init__(self, program: KerasProgram, dataset: Dataset, batch_size: int, xla: bool) -> None:
        self._program = program
        self._dataset = dataset
        self._batch_size = batch_size
        self._step = tf.function(program.step, jit_compile=xla, autograph=False)
        self._last = tf.function(program.step, autograph=False)
        self._score = tf.function(program.score, jit_compile=xla, autograph=False)

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        rows = order[start * self._batch_size : stop * self._batch_size]
        sums = np.zeros(len(self._program.objective.names), np.float32)
        batches = self._batches(self._dataset.train, rows, self._batch_size)
        for (x, y), rate in zip(batches, rates[start:stop], strict=True):
            step = self._step if len(y) == self._batch_size else self._last
            sums = sums + step(x, y, tf.constant(rate)).numpy()
            if not np.isfinite(sums[0]):
                break
        return sums

    def evaluate(self) -> np.ndarray:
        split = self._dataset.evaluation
        size = chunk_rows(len(split.y), self._program.row_values)
        sums = np.zeros(len(self._program.objective.names), np.float32)
        for x, y in self._batches(split, np.arange(len(split.y)), size):
            sums = sums + self._score(x, y, tf.ones(tf.shape(y)[0])).numpy()
        return sums

    def _batches(
        self, split: Split, rows: np.ndarray, size: int
    ) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for first in range(0, len(rows), size):
                chosen = rows[first : first + size]
                # Sorted reads walk the file forwards; the batch keeps its order.
                ascending = np.argsort(chosen, kind="stable")
                back = np.argsort(ascending, kind="stable")
                found = chosen[ascending]
                yield np.asarray(split.x[found])[back], np.asarray(split.y[found])[back]

        signature = (
            tf.TensorSpec((None, *split.x.shape[1:]), split.x.dtype),
            tf.TensorSpec((None,), split.y.dtype),
        )
        batches: Any = tf.data.Dataset.from_generator(read, output_signature=signature)
        return iter(batches.prefetch(2))
