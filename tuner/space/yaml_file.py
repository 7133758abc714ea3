"""A search-space file's text made into plain Python values.

YAML without its traps: 1e-4 is a number, `no` and `on` are strings, and what can run code, hide
or explode (tags, anchors, aliases, a key twice, deep nesting, huge files) is refused. Every
mistake is one SpaceError line with the file and the line number.
"""

from pathlib import Path
from typing import Any, ClassVar

import yaml

from tuner.errors import SpaceError
from tuner.parameters import Scalar, shown
from tuner.words import parse_scalar

LARGEST_BYTES = 200_000  # PyYAML reads some 100 kB a second
DEEPEST = 20


class _Mistake(yaml.MarkedYAMLError):
    pass


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with its own idea of scalars, and with refusals."""

    # None: every plain scalar reaches `read_scalar` as the text it is.
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Mistake(
                problem="anchors and aliases are not taken", problem_mark=event.start_mark
            )
        if getattr(event, "tag", None):
            raise _Mistake(problem="tags (!…) are not taken", problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise _Mistake(problem="nested too deep", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def read_scalar(self, node: yaml.ScalarNode) -> Scalar | None:
        # `style` is None for a plain scalar; a quoted one is text whatever it looks like.
        return parse_scalar(node.value) if node.style is None else str(node.value)

    def read_mapping(self, node: yaml.MappingNode) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"a key must be a name, got {shown(key)}"
                raise _Mistake(problem=problem, problem_mark=key_node.start_mark)
            if key in mapping:
                problem = f"the key {shown(key)} appears twice"
                raise _Mistake(problem=problem, problem_mark=key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping

    def read_list(self, node: yaml.SequenceNode) -> list[object]:
        return [self.construct_object(item, deep=True) for item in node.value]


_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.read_scalar)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.read_mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.read_list)


def read_yaml(text: str, source: str) -> object:
    """The document's values. Raises SpaceError, with `source` and the line, for malformed YAML."""
    if len(text.encode(errors="replace")) > LARGEST_BYTES:
        raise SpaceError(f"{source}: is larger than {LARGEST_BYTES // 1000} kB, no search space")
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SpaceError(f"{source}{line}: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = str(text.count("\n", 0, error.position) + 1)
        raise SpaceError(f"{source}:{line}: holds a control character") from error
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        # PyYAML lets chr() fail on an escape beyond Unicode.
        raise SpaceError(f"{source}: is not valid YAML: {error}") from error


def read_text(path: Path) -> str:
    """The file's text. Raises SpaceError for what is no readable UTF-8 file of at most 200 kB."""
    try:
        if path.exists() and not path.is_file():
            raise SpaceError(f"{path}: is not a file")
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise SpaceError(f"{path}: is larger than {LARGEST_BYTES // 1000} kB, no search space")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpaceError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpaceError(f"{path}: cannot be read: {reason}") from error
