"""What sets two search spaces apart, in the words of their files."""

import json
from collections import Counter
from typing import TYPE_CHECKING

from tuner.space.nodes import bare, in_words
from tuner.space.ranges import Choices, FloatRange, IntRange

if TYPE_CHECKING:
    from tuner.space.model import Space

_LONGEST = 80


def space_differences(was: "Space", now: "Space") -> list[str]:
    """An entry for the network, for each parameter and for the baselines that are not the same;
    the order of parameters means nothing."""
    found = [] if was.network == now.network else [changed("network", was.network, now.network)]
    names = [*was.parameters, *(name for name in now.parameters if name not in was.parameters)]
    found += [
        changed(name, _said(was, name), _said(now, name))
        for name in names
        if _exact(was, name) != _exact(now, name)
    ]
    return found + _baselines(was, now)


def changed(name: str, was: str, now: str) -> str:
    """ "seed was 0, is 1"; long words are cut, and left out where that makes them the same."""
    was, now = (text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…" for text in (was, now))
    return f"{name} has changed" if was == now else f"{name} was {was}, is {now}"


def _exact(space: "Space", name: str) -> str | None:
    """A default counts as if the space had named it: it makes the same trials."""
    # As JSON: Python takes the choices 1, 1.0 and true for equal.
    said = space.parameters.get(name, space.defaults.get(name))
    if isinstance(said, IntRange | FloatRange | Choices):
        return _json(said.model_dump(mode="json"))
    return None if said is None else _json(said)


def _said(space: "Space", name: str) -> str:
    """ "float 0.0001–0.1 log when optimizer is sgd" """
    said = space.parameters.get(name)
    if said is None:
        default = space.defaults.get(name)
        return "not in the space" if default is None else f"{bare(default)} by default"
    if not isinstance(said, IntRange | FloatRange | Choices):
        return bare(said)
    if isinstance(said, Choices):
        words = f"[{said.describe()}]"
    else:
        words = f"{said.type} {said.describe().replace(' … ', '–').replace(',', '')}"
    words += f" one a layer ({said.repeat})" if said.repeat else ""
    return words + (f" when {in_words(said.when)}" if said.when else "")


def _baselines(was: "Space", now: "Space") -> list[str]:
    old, new = ([_json(baseline) for baseline in space.baselines] for space in (was, now))
    if old == new:
        return []
    added, gone = Counter(new) - Counter(old), Counter(old) - Counter(new)
    counts = ((added.total(), "added"), (gone.total(), "removed"))
    told = ", ".join(f"{count} {what}" for count, what in counts if count)
    return [f"baselines have changed ({told or 'their order'})"]


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True)
