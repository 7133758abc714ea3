"""Reads search-space files: YAML text, shipped spaces by name, and what a file says beside the
space (its data, their columns, known results).

YAML without its traps: 1e-4 is a number, `no` and `on` are strings. Tags, anchors, aliases, a key
twice, deep nesting and huge files are refused. Every mistake is one SpaceError line with the file
and, for malformed YAML, the line number.
"""

import os
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import yaml

from tuner.errors import SpaceError
from tuner.search_space.checks import format_mistake
from tuner.search_space.function_kinds import FunctionKind
from tuner.search_space.parameter_types import format_value, sort_by_similarity
from tuner.search_space.parameters import TRAINING
from tuner.search_space.ranges import InvalidError, check_number, check_scalar
from tuner.search_space.space import Space, check_space
from tuner.values import Scalar, parse_scalar

LARGEST_BYTES = 200_000  # PyYAML reads some 100 kB a second
DEEPEST = 20


class _Mistake(yaml.MarkedYAMLError):
    pass


# Parameters with mappings whose keys are labels of classes.
_BY_CLASS = frozenset(name for name, parameter in TRAINING.items() if parameter.by_class)


class _YamlLoader(yaml.SafeLoader):
    """PyYAML's safe loader with its own idea of scalars, and with refusals."""

    # None: every plain scalar reaches `read_scalar` as the text it is.
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]
    depth = 0
    in_class_weights = False

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
            if self.in_class_weights and isinstance(key_node, yaml.ScalarNode):
                key = key_node.value  # a class may be called 0, or true
            if not isinstance(key, str):
                problem = f"a key must be a name, got {format_value(key)}"
                raise _Mistake(problem=problem, problem_mark=key_node.start_mark)
            if key in mapping:
                problem = f"the key {format_value(key)} appears twice"
                raise _Mistake(problem=problem, problem_mark=key_node.start_mark)
            outside = self.in_class_weights
            self.in_class_weights = outside or key in _BY_CLASS
            mapping[key] = self.construct_object(value_node, deep=True)
            self.in_class_weights = outside
        return mapping

    def read_list(self, node: yaml.SequenceNode) -> list[object]:
        return [self.construct_object(item, deep=True) for item in node.value]


_YamlLoader.add_constructor("tag:yaml.org,2002:str", _YamlLoader.read_scalar)
_YamlLoader.add_constructor("tag:yaml.org,2002:map", _YamlLoader.read_mapping)
_YamlLoader.add_constructor("tag:yaml.org,2002:seq", _YamlLoader.read_list)


def read_yaml(text: str, source: str) -> object:
    """The document's values. Raises SpaceError, with `source` and the line, for malformed YAML."""
    if len(text.encode(errors="replace")) > LARGEST_BYTES:
        raise SpaceError(f"{source}: is larger than {LARGEST_BYTES // 1000} kB, no search space")
    try:
        return yaml.load(text, _YamlLoader)
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
    """The file's text. Raises SpaceError if it is no readable UTF-8 file of at most 200 kB."""
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


# A wheel holds the shipped files inside the package, a source checkout beside it.
_PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED = (_PACKAGE / "search_spaces", _PACKAGE.parent / "search_spaces")


# The kinds of columns that a user can declare (`ColumnKind` in spec.py).
COLUMN_KINDS = ("number", "category", "text", "date", "drop", "target")

_SCALAR = {"type": ["boolean", "integer", "number", "string"]}

# By the key of the data's mapping, the JSON Schema of what is no single value: columns grouped into
# inputs, and what is said of each of several targets.
DATA_MAPPINGS: dict[str, dict[str, Any]] = {
    "inputs": {
        "type": "object",
        "additionalProperties": {"type": "array", "items": {"type": "string"}},
    },
    "targets": {
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": _SCALAR},
    },
}

