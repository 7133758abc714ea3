"""SQL -> MLflow: a view of a study that can be rebuilt at any time, in a process of its own.

Importing this package does not import MLflow. Only functions that remove or move runs import it.
"""

from tuner.tracking.moved_store import move_store
from tuner.tracking.process import Delivered, TrackerProcess, start_tracker
from tuner.tracking.sync import Removed, remove_study

__all__ = [
    "Delivered",
    "Removed",
    "TrackerProcess",
    "move_store",
    "remove_study",
    "start_tracker",
]
