"""SQL -> MLflow: a picture of a study that can be drawn again at any time, in a process of its own.

What is imported here knows no MLflow; `tuner.tracking.removal` and `tuner.tracking.mirror` do.
"""

from tuner.tracking.process import (
    Delivered,
    LogModels,
    TrackerProcess,
    run_link,
    start_tracker,
)

__all__ = ["Delivered", "LogModels", "TrackerProcess", "run_link", "start_tracker"]
