"""The configurations that a space names one by one, instead of leaving them to a sampler.

The reference of all parameters, made from the catalogue.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tuner.search_space.nodes import format_conditions, format_in_sentence
from tuner.search_space.parameter_types import Parameter
from tuner.search_space.parameters import GROUPS


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
    return Entry(
        group, parameter.name, values, format_in_sentence(parameter.default), when, meaning
    )


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