# By the file's key, its JSON Schema.
EXTRAS_SCHEMA: dict[str, dict[str, Any]] = {
    "data": {
        "title": "Data",
        "description": "The data: a source, or a mapping with one.",
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": DATA_MAPPINGS, "additionalProperties": _SCALAR},
        ],
    },
    "columns": {
        "title": "Columns",
        "description": "Kinds of columns by name, for columns that tuner would take for something "
        "else.",
        "type": "object",
        "additionalProperties": {"type": "string", "enum": [*COLUMN_KINDS]},
    },
    "references": {
        "title": "References",
        "description": "A known result for each baseline (accuracy in percent), null for none.",
        "type": "array",
        "items": {"type": ["number", "null"]},
    },
}


def check_data(value: object) -> dict[str, Any]:
    """`mnist` becomes {"source": "mnist"}; a mapping stays as it is. Its keys are checked when the
    data are specified. Raises InvalidError."""
    if isinstance(value, str):
        value = {"source": value}
    if not isinstance(value, dict):
        raise InvalidError("must be a source, or a mapping such as {source: mnist}", "data")
    if "columns" in value:
        raise InvalidError("belongs beside data, as a section of its own", "data", "columns")
    return {key: _check_setting(key, setting) for key, setting in value.items()}


def _check_setting(key: str, value: object) -> Any:
    if key in DATA_MAPPINGS:
        return _check_mapping(key, value)
    try:
        return check_scalar(value)
    except InvalidError as wrong:
        raise wrong.under("data", key) from None


def _check_mapping(key: str, value: object) -> dict[str, Any]:
    """What is said of inputs or targets, by name; the DataSpec checks the rest."""
    example = "{basket: [a, b], user: [c]}" if key == "inputs" else "{price: {weight: 0.5}}"
    wanted = list if key == "inputs" else dict
    if not isinstance(value, dict) or not value:
        raise InvalidError(f"must be a mapping such as {example}", "data", key)
    for name, content in value.items():
        if not isinstance(content, wanted):
            raise InvalidError(f"must be {_A_KIND[wanted]}, as in {example}", "data", key, name)
    return dict(value)


_A_KIND: dict[type, str] = {list: "a list of columns", dict: "a mapping"}


def check_columns(value: object) -> dict[str, str]:
    """Kinds of columns by name. Raises InvalidError."""
    if not isinstance(value, dict):
        raise InvalidError("must be a mapping such as {zip: category}", "columns")
    for name, kind in value.items():
        if reason := column_kind_problem(kind):
            raise InvalidError(reason, "columns", str(name))
    return {str(name): kind for name, kind in value.items()}


def column_kind_problem(kind: object) -> str:
    """Why a column cannot be of this kind, or ""."""
    if kind in COLUMN_KINDS:
        return ""
    kinds = ", ".join(sort_by_similarity(str(kind), COLUMN_KINDS))
    return f"must be one of {kinds}; got {format_value(kind)}"


def check_references(value: object, baselines: int) -> tuple[float | None, ...]:
    """A number or None for each baseline; an empty list has no references. Raises InvalidError."""
    if not isinstance(value, list | tuple):
        raise InvalidError("must be a list", "references")
    if value and len(value) != baselines:
        raise InvalidError(
            f"must have one entry for each of {baselines} baselines, got {len(value)}",
            "references",
        )
    return tuple(_check_reference(item, number) for number, item in enumerate(value))


def _check_reference(value: object, number: int) -> float | None:
    if value is None:
        return None
    try:
        return float(check_number(value))
    except InvalidError as wrong:
        raise wrong.under("references", number) from None


class SpaceFile(NamedTuple):
    """The content of a file.

    `data`: keys of a DataSpec, unchecked; empty if the file names no data. `references`: the known
    result of each baseline, None for none; empty without any. `source`: the name that errors give
    the file. `columns`: kinds of the data's columns, by name.
    """

    space: Space
    data: dict[str, Any]
    references: tuple[float | None, ...]
    source: str
    columns: dict[str, str]


def load_space(name_or_path: str | SpaceFile) -> Space:
    """Only the space of a file: see `load_file`."""
    return load_file(name_or_path).space


