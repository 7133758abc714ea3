"""The search space: what a file declares, checked as a whole, and what a study asks of it."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tuner.errors import SpaceError
from tuner.search_space import enumeration
from tuner.search_space.checks import (
    explain_validation_error,
    fit_to_catalogue,
    format_mistake,
    mapping_as_text,
    settle_conditions,
    settle_value,
    unknown_parameter_text,
)
from tuner.search_space.configurations import (
    SamplingOrder,
    check_value,
    flatten_configuration,
    make_order,
    override_parameters,
    without_conflicts,
)
from tuner.search_space.enumeration import (
    corner_configurations,
    list_baselines,
    list_grid,
    possible_values,
    random_configurations,
)
from tuner.search_space.function_kinds import FunctionKind, kind_of_network
from tuner.search_space.nodes import Node, format_conditions, format_in_sentence, largest_number
from tuner.search_space.parameter_types import Parameter, Params, format_value, sort_by_similarity
from tuner.search_space.parameters import NETWORKS, catalogue, catalogue_key, settled_defaults
from tuner.search_space.ranges import (
    Choices,
    Declaration,
    FloatRange,
    IntRange,
    InvalidError,
    Range,
    Suggests,
    check_scalar,
)
from tuner.search_space.transfer import Transferred, transfer_configuration
from tuner.values import SWITCH_TEXTS, Scalar

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

OWN_NETWORK = re.compile(r"[^\0\n]+\.py:[^\W\d]\w*")

Configuration = dict[str, Scalar | list[Scalar]]

# Keys of the validation context: a study's stored defaults, and what kind of function its own
# network is.
_DEFAULTS = "defaults"
_KIND = "function_kind"


def _check_network(value: object) -> object:
    if isinstance(value, str) and value not in NETWORKS and not OWN_NETWORK.fullmatch(value):
        networks = ", ".join(sort_by_similarity(value, NETWORKS))
        raise InvalidError(
            f"must be one of {networks}, or file.py:function; got {format_value(value)}"
        )
    return value


class Row(NamedTuple):
    """A line of `tuner space show`."""

    name: str
    kind: str
    range: str
    condition: str
    note: str


class Space(BaseModel):
    """A checked search space. Equal spaces have equal JSON, which a study stores.

    Make one with `load_space`, `parse_space` or `make_space`, which raise SpaceError; the plain
    constructor raises pydantic's ValidationError.

    A study's own space has the defaults of the time when the study was made (`keeping`), which the
    StudySpec stores beside it, as it stores the kind of a user's own function. Any other space has
    the catalogue's present defaults, and the kind that the function's file shows.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", defer_build=True, title="tuner search space"
    )

    network: Annotated[str, BeforeValidator(_check_network)]
    parameters: dict[str, Declaration]
    baselines: tuple[
        dict[
            str,
            Annotated[
                Scalar | list[Scalar],
                PlainValidator(check_value, json_schema_input_type=Scalar | list[Scalar]),
            ],
        ],
        ...,
    ] = ()
    _stored_defaults: dict[str, Scalar] | None = PrivateAttr(None)
    _function_kind: FunctionKind = PrivateAttr(FunctionKind.BUILD)

    @field_validator("parameters", mode="before")
    @classmethod
    def _settle_mappings(cls, parameters: object) -> object:
        return _with_texts(parameters)

    @field_validator("baselines", mode="before")
    @classmethod
    def _settle_baseline_mappings(cls, baselines: object) -> object:
        if not isinstance(baselines, list | tuple):
            return baselines
        texts = []
        for number, baseline in enumerate(baselines):
            try:
                texts.append(_with_texts(baseline))
            except InvalidError as wrong:
                raise wrong.under(number) from None
        return texts

    @field_validator("parameters")
    @classmethod
    def _fit(
        cls, parameters: dict[str, Range | Scalar], info: ValidationInfo
    ) -> dict[str, Range | Scalar]:
        """Check each parameter against the catalogue; cast its values to the catalogue's types."""
        network = _catalogue_key(info)
        fitted, mistakes = {}, []
        for name, declared in parameters.items() if network else ():
            try:
                fitted[name] = fit_to_catalogue(str(network), name, declared)
            except InvalidError as wrong:
                mistakes.append(wrong)
        if mistakes:
            mistakes[0].more = len(mistakes) - 1
            raise mistakes[0]
        return {
            name: declared
            if isinstance(declared, Scalar)
            else settle_conditions(str(network), fitted, declared)
            for name, declared in fitted.items()
        }

    @field_validator("baselines")
    @classmethod
    def _settle_baselines(
        cls, baselines: tuple[Configuration, ...], info: ValidationInfo
    ) -> tuple[Configuration, ...]:
        network, parameters = _catalogue_key(info), info.data.get("parameters")
        if network is None or parameters is None:
            return baselines
        return tuple(
            {
                name: value
                if isinstance(value, list)
                else settle_value(network, parameters, name, value)
                for name, value in baseline.items()
            }
            for baseline in baselines
        )

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        self._stored_defaults = (info.context or {}).get(_DEFAULTS)
        self._function_kind = _kind(info)
        try:
            order = self._order
        except InvalidError as wrong:
            raise wrong.under("parameters") from None
        for number, baseline in enumerate(self.baselines):
            try:
                flatten_configuration(order, baseline)
            except InvalidError as wrong:
                raise wrong.under("baselines", number) from None
        return self

    @cached_property
    def _order(self) -> SamplingOrder:
        return make_order(self.catalogue_key, self.parameters, self._stored_defaults)

    @property
    def function_kind(self) -> FunctionKind:
        """What a user's own network is: BUILD for networks of tuner too."""
        return self._function_kind

    @property
    def catalogue_key(self) -> str:
        """What `parameters.catalogue` takes for this space."""
        return catalogue_key(self.network, self._function_kind)

    @classmethod
    def keeping(
        cls,
        content: object,
        defaults: Mapping[str, Scalar],
        function_kind: FunctionKind = FunctionKind.BUILD,
    ) -> Self:
        """A space, or its JSON's content, with these defaults in place of the catalogue's present
        ones. A parameter that is not among them has no effect. Raises pydantic's
        ValidationError."""
        if isinstance(content, cls):
            if content.defaults == defaults and content.function_kind is function_kind:
                copy = content.model_copy()
                copy._stored_defaults = dict(defaults)
                return copy
            content = content._content()
        context = {_DEFAULTS: dict(defaults), _KIND: function_kind}
        return cls.model_validate(content, context=context)

    def of_kind(self, function_kind: FunctionKind) -> "Space":
        """The space with its function as this kind, which decides what its parameters may be.
        Raises SpaceError."""
        if function_kind is self._function_kind:
            return self
        return check_space(self._content(), function_kind)

    def _content(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}

    @property
    def defaults(self) -> dict[str, Scalar]:
        """The default of each parameter of the catalogue, including those that the space names."""
        return settled_defaults(self.catalogue_key, self._stored_defaults)

    def sample(self, trial: Suggests) -> Params:
        """A trial's parameters: constants, defaults, and the active ones as `trial` suggests
        them, parents before those that depend on them."""
        return self._order.resolve(lambda name, range_: range_.suggest(trial, name))

    def resolve(self, flat: Mapping[str, Scalar]) -> Params:
        """The parameters of a trial whose flat parameters Optuna stored: what `sample` gave, and
        what a function that defines its own space has asked for. Raises SpaceError when an active
        one is missing."""

        def stored(name: str, range_: Range) -> Scalar:
            if name not in flat:
                raise SpaceError(f"{name} has no value")
            if range_.refusal(flat[name]):
                raise SpaceError(f"{name} = {format_value(flat[name])} is no value of this space")
            return flat[name]

        resolved = self._order.resolve(stored)
        return {**resolved, **flat} if self._function_kind.defines_space else resolved

    def flatten(self, configuration: Mapping[str, object]) -> dict[str, Scalar]:
        """A configuration as a person writes it, checked and in Optuna's flat names, to be
        enqueued. `width: [64, 32]` has a value for each layer, `width: 64` one for all layers,
        `width_2: 32` one for layer 2. The sampler chooses what is left out. Of a function that
        defines its own space, names that the space does not know are what it will ask for. Raises
        SpaceError."""
        defines = self._function_kind.defines_space
        undeclared = [name for name in configuration if defines and not self.knows(name)]
        declared = {name: value for name, value in configuration.items() if name not in undeclared}
        try:
            own_values = {name: check_scalar(configuration[name]) for name in undeclared}
            return flatten_configuration(self._order, declared) | own_values
        except InvalidError as wrong:
            raise SpaceError(format_mistake(wrong)) from wrong

    def transfer(self, configuration: Mapping[str, object]) -> Transferred:
        """The nearest configuration of this space to one of another space, in flat names.
        Parameters are matched by name; what this space does not search is dropped."""
        return transfer_configuration(self._order, configuration)

    def point(self, flat: Mapping[str, Scalar]) -> dict[str, Scalar] | None:
        """Those of the flat parameters that are active together, each one searched: a point of
        the space. None where one is missing, or has a value that the space does not have."""
        active: dict[str, Scalar] = {}

        def stored(name: str, range_: Range) -> Scalar:
            if name not in flat or range_.refusal(flat[name]):
                raise SpaceError(f"{name} has no value of this space")
            active[name] = range_.canonical(flat[name])
            return active[name]

        try:
            self._order.resolve(stored)
        except SpaceError:
            return None
        return active

    def draw(self, generator: random.Random) -> dict[str, Scalar]:
        """A random point as flat parameters."""
        return enumeration.draw_point(self._order, generator)

    @property
    def can_repeat(self) -> bool:
        """Whether a repeated configuration is a wasted trial: two proposals can be equal, since no
        searched number without a step is part of every trial. False for a space of one
        configuration, which is searched only to train it with several seeds; and for a function
        that asks for its parameters itself, of which nothing is known beforehand."""
        if self._function_kind.defines_space or self.grid_size() == 1:
            return False
        return not any(
            node.range and node.range.size is None and not node.parents
            for node in self._order.order
        )

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All its parameters by name: searched ones in the file's order, constants, defaults."""
        return self._order.nodes

    def knows(self, name: str) -> bool:
        """Whether it is a parameter of the space, searched, constant or default."""
        return name in self._order.nodes

    def override(self, values: Mapping[str, object]) -> "Space":
        """The space with parameters fixed (`--set`): constants, searched ones, or defaults that
        it did not name. A value outside the file's own range is fine if the network takes it.
        What can no longer be active is dropped, from baselines too. Raises SpaceError."""
        try:
            stored = self._stored_defaults
            own = dict(self.parameters)
            parameters = override_parameters(self.catalogue_key, own, values, stored)
            changed = self._with(parameters)
        except InvalidError as wrong:
            raise SpaceError(format_mistake(wrong)) from wrong
        except ValidationError as error:
            raise SpaceError(
                format_mistake(explain_validation_error(error).without_first_key())
            ) from error
        baselines: list[Mapping[str, object]] = []
        for baseline in self.baselines:
            others = {name: value for name, value in baseline.items() if name not in values}
            fitting = without_conflicts(changed._order, others)
            if fitting and fitting not in baselines:
                baselines.append(fitting)
        return self._like(parameters, baselines)

    def _like(
        self, parameters: Mapping[str, Any], baselines: Sequence[Mapping[str, object]]
    ) -> "Space":
        try:
            return self._with(parameters, baselines)
        except ValidationError as error:
            raise SpaceError(format_mistake(explain_validation_error(error))) from error

    def _with(
        self, parameters: Mapping[str, Any], baselines: Sequence[Mapping[str, object]] = ()
    ) -> "Space":
        """Another space of the same network and the same defaults."""
        content = {"network": self.network, "parameters": parameters, "baselines": baselines}
        context = {_DEFAULTS: self._stored_defaults, _KIND: self._function_kind}
        return Space.model_validate(content, context=context)

    def only(self, configuration: Mapping[str, object]) -> "Space":
        """The space with one configuration as its only baseline; what a function asks for that
        defines its own space is constant in it. Raises SpaceError."""
        if self._function_kind.defines_space:
            return self.override(configuration)
        return self._like(self.parameters, [self.flatten(configuration)])

    def grid(self) -> Iterator[dict[str, Scalar]]:
        """Every point of the space once, as flat parameters, lazily and in a fixed order.
        Raises SpaceError for a space that has no finite grid (`grid_size` is None)."""
        if self.grid_size() is None:
            raise SpaceError(self.why_no_grid())
        return enumeration.grid_points(self._order)

    def grid_size(self) -> int | None:
        """How many points `grid` has; None if it is not finite, or too entangled to count."""
        return self._grid_size

    @cached_property
    def _grid_size(self) -> int | None:
        return enumeration.count_points(self._order)

    def configurations(self) -> list[dict[str, Scalar]]:
        """The configurations that the space names one by one, as flat parameters: its baselines
        or, if it has none, the points of its grid. Raises SpaceError if a baseline is not
        complete."""
        try:
            if self.baselines:
                return list_baselines(self._order, self.baselines)
            if (size := self.grid_size()) is not None:
                return list_grid(self._order, size)
        except InvalidError as wrong:
            raise SpaceError(format_mistake(wrong)) from wrong
        raise SpaceError(f"{self.why_no_grid()}; name configurations under baselines")

    def corners(self) -> Iterator[Params]:
        """The params of trials at the space's ends: the smallest and the largest corner, then every
        choice of each categorical parameter."""
        return corner_configurations(self._order)

    def random(self, count: int) -> Iterator[Params]:
        """The params of `count` random trials, always the same ones."""
        return random_configurations(self._order, count)

    def why_no_grid(self) -> str:
        """A sentence for a space whose `grid_size` is None."""
        floats = [n for n, s in self.parameters.items() if isinstance(s, FloatRange) and not s.size]
        if not floats:
            return "the space's conditions are too entangled to count its points"
        verb = "has" if len(floats) == 1 else "have"
        return f"the space has no finite grid, since {', '.join(floats)} {verb} no step"

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Optuna's distribution of every flat name, active or not."""
        flat = self._order.flat
        return {name: node.range.distribution() for name, (node, _) in flat.items() if node.range}

    def varying(self) -> list[str]:
        """The parameters that are searched, in the file's order."""
        return [node.name for node in self._order.nodes.values() if node.range]

    def numbers_of_training(self) -> dict[str, tuple[Parameter, Range]]:
        """The searched numbers, by flat name, that a trial can change while it trains: rates,
        penalties and the like. No other parameter depends on them."""
        parameters = catalogue(self.catalogue_key)
        parents = {parent for node in self._order.order for parent in node.parents}
        return {
            name: (parameters[node.name], node.range)
            for name, (node, _) in self._order.flat.items()
            if node.range is not None and node.name not in parents
            if node.name in parameters and parameters[node.name].can_change
        }

    def is_conditional(self) -> bool:
        """Whether some trials have parameters that others do not have."""
        layers = {node.repeat for node in self._order.order}
        return any(
            node.range and (node.when or node.needs or node.name in layers)
            for node in self._order.order
        )

    def largest(self, name: str) -> float:
        """The largest number that a parameter, constant or default can be. Raises SpaceError
        for a name that is unknown or no number."""
        node = self._order.nodes.get(name)
        number = largest_number(node) if node else None
        if number is None:
            text = unknown_parameter_text(name, self._order.nodes, "this space")
            raise SpaceError(f"{name} {'is no number' if node else text}")
        return number

    def choices(self) -> dict[str, tuple[Scalar, ...]]:
        """What each parameter that varies can be in a trial: all choices, or the ends of its range,
        and the default if a condition can put that in its place."""
        return possible_values(self._order.nodes)

    def takes(self, name: str, value: Scalar) -> bool:
        """Whether a parameter can ever have this value; one that the space does not know cannot."""
        node = self._order.nodes.get(name)
        return node is not None and node.takes(value)

    def rows(self) -> list[Row]:
        """The table of `tuner space show`: searched parameters, constants, then defaults."""
        parameters = catalogue(self.catalogue_key)
        kind = NETWORKS.get(self.network)
        compares_engines = kind is not None and kind.has_shared_program
        return [
            _row(node, parameters.get(node.name), compares_engines)
            for node in self._order.nodes.values()
        ]


