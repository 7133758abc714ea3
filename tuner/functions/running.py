"""The runner of each kind of function that trains by itself."""

from tuner.functions.calls import Runner
from tuner.functions.objective_trial import run_objective
from tuner.functions.training_trial import run_training
from tuner.search_space.function_kinds import FunctionKind

RUNNERS: dict[FunctionKind, Runner] = {
    FunctionKind.TRAIN: run_training,
    FunctionKind.OBJECTIVE: run_objective,
}
