"""Where trials run. The training entry point is named by string: nothing here imports it."""

from tuner.execution.local import LocalWorkers, warm
from tuner.execution.protocol import Checkpointed, EntryPoint, Lost, Reply, Saved, Workers

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
