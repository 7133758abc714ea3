"""KerasTuner's `build_model(hp)` and HyperModels: each parameter is asked for while the model is
built, and Keras' `fit` trains what comes of it. KerasTuner itself is not needed."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.data import Dataset
from tuner.errors import NetworkError
from tuner.networks.custom import CustomNetwork, NetworkFile
from tuner.search_space.parameter_types import Params
from tuner.search_space.parameters import OWN_MODEL, catalogue
from tuner.study.messages import Stopped, Suggest, Tell, TrialRequest
from tuner.training.fit_trial import FitPlan
from tuner.training.hyperparameters import Ask, HyperParameter, HyperParameters
from tuner.values import Scalar

# What Python says where a call of the user's names an argument that `**kwargs` holds too.
_GIVEN_TWICE = re.compile(r"multiple values for (?:keyword )?argument '(\w+)'")
# Without these a trial would not report, or would train on nothing.
_NEEDED = ("callbacks", "x", "y")


def asking(tell: Tell) -> Ask:
    """Asks the loop for each parameter. One name under several conditions may have ranges that
    Optuna cannot keep under one name: the later one has its conditions in its name then."""

    def ask(parameter: HyperParameter) -> Scalar:
        problem: str | None = None
        for name in dict.fromkeys((parameter.name, parameter.full_name)):
            reply = tell(Suggest(name, parameter.distribution))
            if reply.stop:
                raise Stopped
            if reply.problem is None and reply.value is not None:
                return reply.value
            problem = problem or reply.problem
        raise NetworkError(f"hp.{parameter.kind}({parameter.name!r}): {problem}")

    return ask


def fixing(values: Mapping[str, Any], ask: Ask) -> Ask:
    """Gives the parameters that the study fixes (--set) their values, and asks for the others."""
    own = {name: value for name, value in values.items() if name not in catalogue(OWN_MODEL)}

    def give(parameter: HyperParameter) -> Scalar:
        return own[parameter.name] if parameter.name in own else ask(parameter)

    return give


@dataclass(frozen=True)
class HyperModel:
    """A user's function, or an instance of a HyperModel. As in KerasTuner, it is made once for all
    trials of a worker. `where`: its name in messages."""

    file: NetworkFile
    where: str
    build: Callable[[Any], Any]
    declare: Callable[[Any], None] | None = None
    own_fit: Callable[..., Any] | None = None

    def plan(self, params: Params, dataset: Dataset, ask: Ask) -> FitPlan:
        """How a trial is trained whose parameters come from `ask`; `params`: those of the study.
        Errors of the user's code pass through; NetworkError for a model that does not fit."""
        hp = HyperParameters(fixing(params, ask))

        def make_model() -> Any:
            return self.make_model(hp, dataset)

        own_fit = self.own_fit
        identity = self.file.network.identity
        if own_fit is None:
            return FitPlan(make_model, identity)

        def fit(model: Any, x: Any, y: Any, **arguments: Any) -> Any:
            with self.file.surroundings.on_path():
                return call_fit(own_fit, hp, model, x, y, arguments)

        return FitPlan(make_model, identity, fit=fit)

    def make_model(self, hp: HyperParameters, dataset: Dataset) -> Any:
        """The compiled model. Raises NetworkError for anything else."""
        with self.file.surroundings.on_path():  # a function may import when it is called
            if self.declare is not None:
                self.declare(hp)
            model = self.build(hp)
        model = self.file.network.checked(model, dataset.input_shape, dataset.outputs)
        if not getattr(model, "compiled", False):
            raise NetworkError(
                f"{self.where} returns a model that is not compiled; call model.compile(optimizer"
                "=…, loss=…, metrics=[…]) in it, as KerasTuner needs it"
            )
        return model


def load_hypermodel(network: CustomNetwork) -> HyperModel:
    """What the file has under the network's name: a function, a HyperModel, or a class of one.
    Raises NetworkError; errors of the user's code pass through."""
    where = f"{network.path}:{network.function}"
    file = network.run_file()
    definition: Any = getattr(file.module, network.function, None)
    if inspect.isclass(definition):
        definition = _instance(definition, where)
    if callable(getattr(definition, "build", None)):
        return HyperModel(
            file,
            where,
            definition.build,
            declare=getattr(definition, "declare_hyperparameters", None),
            own_fit=_own_fit(definition),
        )
    if callable(definition):
        return HyperModel(file, where, definition)
    raise NetworkError(f"{network.path}: no function or HyperModel {network.function!r}")


def _instance(hypermodel_class: type, where: str) -> Any:
    needed = [
        parameter.name
        for parameter in inspect.signature(hypermodel_class).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    if needed:
        raise NetworkError(
            f"{where} is made with {', '.join(needed)}: write an instance at the top of the file, "
            f"such as hypermodel = {hypermodel_class.__name__}(…), and name that: "
            f"{where.partition(':')[0]}:hypermodel"
        )
    return hypermodel_class()


def _own_fit(hypermodel: Any) -> Callable[..., Any] | None:
    """Its `fit`, unless it is KerasTuner's, which calls `model.fit`."""
    fit = getattr(type(hypermodel), "fit", None)
    is_own = fit is not None and not fit.__module__.startswith("keras_tuner.")
    return hypermodel.fit if is_own else None


def call_fit(
    fit: Callable[..., Any],
    hp: HyperParameters,
    model: Any,
    x: Any,
    y: Any,
    arguments: Mapping[str, Any],
) -> Any:
    """What `fit(hp, model, x, y, **arguments)` returns. Arguments that it does not take are left
    out, and so are those that it gives to `model.fit` itself beside `**kwargs`: KerasTuner has them
    only where `search` was given them."""
    accepted = _accepted(fit, arguments)
    while True:
        try:
            return fit(hp, model, x, y, **accepted)
        except TypeError as error:
            twice = _GIVEN_TWICE.search(str(error))
            if twice is None or twice[1] in _NEEDED or accepted.pop(twice[1], None) is None:
                raise


def _accepted(fit: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(fit).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return dict(arguments)
    return {name: value for name, value in arguments.items() if name in parameters}


def plan_of_hypermodel(
    hypermodel: HyperModel, request: TrialRequest, dataset: Dataset, tell: Tell
) -> FitPlan:
    """How a worker trains a trial, with the loop's values for what it asks for."""
    return hypermodel.plan(request.params, dataset, asking(tell))
