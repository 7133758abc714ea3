"""Where rows come from, in memory or streamed from disk, and the one loop over the evaluated rows.

Feeds train rows in the order given and yield equal sums for equal batches.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tuner.data import Dataset, Split
from tuner.data.dataset import TargetPart
from tuner.data.named_rows import NamedRows, SplitRows, named_parts, take_arrays
from tuner.training.engines.keras import KerasProgram

# Evaluation runs in chunks: large ones for speed, bounded so that activations stay small.
_CHUNK_ROWS = 2000
_CHUNK_VALUES = 8_000_000

Floats = npt.NDArray[np.float32]


class Feed(Protocol):
    """A compiled program with data flowing through it."""

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Take optimizer steps start..stop-1 of an epoch whose rows come in `order` (int32, one
        entry a training row), with learning rates `rates` (float32, one a step). Sums of loss and
        metrics over the rows, float32; ends early, with non-finite sums, once the loss is not
        finite."""
        ...

    def evaluate(self) -> np.ndarray:
        """Sums of loss and metrics over the rows of the split that is evaluated."""
        ...

    def predictions(self) -> Any:
        """Predictions for those rows, in their order: (n, k) probabilities of k classes or labels;
        (n,) of two classes the probability of the second; (n,), or (n, k) of k values, for
        regression in the units of the split's y. Of several heads a dict by name."""
        ...


@dataclass(frozen=True)
class Compilation:
    """How a program's functions are made. `xla`: the training loop by XLA, else a plain graph.
    `traces_last_batch`: a function for the short last batch, else it runs eagerly."""

    xla: bool
    traces_last_batch: bool


class Chunk(NamedTuple):
    """Rows to evaluate at once; x and y are dicts by name where there are several inputs or heads.
    The first `repeated` rows belong to the chunk before, and do not count: they fill the last chunk
    up where all need one size."""

    x: Any
    y: Any
    repeated: int = 0


class ResidentData:
    """The splits' arrays as tensors, made once a worker and shared by all its programs."""

    def __init__(self, dataset: Dataset) -> None:
        self.train = _tensors(dataset.train)
        self.evaluation = _tensors(dataset.evaluation)

    def chunks(self, *, row_values: int, equal: bool = False) -> Iterator[Chunk]:
        """The rows to evaluate. `row_values`: how many values a row takes where the network is
        widest. `equal`: all chunks have one size."""
        x, y = self.evaluation
        rows = row_count(y)
        size = chunk_rows(rows, row_values)
        for first in range(0, rows, size):
            stop = min(first + size, rows)
            begin = stop - size if equal else first
            if (begin, stop) == (0, rows):
                yield Chunk(x, y)
            else:
                yield Chunk(_rows(x, begin, stop), _rows(y, begin, stop), first - begin)


def row_count(rows: Any) -> int:
    """Of a tensor, or of tensors by name, which have equally many."""
    return int(tf.nest.flatten(rows)[0].shape[0])


def _tensors(split: Split) -> tuple[Any, Any]:
    """x and y; dicts of tensors where there are several inputs or heads."""
    return tuple(
        tf.nest.map_structure(tf.constant, take_arrays(rows)) for rows in (split.x, split.y)
    )


def _rows(values: Any, begin: int, stop: int) -> Any:
    def sliced(tensor: tf.Tensor) -> tf.Tensor:
        rest = tensor.shape[1:]
        return tf.slice(tensor, [begin] + [0] * len(rest), [stop - begin, *rest])

    return tf.nest.map_structure(sliced, values)


def gather_rows(values: Any, rows: tf.Tensor) -> Any:
    """These rows of a tensor, or of each by name."""
    return tf.nest.map_structure(lambda tensor: tf.gather(tensor, rows), values)


