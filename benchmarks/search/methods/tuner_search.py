"""tuner's own samplers and pruners, told as the loop tells them: `tuner:SAMPLER+PRUNER`.

Both stand by the names of `--sampler` and `--pruner`, with options in brackets:
`tuner:tpe(n_startup_trials=20)+hyperband(reduction_factor=4)`. `+patience` behind them ends a trial
early after five epochs without a better value, as the shipped search spaces do.
"""

import ast
import inspect
import math
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import optuna
from optuna.trial import TrialState

from benchmarks.search.contract import Answer, Setting
from benchmarks.search.methods.optuna_search import OptunaSearch
from benchmarks.search.spaces import Params, TableParameter, TableSpace
from tuner.algorithms import pruners, samplers
from tuner.algorithms.options import parse_options
from tuner.algorithms.pruners import PRUNERS, PrunerKind, make_pruner, rungs
from tuner.algorithms.samplers import SAMPLERS, SamplerKind, make_sampler
from tuner.errors import TunerError
from tuner.search_space import Space
from tuner.search_space.function_kinds import FunctionKind
from tuner.study.spec import Choice

PATIENCE = 5
_CHOICE = re.compile(r"([\w-]+)(?:\((.*)\))?")


class TunerSearch(OptunaSearch):
    """As `runner/` drives a study, without its database: Optuna is told running bests (raw values
    for pruners that read those), and a trial that diverges is told pruned and infeasible."""

    def __init__(
        self, setting: Setting, sampler: Choice, pruner: Choice, patience: int | None = None
    ) -> None:
        self.space = tuner_space(setting.space)
        self._pruner, self._patience = pruner, patience
        self._best: dict[int, float] = {}
        self._best_epoch: dict[int, int] = {}
        super().__init__(
            setting,
            make_sampler(sampler, self.space, setting.seed, loop=0),
            make_pruner(pruner, setting.max_epochs, "minimize"),
        )

    def suggest(self, trial: optuna.Trial) -> Params:
        self.space.sample(trial)
        return dict(trial.params)

    def report(self, trial: int, epoch: int, value: float) -> Answer:
        if value < self._best.get(trial, math.inf):
            self._best[trial], self._best_epoch[trial] = value, epoch
        answer = super().report(trial, epoch, value)
        if answer is Answer.GO_ON and self._is_out_of_patience(trial, epoch):
            self._fill_rungs(trial, epoch)
            self.end(trial, TrialState.COMPLETE, self._best[trial])
            return Answer.STOP
        return answer

    def told_value(self, trial: int, value: float) -> float:
        return value if PRUNERS[self._pruner.name].reads_raw else self._best[trial]

    def tell_diverged(self, trial: int) -> None:
        self.running[trial].set_constraint("feasible", 1.0)
        self.end(trial, TrialState.PRUNED)

    def _is_out_of_patience(self, trial: int, epoch: int) -> bool:
        if self._patience is None or epoch == self._setting.max_epochs:
            return False
        return epoch - self._best_epoch[trial] >= self._patience

    def _fill_rungs(self, trial: int, epoch: int) -> None:
        """As `TrialPruning.fill_rungs`: later trials are compared with this one's score."""
        kind = PRUNERS[self._pruner.name]
        if kind.reads_raw:
            return
        for step in rungs(self._pruner, self._setting.max_epochs, 1):
            if step > epoch:
                self.running[trial].report(self._best[trial], step)
                if kind.keeps_rungs:
                    self.running[trial].should_prune()


def tuner_space(space: TableSpace) -> Space:
    """The table's space as one of tuner's, in which a function of the user's trains, so that any
    name and range will do."""
    content = {
        "network": "bench.py:train",
        "parameters": {parameter.name: _declaration(parameter) for parameter in space.parameters},
    }
    return Space.model_validate(content, context={"function_kind": FunctionKind.TRAIN})


def _declaration(parameter: TableParameter) -> dict[str, object]:
    declared: dict[str, object] = {"type": parameter.kind}
    if parameter.kind == "categorical":
        declared["choices"] = list(parameter.choices)
    else:
        whole = parameter.kind == "int"
        declared["low"] = int(parameter.low) if whole else parameter.low
        declared["high"] = int(parameter.high) if whole else parameter.high
        declared["log"] = parameter.log
    if parameter.condition is not None:
        name, values = parameter.condition
        declared["when"] = {name: list(values)}
    return declared


def parse_choice(text: str) -> Choice:
    """`tpe(n_startup_trials=20)` as a sampler or pruner. Raises ValueError."""
    match = _CHOICE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no NAME or NAME(OPTION=VALUE,…)")
    name, options = match.groups()
    words = options.split(",") if options else []
    try:
        return Choice(name=name, options=parse_options(words, flag="an option"))
    except TunerError as error:
        raise ValueError(str(error)) from error


def parse_form(form: str) -> tuple[Choice, Choice, int | None]:
    """Sampler, pruner and patience. Raises ValueError."""
    parts = re.split(r"\+(?![^(]*\))", form)
    patience = PATIENCE if parts[-1] == "patience" else None
    choices = [parse_choice(part) for part in (parts[:-1] if patience else parts)]
    if not 1 <= len(choices) <= 2:
        raise ValueError(f"tuner:{form} is not tuner:SAMPLER+PRUNER")
    return choices[0], choices[1] if len(choices) == 2 else Choice(name="none"), patience


def code_of(form: str) -> str:
    """The code of this sampler and this pruner alone, with their settings: other ones that are
    added or changed leave stored results as they are."""
    sampler, pruner, _ = parse_form(form)
    kinds = [SAMPLERS.get(sampler.name), PRUNERS.get(pruner.name)]
    return "\n".join(_code_of_kind(kind) for kind in kinds if kind is not None)


def _code_of_kind(kind: SamplerKind | PrunerKind) -> str:
    module = inspect.getmodule(kind.build)
    if module is None or not module.__name__.startswith("tuner."):
        return f"{kind.build.__name__} {dict(kind.settings)}"
    shared = module.__name__ in (samplers.__name__, pruners.__name__)
    text = inspect.getsource(kind.build) if shared else "\n".join(_module_texts(module, set()))
    return f"{text} {dict(kind.settings)}"


def _module_texts(module: ModuleType, seen: set[str]) -> Iterator[str]:
    """The module, and those of tuner/algorithms that it imports."""
    seen |= {module.__name__, samplers.__name__, pruners.__name__}
    text = inspect.getsource(module)
    yield text
    for node in ast.walk(ast.parse(text)):
        name = node.module if isinstance(node, ast.ImportFrom) else None
        if name is not None and name.startswith("tuner.algorithms.") and name not in seen:
            yield from _module_texts(import_module(name), seen)


def build(form: str, setting: Setting) -> TunerSearch:
    sampler, pruner, patience = parse_form(form)
    search = TunerSearch
    if pruner.name in PRUNERS and PRUNERS[pruner.name].pauses:
        from benchmarks.search.methods.paused_search import PausedSearch  # which is a TunerSearch

        search = PausedSearch
    try:
        return search(setting, sampler, pruner, patience)
    except TunerError as error:
        raise ValueError(f"tuner:{form}: {error}") from error
