"""For mkdocstrings: the examples of docstrings become code blocks."""

import re
from typing import Any

import griffe

# From a prompt to the next empty line.
_EXAMPLE = re.compile(r"(?m)^>>> (?:.+\n?)+")


class DoctestFences(griffe.Extension):
    """Fences each example, which would be quoted text in Markdown."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Griffe calls it for everything that it has read."""
        if obj.docstring is not None:
            fenced = _EXAMPLE.sub(
                lambda match: f"```pycon\n{match[0].rstrip()}\n```\n", obj.docstring.value
            )
            obj.docstring.value = fenced
