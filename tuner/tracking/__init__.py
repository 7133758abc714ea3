"""SQL -> MLflow: a picture of a study that can be drawn again at any time, in a process of its own.

What is imported here imports MLflow when it is called, and only to take runs away.
"""

from tuner.tracking.moved_store import move_store
from tuner.tracking.process import Delivered, TrackerProcess, run_link, start_tracker
from tuner.tracking.sync import Removed, remove_study

__all__ = [
    "Delivered",
    "Removed",
    "TrackerProcess",
    "move_store",
    "remove_study",
    "run_link",
    "start_tracker",
]
