"""Tries a user's `build_model(hp)` or HyperModel before a study of it is created: one short trial
with the defaults on a few rows, models with random values, saving and loading."""

import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tuner.errors import NetworkError
from tuner.networks.custom import CustomNetwork, model_problems
from tuner.search_space.parameter_types import Params
from tuner.search_space.parameters import OWN_MODEL, catalogue
from tuner.study.messages import Distribution, Event, Reply, TrialRequest
from tuner.training.fit_trial import FitTrial
from tuner.training.hypermodels import HyperModel, load_hypermodel
from tuner.training.hyperparameters import Ask, HyperParameter, HyperParameters, default_of
from tuner.training.network_check import error_line
from tuner.training.trial import Trainer
from tuner.training.trial_builds import TrialBuilds, Tried
from tuner.values import join_names, word

# Models with random values, after the one with the defaults.
_RANDOM_MODELS = 5
_ONE_EPOCH: Params = {"epochs": 1, "batch_size": 8}


def check_hypermodel(
    network: CustomNetwork, request: TrialBuilds, tell: Callable[[str], None] = lambda text: None
) -> Tried:
    """Raises NetworkError, in one line, for what a search would fail on."""
    return _HyperModelTrial(network, request, tell).run()


class _HyperModelTrial:
    """`_asked`: what the function has asked for, in this model, with its values."""

    def __init__(
        self, network: CustomNetwork, request: TrialBuilds, tell: Callable[[str], None]
    ) -> None:
        self._network, self._request, self._tell = network, request, tell
        self._where = f"{network.path}:{network.function}"
        self._params = request.configurations[0] if request.configurations else {}
        self._asked: dict[str, Any] = {}
        self._known: set[str] = set()

    def run(self) -> Tried:
        with self._step("reads the file", "cannot be loaded"):
            hypermodel = load_hypermodel(self._network)
        self._try_trial(hypermodel)
        draw = random.Random(0)
        models = 1
        while models <= _RANDOM_MODELS:
            self._build(
                hypermodel, lambda hyperparameter: random_value(hyperparameter.distribution, draw)
            )
            models += 1
        self._check_fixed()
        return Tried(models, self._warnings())

    def _noting(self, ask: Ask) -> Ask:
        self._asked = {}

        def note(hyperparameter: HyperParameter) -> Any:
            value = self._asked[hyperparameter.name] = ask(hyperparameter)
            self._known.add(hyperparameter.name)
            return value

        return note

    def _build(self, hypermodel: HyperModel, ask: Ask) -> Any:
        hp = HyperParameters(self._noting(ask))
        with self._step("builds", "raises"):
            model = hypermodel.make_model(hp, self._request.dataset)
        if problem := next(model_problems(model), None):
            raise self._refusal(problem)
        return model

    def _try_trial(self, hypermodel: HyperModel) -> None:
        """A trial of one epoch with the defaults, from its parameters to its saved network."""
        dataset = self._request.dataset
        self._build(hypermodel, default_of)
        plan = hypermodel.plan(self._params, dataset, self._noting(default_of))
        request = TrialRequest(self._where, self._params | _ONE_EPOCH, 0, self._request.goal)
        trial = FitTrial(Trainer(dataset, network=self._network), request, plan)
        with self._step("trains", "cannot be trained"):
            trial.run(_go_on)
        file = self._request.folder / "network.keras"
        with self._step("saves", "the network cannot be saved"):
            trial.program.exported().save(file)
        with self._step("loads", "the saved network cannot be loaded"):
            keras.saving.load_model(file)

    def _check_fixed(self) -> None:
        fixed = [name for name in self._request.own if name not in self._known]
        if fixed:
            raise NetworkError(
                f"{self._where} asks for no {join_names(fixed)}, which the study fixes; it asks "
                f"for {join_names(sorted(self._known))}"
            )

    def _warnings(self) -> tuple[str, ...]:
        loop = sorted(self._known.intersection(catalogue(OWN_MODEL)))
        if not loop:
            return ()
        return (
            f"{self._where}: asks for {join_names(loop)} itself; what it gives to model.fit holds",
        )

    def _refusal(self, text: str) -> NetworkError:
        return NetworkError(f"{self._where}{self._configuration()}: {text}")

    def _configuration(self) -> str:
        values = ", ".join(f"{name}={word(value)}" for name, value in self._asked.items())
        return f" with {values}" if values else ""

    @contextmanager
    def _step(self, doing: str, failing: str) -> Iterator[None]:
        """Say what is done; errors of the user's code become one line."""
        self._tell(f"{doing} {self._where}")
        try:
            yield
        except NetworkError as error:
            text = str(error).removeprefix(self._where).removeprefix(":").strip()
            raise self._refusal(text) from error
        except Exception as error:
            raise self._refusal(f"{failing}{self._line(error)}: {error_line(error)}") from error

    def _line(self, error: Exception) -> str:
        """Where in the user's file it was raised."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f.lineno for f in frames if f.filename.endswith(self._network.path)]
        return f" (line {lines[-1]})" if lines else ""


def _go_on(event: Event) -> Reply:
    return Reply()


def random_value(distribution: Distribution, draw: random.Random) -> Any:
    """A value that a parameter may be given."""
    if distribution.kind == "categorical":
        return draw.choice(distribution.choices)
    low, high, step = distribution.low, distribution.high, distribution.step
    assert low is not None and high is not None
    if distribution.kind == "int" or step is not None:
        step = step or 1
        count = int(np.floor((high - low) / step + 1e-8)) + 1
        value = low + step * draw.randrange(count)
        return int(value) if distribution.kind == "int" else float(value)
    if distribution.log:
        return float(np.exp(draw.uniform(np.log(low), np.log(high))))
    return draw.uniform(low, high)
