"""The reference of all parameters, made from the catalogue."""

from collections.abc import Iterator
from typing import NamedTuple

from tuner.catalogue import GROUPS
from tuner.parameters import Parameter
from tuner.space.nodes import bare, in_words


class Entry(NamedTuple):
    """A line of `tuner space parameters`."""

    group: str
    name: str
    values: str
    default: str
    only_when: str
    meaning: str


def entries() -> list[Entry]:
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
    values, when = parameter.legal(), in_words(parameter.when)
    return Entry(group, parameter.name, values, bare(parameter.default), when, meaning)


def markdown() -> str:
    """The reference as Markdown tables, one a group."""
    return "\n\n".join("\n".join(_table(group)) for group in GROUPS)


def _table(group: str) -> Iterator[str]:
    yield f"**{group[0].upper()}{group[1:]}**\n"
    yield "| parameter | values | default | only when | meaning |"
    yield "|---|---|---|---|---|"
    for entry in entries():
        if entry.group == group:
            _, name, *cells = entry
            yield f"| {' | '.join([f'`{name}`', *cells])} |"
