"""Where trials run. The training entry point is named by string: nothing here imports it."""

from tuner.study.messages import Checkpointed, EntryPoint, Lost, Reply, Saved, Workers
from tuner.workers.local import LocalWorkers, warm

__all__ = [
    "Checkpointed",
    "EntryPoint",
    "LocalWorkers",
    "Lost",
    "Reply",
    "Saved",
    "Workers",
    "warm",
]
