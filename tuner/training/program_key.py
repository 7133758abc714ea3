"""Which program can train a trial. A shared program trains the different structures of a study; a
program of the Keras engine trains those of one structure.

What either does with a parameter follows from its role. TensorFlow is not imported here: a loop
asks which worker already has a trial's program, and `space show` which engine would train.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.search_space import Space
from tuner.search_space.parameter_types import Parameter, Role
from tuner.search_space.parameters import (
    NETWORKS,
    catalogue,
    parameters_with,
    training_only_names,
    training_parameters,
)
from tuner.study.engines import FIT
from tuner.study.messages import TrialRequest
from tuner.values import Scalar, word

# What a shared program does with the parameters of each role.
# One value in the program: another value is another program.
FIXED_ROLES = (Role.STRUCTURE, Role.PRECISION)
CHOICE_ROLES = (Role.CHOICE,)  # every form that a trial of the study may choose is in the program
OPERATION_ROLES = (  # in it if a trial may have them
    Role.SWITCH, Role.SCALAR, Role.DROPOUT, Role.ROW_WEIGHT,
)  # fmt: skip
INPUT_ROLES = (Role.SIZE,)  # sizes of arrays that it is given
HOST_ROLES = (Role.SCHEDULE, Role.LOOP, Role.INIT)  # used outside of it, before or between steps

# The network that the shared programs train, and the numbers that their steps read, 0 if unset.
SHARED_NETWORK = "mlp"
NUMBERS = tuple(parameters_with(SHARED_NETWORK, Role.SCALAR))


@dataclass(frozen=True)
class ProgramKey:
    """Names a shared program: trials with equal keys can be trained by one program.

    `fixed`: parameters with the one value that they have in the program. `choices`: by parameter,
    the forms that a trial can choose from. `included`: the operations in the program, named by
    their parameters; of these, `always` are those that every trial has.
    """

    fixed: tuple[tuple[str, Any], ...]
    choices: tuple[tuple[str, tuple[str, ...]], ...]
    included: frozenset[str]
    always: frozenset[str]

    def __getitem__(self, name: str) -> Any:
        """The value of a fixed parameter, None if the trial does not have it."""
        return dict(self.fixed).get(name)

    @property
    def depth(self) -> int:
        return int(self["depth"])

    @property
    def weighs_rows(self) -> bool:
        """Whether a trial may give rows of one class more weight than others."""
        return not self.included.isdisjoint(training_parameters(Role.ROW_WEIGHT))

    @property
    def activations(self) -> tuple[str, ...]:
        return dict(self.choices)["activation"]

    @property
    def optimizers(self) -> tuple[str, ...]:
        return dict(self.choices)["optimizer"]


def slower_engine_reason(network: str, params: Mapping[str, Any]) -> str | None:
    """Why only the Keras engine can train a trial with these params, worded to follow "because";
    None if a shared program can, which is faster."""
    kind = NETWORKS.get(network)
    if kind is None:
        return "the network is not one of tuner's own"
    if not kind.has_shared_program:
        return f"network {network} has no shared program"
    parameters = catalogue(network)
    for name, value in params.items():
        if name not in parameters:
            return f"parameter {name} is in no shared program"
        if parameters[name].needs_keras(value):
            value_text = ", ".join(map(word, value if isinstance(value, list) else [value]))
            return f"{name} {value_text} has no shared program"
    return None


def engine_reason(engine: str | None, network: str, params: Mapping[str, Any]) -> str | None:
    """Why a trial was trained by this engine, worded to follow "because"; None if it is the usual
    one."""
    if engine == FIT:
        return f"{network.rpartition(':')[2]} returns a compiled model"
    return slower_engine_reason(network, params)


def slower_space_reason(space: Space) -> str | None:
    """The same for all trials of a space; None too where a user's function trains them. Of single
    values that it searches, the rows of `space show` have notes."""
    if space.function_kind.trains:
        return None
    constants = {
        name: declared
        for name, declared in space.parameters.items()
        if isinstance(declared, bool | int | float | str)
    }
    return slower_engine_reason(space.network, constants)


def program_key_of(request: TrialRequest) -> ProgramKey | None:
    """The key of the program that can train this trial and the other trials of its study. None if
    the trial needs a program of its own."""
    if request.engine != "auto" or slower_engine_reason(request.network, request.params):
        return None
    values = _StudyValues(request)
    included, always = set[str](), set[str]()
    for parameter in _optional_operations(request.network):
        has_it = [parameter.is_used(value) for value in values.of(parameter)]
        if any(has_it) or not values.are_known(parameter):
            included.add(parameter.name)
        if all(has_it) and not values.form_parents(parameter):
            always.add(parameter.name)
    return ProgramKey(
        fixed=tuple(
            (name, request.params[name])
            for name in parameters_with(request.network, *FIXED_ROLES)
            if name in request.params
        ),
        choices=tuple(
            (name, values.forms_of(parameter))
            for name, parameter in parameters_with(request.network, *CHOICE_ROLES).items()
        ),
        included=frozenset(included),
        always=frozenset(always),
    )


def program_key(request: TrialRequest) -> str:
    """A text equal for requests that one program can train; empty if each needs its own."""
    key = program_key_of(request)
    return "" if key is None else repr(key)


def _optional_operations(network: str) -> list[Parameter]:
    """The parameters whose operations a shared program has only if a trial may use them."""
    return [
        parameter
        for parameter in parameters_with(network, *OPERATION_ROLES).values()
        if parameter.is_optional and parameter.keras_only is not True
    ]


class _StudyValues:
    """What the trials of a request's study may have."""

    def __init__(self, request: TrialRequest) -> None:
        self._params, self._choices = request.params, request.choices
        self._parameters = catalogue(request.network)

    def of(self, parameter: Parameter) -> list[Any]:
        """The trial's own value, 0 if unset, and those of other trials."""
        return [self._params.get(parameter.name, 0), *self._choices.get(parameter.name, ())]

    def forms_of(self, parameter: Parameter) -> tuple[str, ...]:
        """The forms that trials may choose, apart from those that only the Keras engine has."""
        name = parameter.name
        own = (self._params[name],) if name in self._params else ()
        forms = {*own, *self._choices.get(name, ())}
        return tuple(sorted(form for form in forms if not parameter.needs_keras(form)))

    def form_parents(self, parameter: Parameter) -> dict[str, tuple[Scalar, ...]]:
        """The forms with which the parameter exists, if it exists only with some: momentum, with
        the optimizer sgd."""
        return {
            name: forms
            for name, forms in parameter.when.items()
            if self._parameters[name].role in CHOICE_ROLES
        }

    def are_known(self, parameter: Parameter) -> bool:
        """Whether the request tells what other trials have. A trial of another optimizer does not
        tell the momentum of those with sgd, unless it varies."""
        return parameter.name in self._choices or all(
            {*self.forms_of(self._parameters[name])} <= {*forms}
            for name, forms in self.form_parents(parameter).items()
        )


def structure_key(network: str, params: Mapping[str, Any]) -> str:
    """A text equal for exactly those params that can share one program of the Keras engine.
    `network`: a shipped one's name, or the identity of a user's own.

    Numbers that the step reads, rates, weights of rows, and how weights are drawn do not affect
    compilation; whether a number or rate is above zero, and whether rows have weights, does. To a
    user's own network, only the training's parameters mean what the catalogue says.
    """
    ignored = set(training_only_names())
    kind = NETWORKS.get(network)
    if kind is not None:
        ignored |= parameters_with(network, Role.SCALAR, Role.DROPOUT, Role.INIT).keys()
    structure = {name: value for name, value in params.items() if name not in ignored}
    if kind is not None:
        structure["dropout_layers"] = [rate > 0 for rate in kind.dropout_rates(params)]
    present = [
        name
        for name, parameter in training_parameters(Role.SCALAR, Role.ROW_WEIGHT).items()
        if parameter.is_used(params.get(name, 0))
    ]
    return json.dumps([network, structure, present], sort_keys=True)