def _kind(info: ValidationInfo) -> FunctionKind:
    return FunctionKind((info.context or {}).get(_KIND, FunctionKind.BUILD))


def _catalogue_key(info: ValidationInfo) -> str | None:
    """None where the network itself is no valid one."""
    network = info.data.get("network")
    return None if network is None else catalogue_key(network, _kind(info))


def _with_texts(values: object) -> object:
    """What a file gives by parameter, with mappings of classes to weights as texts."""
    if not isinstance(values, Mapping):
        return values
    texts = {}
    for name, value in values.items():
        try:
            texts[name] = mapping_as_text(name, value)
        except InvalidError as wrong:
            raise wrong.under(name) from None
    return texts


def make_space(
    network: str,
    parameters: Mapping[str, Any],
    baselines: Sequence[Mapping[str, object]] = (),
) -> Space:
    """A space from values as a file holds them. Raises SpaceError."""
    return check_space({"network": network, "parameters": parameters, "baselines": baselines})


def check_space(content: object, function_kind: FunctionKind | None = None) -> Space:
    """A space from a file's content. `function_kind`: of a user's own network; None: as its file
    shows. Raises SpaceError without the file's name."""
    if function_kind is None:
        network = content.get("network") if isinstance(content, dict) else None
        function_kind = kind_of_network(network)
    try:
        return Space.model_validate(content, context={_KIND: function_kind})
    except ValidationError as error:
        raise SpaceError(format_mistake(explain_validation_error(error))) from error