def chunk_rows(rows: int, row_values: int) -> int:
    """Rows in a chunk: as equal as possible, so that little of the last is padding."""
    most = max(1, min(_CHUNK_ROWS, _CHUNK_VALUES // max(1, row_values)))
    return -(-rows // -(-rows // most))


def evaluate_chunks(
    chunks: Iterable[Chunk], score: Callable[[Chunk], tuple[tf.Tensor, tf.Tensor]]
) -> Floats:
    """Sums of loss and metrics over all rows that count, float32 (…, 1 + metrics). `score`: those
    of a chunk, and what is added to the loss of each of its rows, if that is the same for all
    chunks."""
    sums, penalty, rows = np.zeros((), np.float32), np.zeros((), np.float32), 0
    for chunk in chunks:
        chunk_sums, chunk_penalty = score(chunk)
        sums, penalty = sums + np.asarray(chunk_sums), np.asarray(chunk_penalty)
        rows += row_count(chunk.y) - chunk.repeated
    # Keras adds regularisation to the reported loss of every row, to no other metric.
    sums[..., 0] += penalty * np.float32(rows)
    return sums


def predict_chunks(chunks: Iterable[Chunk], predict: Callable[[Any], Any]) -> Any:
    """The network's outputs for all rows that count, float32 (…, n, outputs); of several heads by
    name."""
    outputs = [
        tf.nest.map_structure(
            lambda of_head, chunk=chunk: np.asarray(of_head)[..., chunk.repeated :, :],
            predict(chunk.x),
        )
        for chunk in chunks
    ]
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts, axis=-2), *outputs)


def as_predictions(outputs: Any, dataset: Dataset) -> Any:
    """Outputs (n, outputs) as `Feed.predictions` gives them."""
    if not dataset.heads:
        return _head_predictions(outputs, dataset.targets[0])
    return {head.name: _head_predictions(outputs[head.name], head) for head in dataset.heads}


def _head_predictions(outputs: Floats, target: TargetPart) -> Floats:
    if target.task in ("classes", "multilabel"):
        return outputs
    if target.task == "binary":
        return outputs[:, 0]
    scaling = target.scaling
    values = outputs if scaling.scale.ndim else outputs[:, 0]
    return np.asarray((values - scaling.offset) / scaling.scale, np.float32)


def sum_steps(
    train_step: Callable[[tf.Tensor], tf.Tensor], start: tf.Tensor, stop: tf.Tensor, *, count: int
) -> tf.Tensor:
    """The sums (count,) over training steps from `start` to before `stop`, as one loop of a graph.
    It ends early after a step whose first sum, the loss, is not finite."""

    def body(step: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return step + 1, sums + train_step(step)

    def unfinished(step: tf.Tensor, sums: tf.Tensor) -> tf.Tensor:
        return tf.logical_and(step < stop, tf.math.is_finite(sums[0]))

    return tf.while_loop(unfinished, body, [start, tf.zeros([count])])[1]


class ResidentFeed:
    """Whole intervals in one compiled call: gather, step, repeat.

    With XLA every batch in the loop has one static shape; the short last batch runs apart, eagerly
    where too few epochs are ahead to repay tracing it. The plain graph takes batches of any size,
    so there one function does. The few large chunks of an evaluation gain nothing from XLA.
    """

    def __init__(
        self, program: KerasProgram, data: ResidentData, batch_size: int, compilation: Compilation
    ) -> None:
        self._program, self._data, self._xla = program, data, compilation.xla
        self._batch_size = batch_size
        self._x, self._y = data.train
        self._train_row_count = row_count(self._y)
        self._loop = tf.function(self._train_steps, jit_compile=self._xla, autograph=False)
        traced = tf.function(self._train_rows, autograph=False)
        self._last = traced if compilation.traces_last_batch else self._train_rows
        self._score = tf.function(program.score, autograph=False)
        self._predict = tf.function(program.predict, autograph=False)

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        order_tensor, rates_tensor = tf.constant(order, tf.int32), tf.constant(rates)
        alike = self._train_row_count // self._batch_size if self._xla else stop
        weights = self._program.row_weights
        weights_tensor = None if weights is None else tf.constant(weights)
        sums = np.zeros(len(self._program.objective.names), np.float32)
        if start < alike:  # XLA cannot slice a batch out of fewer rows
            upto = tf.constant(min(stop, alike))
            at = tf.constant(start), upto
            sums = self._loop(order_tensor, rates_tensor, *at, weights_tensor).numpy()
        if stop > alike and np.isfinite(sums).all():
            last_rows = order_tensor[alike * self._batch_size :]
            sums = sums + self._last(last_rows, rates_tensor[-1], weights_tensor).numpy()
        return np.asarray(sums)

    def evaluate(self) -> np.ndarray:
        return evaluate_chunks(
            self._chunks(), lambda c: self._score(c.x, c.y, tf.constant(c.repeated))
        )

    def predictions(self) -> Any:
        outputs = predict_chunks(self._chunks(), self._predict)
        return as_predictions(outputs, self._program.dataset)

    def _chunks(self) -> Iterator[Chunk]:
        # Equal ones are traced once, and sums are rounded as earlier versions rounded them.
        return self._data.chunks(row_values=self._program.row_values, equal=True)

    def _train_rows(self, rows: tf.Tensor, rate: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
        of_rows = None if weights is None else tf.gather(weights, rows)
        x, y = gather_rows(self._x, rows), gather_rows(self._y, rows)
        return self._program.step(x, y, rate, of_rows)

    def _train_steps(
        self,
        order: tf.Tensor,
        rates: tf.Tensor,
        start: tf.Tensor,
        stop: tf.Tensor,
        weights: tf.Tensor | None,
    ) -> tf.Tensor:
        batch_size = self._batch_size

        def train_step(step: tf.Tensor) -> tf.Tensor:
            first = step * batch_size
            rest = self._train_row_count - first
            size = batch_size if self._xla else tf.minimum(batch_size, rest)
            rows = tf.slice(order, [first], [size])
            return self._train_rows(rows, rates[step], weights)

        return sum_steps(train_step, start, stop, count=len(self._program.objective.names))


def _rows_in_order(rows: SplitRows, numbers: np.ndarray, order: np.ndarray) -> Any:
    """Rows by number, then brought into an order."""
    return tf.nest.map_structure(lambda array: array[order], take_arrays(rows[numbers]))


def _signature(rows: SplitRows) -> Any:
    """Of batches of these rows."""
    specs = {
        name: tf.TensorSpec((None, *part.shape[1:]), part.dtype)
        for name, part in named_parts(rows).items()
    }
    return specs if isinstance(rows, NamedRows) else specs[""]


def _batch_rows(y: Any) -> int:
    return len(tf.nest.flatten(y)[0])


class StreamingFeed:
    """For data that should not sit in memory: batches are read from the mapped files by tf.data,
    two ahead, and each goes through one compiled step; a short last one through a plain graph, as
    compiling it for its single step would not pay."""

    def __init__(self, program: KerasProgram, batch_size: int, *, xla: bool) -> None:
        self._program, self._dataset = program, program.dataset
        self._batch_size = batch_size
        self._step = tf.function(program.step, jit_compile=xla, autograph=False)
        self._last = tf.function(program.step, autograph=False)
        self._score = tf.function(program.score, jit_compile=xla, autograph=False)
        self._predict = tf.function(program.predict, jit_compile=xla, autograph=False)

    def train(self, order: np.ndarray, rates: np.ndarray, start: int, stop: int) -> np.ndarray:
        rows = order[start * self._batch_size : stop * self._batch_size]
        sums = np.zeros(len(self._program.objective.names), np.float32)
        batches = self._batches(self._dataset.train, rows, self._batch_size)
        weights = self._weights_of_batches(rows)
        for (x, y), rate, of_rows in zip(batches, rates[start:stop], weights, strict=True):
            step = self._step if _batch_rows(y) == self._batch_size else self._last
            sums = sums + step(x, y, tf.constant(rate), of_rows).numpy()
            if not np.isfinite(sums[0]):
                break
        return sums

    def evaluate(self) -> np.ndarray:
        return evaluate_chunks(self._chunks(), lambda c: self._score(c.x, c.y, tf.constant(0)))

    def predictions(self) -> Any:
        return as_predictions(predict_chunks(self._chunks(), self._predict), self._dataset)

    def _chunks(self) -> Iterator[Chunk]:
        split = self._dataset.evaluation
        rows = len(split.y)
        size = chunk_rows(rows, self._program.row_values)
        return (Chunk(x, y) for x, y in self._batches(split, np.arange(rows), size))

    def _weights_of_batches(self, rows: np.ndarray) -> Iterator[tf.Tensor | None]:
        weights = self._program.row_weights
        for first in range(0, len(rows), self._batch_size):
            of_batch = rows[first : first + self._batch_size]
            yield None if weights is None else tf.constant(weights[of_batch])

    def _batches(self, split: Split, rows: np.ndarray, size: int) -> Iterator[tuple[Any, Any]]:
        def read() -> Iterator[tuple[Any, Any]]:
            for first in range(0, len(rows), size):
                chosen = rows[first : first + size]
                # Sorted reads walk the file forwards; the batch keeps its order.
                ascending = np.argsort(chosen, kind="stable")
                back = np.argsort(ascending, kind="stable")
                in_file_order = chosen[ascending]
                yield (
                    _rows_in_order(split.x, in_file_order, back),
                    _rows_in_order(split.y, in_file_order, back),
                )

        signature = tuple(map(_signature, (split.x, split.y)))
        batches: Any = tf.data.Dataset.from_generator(read, output_signature=signature)
        return iter(batches.prefetch(2))
