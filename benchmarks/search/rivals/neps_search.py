"""NePS' PriorBand (Mallik et al., 2023), driven by `AskAndTell` with NePS' own defaults.

Forms: `priorband+default`, `priorband+good`, `priorband+wrong`, by the table's priors. A numeric
prior is a normal distribution around its value, cut off at the range's ends. The confidence is
"high", a standard deviation of a quarter of the range: that of the paper's experiments.

NePS numbers a configuration once and each of its rungs as a trial of its own. Here it is one
trial, which is paused at each rung and goes on when NePS promotes it. NePS is told the value of
the rung's last epoch; a diverged trial is told as a crash, which is never promoted.
"""

import logging
import math

import torch
from neps import AskAndTell, algorithms
from neps.space import HPOCategorical, HPOFloat, HPOInteger, SearchSpace

from benchmarks.search.contract import Answer, Method, NewTrial, PausedTrial, Setting
from benchmarks.search.rivals.library_spaces import (
    GlobalRandom,
    choice_texts,
    decoded,
    encoded,
    searched,
)
from benchmarks.search.spaces import Params, TableParameter

EPOCHS = "epochs_of_trial"

logging.getLogger("neps").setLevel(logging.ERROR)


def build(form: str, setting: Setting) -> Method:
    """Raises ValueError for an unknown form, or a prior that the table lacks."""
    algorithm, _, prior = form.partition("+")
    if algorithm != "priorband":
        raise ValueError(f"neps has no method {form!r}; there is: priorband+PRIOR")
    if prior not in setting.priors:
        known = ", ".join(setting.priors) or "none"
        raise ValueError(f"neps:{form}: the table has no prior {prior!r}; it has: {known}")
    return PriorBandSearch(setting, setting.priors[prior])


class PriorBandSearch:
    """`prior`: a configuration; parameters that it lacks are sampled uniformly."""

    def __init__(self, setting: Setting, prior: Params) -> None:
        self._space = setting.space
        self._max_epochs = setting.max_epochs
        # NePS draws from PyTorch's global generator too.
        mine = torch.Generator().manual_seed(setting.seed).get_state()
        others = torch.get_rng_state()
        torch.set_rng_state(mine)
        self._random = GlobalRandom(setting.seed, torch.get_rng_state, torch.set_rng_state)
        torch.set_rng_state(others)
        parameters = {p.name: _parameter(p, prior) for p in searched(setting.space)}
        parameters[EPOCHS] = HPOInteger(1, setting.max_epochs, is_fidelity=True)
        with self._random:
            self._neps = AskAndTell(algorithms.priorband(SearchSpace(parameters)))
        self._running: dict[int, str] = {}  # our trial: NePS' trial
        self._until: dict[int, int] = {}  # our trial: the epoch of its rung
        self._known: set[int] = set()

    def ask(self) -> NewTrial | PausedTrial | None:
        with self._random:
            proposed = self._neps.ask()
        number = int(proposed.id.partition("_")[0])
        self._running[number] = proposed.id
        self._until[number] = int(proposed.config[EPOCHS])
        if number in self._known:
            return PausedTrial(number)
        self._known.add(number)
        return NewTrial(number, decoded(self._space, proposed.config))

    def report(self, trial: int, epoch: int, value: float) -> Answer:
        if epoch < self._until[trial]:
            return Answer.GO_ON
        self._neps.tell(self._running.pop(trial), float(value))
        return Answer.GO_ON if epoch >= self._max_epochs else Answer.PAUSE

    def finished(self, trial: int, value: float) -> None:
        if math.isnan(value):
            self._neps.tell(self._running.pop(trial), ArithmeticError("diverged"))


def _parameter(parameter: TableParameter, prior: Params) -> HPOCategorical | HPOFloat | HPOInteger:
    value = encoded(parameter, prior[parameter.name]) if parameter.name in prior else None
    if parameter.kind == "categorical":
        return HPOCategorical(choice_texts(parameter), prior=value, prior_confidence="high")
    kind = HPOInteger if parameter.kind == "int" else HPOFloat
    return kind(
        parameter.low, parameter.high, log=parameter.log, prior=value, prior_confidence="high"
    )