def load_file(name_or_path: str | SpaceFile) -> SpaceFile:
    """`mlp`: the shipped space of that name. `./mine.yaml`: a file, known by its ending or by a
    separator. A content made in Python stays as it is. Raises SpaceError, one line with file and
    key."""
    if isinstance(name_or_path, SpaceFile):
        return name_or_path
    return parse_content(*read_content(name_or_path))


def load_network(
    network: str,
    name_or_path: str | SpaceFile | None = None,
    function_kind: FunctionKind | None = None,
) -> SpaceFile:
    """The space of a network: of a shipped one the shipped space, of `my_file.py:function` one
    without parameters. `name_or_path`: a space whose network it replaces. `function_kind`: see
    `check_space`. Raises SpaceError."""
    if name_or_path is None and network in shipped_spaces():
        return load_file(network)
    if isinstance(name_or_path, SpaceFile):
        own = name_or_path.space.model_dump(mode="json") | {"network": network}
        return name_or_path._replace(space=check_space(own, function_kind))
    content: object = {}
    source = "--network"
    if name_or_path is not None:
        content, source = read_content(name_or_path)
    if isinstance(content, dict):
        content = {"parameters": {}} | content | {"network": network}
    return parse_content(content, source, function_kind)


def read_content(name_or_path: str) -> tuple[object, str]:
    """The values of a shipped space or a file, unchecked, and the name that errors give it. Raises
    SpaceError."""
    if _is_path(name_or_path):
        return read_yaml(read_text(Path(name_or_path)), name_or_path), name_or_path
    shipped = shipped_spaces()
    if name_or_path not in shipped:
        names = ", ".join(sort_by_similarity(name_or_path, shipped)) or "none"
        raise SpaceError(
            f"unknown search space {format_value(name_or_path)}; shipped: {names}. "
            "A file of your own is given as a path: ./mine.yaml"
        )
    path = shipped[name_or_path]
    return read_yaml(read_text(path), path.name), path.name


def _is_path(text: str) -> bool:
    separators = {"/", os.sep, os.altsep or os.sep}
    return text.endswith((".yaml", ".yml")) or any(separator in text for separator in separators)


def parse_space(text: str, source: str) -> Space:
    """A space from YAML text; `source` is the name that errors give it. Raises SpaceError."""
    return parse_file(text, source).space


def parse_file(text: str, source: str) -> SpaceFile:
    """A file's content from YAML text. Raises SpaceError."""
    return parse_content(read_yaml(text, source), source)


def parse_content(
    content: object, source: str, function_kind: FunctionKind | None = None
) -> SpaceFile:
    """A file's content from the values that it holds. `function_kind`: see `check_space`. Raises
    SpaceError."""
    if not isinstance(content, dict):
        raise SpaceError(f"{source}: must be a mapping with network and parameters")
    own = {key: value for key, value in content.items() if key not in EXTRAS_SCHEMA}
    try:
        space = check_space(own, function_kind)
        data = check_data(content["data"]) if "data" in content else {}
        columns = check_columns(content["columns"]) if "columns" in content else {}
        references = check_references(content.get("references", ()), len(space.baselines))
    except SpaceError as error:
        raise SpaceError(f"{source}: {error}") from error
    except InvalidError as wrong:
        raise SpaceError(f"{source}: {format_mistake(wrong)}") from wrong
    return SpaceFile(space, data, references, source, columns)


def shipped_spaces() -> dict[str, Path]:
    """The spaces that come with tuner, by name."""
    folder = next((folder for folder in SHIPPED if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def space_schema() -> dict[str, Any]:
    """The JSON Schema of a search-space file, for editors that check YAML as it is typed."""
    schema = Space.model_json_schema()
    schema["properties"] |= EXTRAS_SCHEMA
    parameters = schema["properties"]["parameters"]
    by_class = {"anyOf": [{"type": "string"}, {"type": "object"}]}
    parameters["properties"] = dict.fromkeys(sorted(_BY_CLASS), by_class)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "description": "Ranges that a study searches, constants, and configurations tried first.",
    }
