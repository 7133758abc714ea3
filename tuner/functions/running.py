"""The runner of each kind of function that trains by itself."""

from tuner.functions.calls import Runner
from tuner.functions.training_trial import run_training
from tuner.search_space.function_kinds import FunctionKind

RUNNERS: dict[FunctionKind, Runner] = {FunctionKind.TRAIN: run_training}
