"""The training entry point of workers: opens a session on prepared data.

Importing this module imports TensorFlow but runs no operation, so that a fork server may do it.
"""

import traceback
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tuner.data import open_dataset
from tuner.errors import NetworkError
from tuner.networks import export_network
from tuner.networks.custom import CustomNetwork
from tuner.training.events import Ended, Failed, Failure, Interval, Plan, Resumed, WorkerSetup
from tuner.training.trial import Trainer


class TrainingSession:
    """A worker's trainer on its data."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._network = CustomNetwork(*setup.code) if setup.code else None
        self.trainer = Trainer(open_dataset(setup.data), setup.budget_bytes, self._network)
        self._plan: Plan | None = None

    def run(self, plan: Plan) -> Iterator[Resumed | Interval | Ended]:
        self._plan = plan
        return self.trainer.run(plan)

    def save(self, path: Path) -> None:
        """Write the trial's best network as a .keras file, through a temporary file."""
        if self._plan is None or self.trainer.program is None:
            raise RuntimeError("no trial has ended yet")
        model = export_network(
            self._network or self._plan.network,
            self._plan.params,
            self.trainer.dataset,
            self.trainer.program.weights(),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.stem}.partial.keras")
        model.save(partial)
        partial.replace(path)

    def failure(self, error: Exception) -> Failed:
        detail = "".join(traceback.format_exception(error)).strip()
        own = self._network is not None or isinstance(error, NetworkError)
        kind: Failure = "user_error" if own else "error"
        if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
            kind = "out_of_memory"
        first_line = (str(error).strip().splitlines() or [""])[0]
        return Failed(kind, f"{type(error).__name__}: {first_line}", detail)


def open_session(setup: WorkerSetup) -> TrainingSession:
    """Pin this process to one thread, or to its GPU, and load the data."""
    # It warns of retracing, which is what new structures are here.
    tf.get_logger().setLevel("ERROR")
    if setup.gpu is None:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.set_visible_devices([], "GPU")
    else:
        device = tf.config.list_physical_devices("GPU")[setup.gpu]
        tf.config.set_visible_devices([device], "GPU")
        tf.config.experimental.set_memory_growth(device, True)
    return TrainingSession(setup)
