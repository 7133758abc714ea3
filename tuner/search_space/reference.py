"""The configurations that a space names one by one, instead of leaving them to a sampler.

The reference of all parameters, made from the catalogue.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from tuner.search_space import enumeration
from tuner.search_space.configurations import SamplingOrder, flatten
from tuner.search_space.nodes import bare, in_words
from tuner.search_space.parameter_types import Parameter
from tuner.search_space.parameters import GROUPS
from tuner.search_space.ranges import InvalidError, Range
from tuner.values import Scalar


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
    values, when = parameter.legal_values(), in_words(parameter.when)
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


def listed(
    order: SamplingOrder, baselines: Iterable[Mapping[str, object]]
) -> list[dict[str, Scalar]]:
    """The baselines as flat parameters, each complete and none twice. Raises InvalidError."""
    found: list[dict[str, Scalar]] = []
    known: dict[str, int] = {}
    for number, baseline in enumerate(baselines):
        flat = flatten(order, baseline)
        _check_complete(order, flat, number)
        # As JSON: Python takes 1, 1.0 and true for equal.
        same = known.setdefault(json.dumps(flat, sort_keys=True), number)
        if same != number:
            raise InvalidError(f"is the same as baselines[{same}]", "baselines", number)
        found.append(flat)
    return found


def every_point(order: SamplingOrder, size: int) -> list[dict[str, Scalar]]:
    """The grid, which has so many points. Raises InvalidError for more than MOST_POINTS."""
    if size > enumeration.MOST_POINTS:
        raise InvalidError(
            f"the grid has {size:,} points, more than {enumeration.MOST_POINTS:,}; fix parameters "
            "with --set, or name configurations under baselines"
        )
    return list(enumeration.points(order))


def _check_complete(order: SamplingOrder, flat: Mapping[str, Scalar], number: int) -> None:
    def said(name: str, _range: Range) -> Scalar:
        if name not in flat:
            text = f"leaves {name} open, and nothing is searched here: give it a value"
            raise InvalidError(text, "baselines", number)
        return flat[name]

    order.resolve(said)
