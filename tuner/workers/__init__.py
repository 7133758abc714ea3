"""Where trials run. Nothing here imports TensorFlow: training is named by an entry point."""

from tuner.workers.base import BACK_ENDS, BackEnd, EntryPoint, Session, Workers, back_end

__all__ = ["BACK_ENDS", "BackEnd", "EntryPoint", "Session", "Workers", "back_end"]
