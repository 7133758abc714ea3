"""What compiling costs and saves, and what programs may hold: all thresholds in one place.

Decisions follow from the request and the size of the data alone, so that the same request always
trains the same way. Knows no TensorFlow.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tuner.networks.layers import dense_widths
from tuner.search_space.parameter_types import Params, read_whole
from tuner.search_space.parameters import NETWORKS
from tuner.study.messages import TrialRequest

# Of weights and optimizer slots, of all programs of a process together. Compiled code does not
# count: TensorFlow keeps it, some 20 MiB a program, as long as the process lives.
PROGRAMS_BYTES = 2**30

# Arithmetic of a thread, and operations on each weight for one row (forward and backward).
_FLOPS_PER_S = 6e10
_FLOPS_PER_WEIGHT = 6
# Two thirds of a search's trials end early.
_SHARE_RUN = 1 / 3
# Tracing the short last batch takes as long as running it eagerly some ten times.
_EAGER_EPOCHS = 30
# A user's own network is taken for one of this size.
_ASSUMED_SIZE: Params = {"width": 128, "depth": 2}


@dataclass(frozen=True)
class XlaCost:
    """What XLA costs and saves: seconds to compile, seconds saved a step, and the saved share of
    the arithmetic's time."""

    compile_s: float
    saved_per_step_s: float
    saved_share: float

    def repays(self, *, steps: int, rows: int, weights: int, epochs: int) -> bool:
        """Whether it pays for so many epochs of `steps` steps over `rows` rows."""
        arithmetic_s = _FLOPS_PER_WEIGHT * weights * rows / _FLOPS_PER_S
        saved_s = steps * self.saved_per_step_s + arithmetic_s * self.saved_share
        return saved_s * epochs * _SHARE_RUN > self.compile_s


# Measured at 60 GFLOP/s a thread.
_KERAS_XLA = XlaCost(compile_s=0.5, saved_per_step_s=1e-4, saved_share=0.5)
_LANES = XlaCost(compile_s=2.0, saved_per_step_s=2e-4, saved_share=0.15)


InputShape = Sequence[int] | Mapping[str, Sequence[int]]


def _row_values(input_shape: InputShape) -> int:
    """How many values a row has, in all of its inputs."""
    if isinstance(input_shape, Mapping):
        return sum(map(math.prod, input_shape.values()))
    return math.prod(input_shape)


def worth_compiling(request: TrialRequest, input_shape: InputShape, rows: int) -> bool:
    """Whether XLA repays for a trial in the Keras engine. `rows`: of training."""
    kind, params = NETWORKS.get(request.network), request.params
    if kind is None:
        kind, params = NETWORKS["mlp"], _ASSUMED_SIZE
    return _KERAS_XLA.repays(
        steps=_steps(request, rows),
        rows=rows,
        weights=kind.estimate_weights(params, _row_values(input_shape)),
        epochs=read_whole(request.params, "epochs"),
    )


def worth_lanes(request: TrialRequest, input_shape: InputShape, rows: int) -> bool:
    """Whether a program of one lane repays for the epochs after the first."""
    sizes = [_row_values(input_shape), *dense_widths(request.params)]
    return _LANES.repays(
        steps=_steps(request, rows),
        rows=rows,
        weights=sum(before * after for before, after in pairwise(sizes)),
        epochs=read_whole(request.params, "epochs") - 1,
    )


def worth_tracing_last_batch(request: TrialRequest) -> bool:
    """Whether a function of its own repays for the short last batch of each epoch."""
    return read_whole(request.params, "epochs") > _EAGER_EPOCHS


def _steps(request: TrialRequest, rows: int) -> int:
    """Optimizer steps an epoch."""
    return math.ceil(rows / read_whole(request.params, "batch_size"))
