"""The configurations that a space names one by one, instead of leaving them to a sampler.

The reference of all parameters, made from the catalogue.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tuner.search_space.nodes import format_conditions, format_in_sentence
from tuner.search_space.parameter_types import Parameter
from tuner.search_space.parameters import GROUPS, NETWORKS


class Entry(NamedTuple):
    """A line of `tuner space parameters`."""

    group: str
    name: str
    values: str
    default: str
    only_when: str
    meaning: str


def reference_entries() -> list[Entry]:
    """Every parameter of the shipped networks and the training."""
    return [
        _entry(group, parameter)
        for group, parameters in GROUPS.items()
        for parameter in parameters.values()
    ]


def _entry(group: str, parameter: Parameter) -> Entry:
    meaning = "; ".join(filter(None, (parameter.doc, parameter.note)))
    if parameter.layers:
        meaning += f" (one each with repeat: {parameter.layers})"
    values, when = parameter.legal_values(), format_conditions(parameter.when)
    only_when = "; ".join(filter(None, (_networks_with(group, parameter), when)))
    return Entry(group, parameter.name, values, _default(parameter), only_when, meaning)


def _networks_with(group: str, parameter: Parameter) -> str:
    """The networks that have the parameter, if not all do that have others of its group."""
    users = [
        name
        for name, kind in NETWORKS.items()
        if not GROUPS[group].keys().isdisjoint(kind.parameters)
    ]
    having = [name for name in users if parameter.name in NETWORKS[name].parameters]
    return "" if having == users else f"network: {', '.join(having)}"


def _default(parameter: Parameter) -> str:
    """Its default, and those that networks have of their own."""
    words = format_in_sentence(parameter.default)
    own: dict[str, list[str]] = {}
    for network, kind in NETWORKS.items():
        default = kind.parameters.get(parameter.name, parameter).default
        if default != parameter.default:
            own.setdefault(format_in_sentence(default), []).append(network)
    others = [f"{', '.join(networks)}: {default}" for default, networks in own.items()]
    return "; ".join([words, *others])


def reference_markdown() -> str:
    """The reference as Markdown tables, one a group."""
    return "\n\n".join("\n".join(_table(group)) for group in GROUPS)


def _table(group: str) -> Iterator[str]:
    yield f"**{group[0].upper()}{group[1:]}**\n"
    yield "| parameter | values | default | only when | meaning |"
    yield "|---|---|---|---|---|"
    for entry in reference_entries():
        if entry.group == group:
            _, name, *cells = entry
            yield f"| {' | '.join([f'`{name}`', *cells])} |"