def _row(node: Node, parameter: Parameter | None, compares_engines: bool) -> Row:
    """`compares_engines`: the network has a shared program, so values without one are slower."""
    slower = _note_slower_values(node, parameter) if parameter and compares_engines else []
    if node.range is None:
        kind = "constant" if node.constant else "default"
        value = format_value(None) if node.value is None else format_in_sentence(node.value)
        notes = [parameter.note] if parameter and parameter.note else []
        notes += _note_texts(node) + slower
        return Row(node.name, kind, value, format_conditions(node.needs), "; ".join(notes))
    notes = [f"one a layer ({node.repeat})"] if node.repeat else []
    notes += _note_texts(node) + slower
    if isinstance(node.range, IntRange | FloatRange) and node.range.top != node.range.high:
        notes.append(f"high {node.range.high} is off the steps: {node.range.top} is the last")
    condition = format_conditions({**node.needs, **node.when})
    return Row(node.name, node.range.type, node.range.describe(), condition, "; ".join(notes))


def _note_texts(node: Node) -> list[str]:
    """A note on texts that are easily taken for true and false."""
    values = node.range.choices if isinstance(node.range, Choices) else (node.value,)
    words = [value for value in values if isinstance(value, str) and value.lower() in SWITCH_TEXTS]
    if not words:
        return []
    return [f"{', '.join(words)}: {'a text' if len(words) == 1 else 'texts'}, not true or false"]


def _note_slower_values(node: Node, parameter: Parameter) -> list[str]:
    """A note on values that only the Keras engine can train, which is slower."""
    if isinstance(node.range, IntRange | FloatRange):
        ends = {node.range.low, node.range.top}
        if not any(map(parameter.needs_keras, ends)):
            return []
        values = f"values other than {format_in_sentence(parameter.without_effect)}"
    else:
        choices = node.range.choices if node.range else (node.value,)
        slower = [value for value in choices if value is not None and parameter.needs_keras(value)]
        if not slower:
            return []
        values = ", ".join(map(format_in_sentence, slower))
    return [f"slower: only the keras engine trains {values}"]
