"""Search spaces by name or path."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from tuner.errors import SpaceError
from tuner.parameters import Scalar, nearest, shown
from tuner.space.extras import EXTRAS_SCHEMA, check_columns, check_data, check_references
from tuner.space.model import Space, check_space
from tuner.space.scalars import InvalidError
from tuner.space.wording import in_one_line
from tuner.space.yaml_file import read_text, read_yaml

# A wheel holds the shipped files inside the package, a source checkout beside it.
_PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED = (_PACKAGE / "search_spaces", _PACKAGE.parent / "search_spaces")


class SpaceFile(NamedTuple):
    """What a file says. `data`: keys of a DataSpec, unchecked; empty where it names no data.
    `references`: a known result a baseline, None where there is none; empty without any.
    `columns`: kinds of the data's columns, by name. `source`: the name that errors give the file.
    """

    space: Space
    data: dict[str, Scalar]
    references: tuple[float | None, ...]
    source: str
    columns: dict[str, str]


def load_space(name_or_path: str) -> Space:
    """The space of a file alone: see `load_file`."""
    return load_file(name_or_path).space


def load_file(name_or_path: str) -> SpaceFile:
    """`mlp`: the shipped space of that name. `./mine.yaml`: a file, known by its ending or by a
    separator. Raises SpaceError, one line with file and key."""
    if _is_path(name_or_path):
        return parse_file(read_text(Path(name_or_path)), name_or_path)
    shipped = shipped_spaces()
    if name_or_path not in shipped:
        known = ", ".join(nearest(name_or_path, shipped)) or "none"
        raise SpaceError(
            f"unknown search space {shown(name_or_path)}; shipped: {known}. "
            "A file of your own is given as a path: ./mine.yaml"
        )
    path = shipped[name_or_path]
    return parse_file(read_text(path), path.name)


def _is_path(text: str) -> bool:
    separators = {"/", os.sep, os.altsep or os.sep}
    return text.endswith((".yaml", ".yml")) or any(separator in text for separator in separators)


def parse_space(text: str, source: str) -> Space:
    """A space from YAML text; `source` is the name that errors give it. Raises SpaceError."""
    return parse_file(text, source).space


def parse_file(text: str, source: str) -> SpaceFile:
    """All of a file from YAML text. Raises SpaceError."""
    content = read_yaml(text, source)
    if not isinstance(content, dict):
        raise SpaceError(f"{source}: must be a mapping with network and parameters")
    own = {key: value for key, value in content.items() if key not in EXTRAS_SCHEMA}
    try:
        space = check_space(own)
        data = check_data(content["data"]) if "data" in content else {}
        columns = check_columns(content["columns"]) if "columns" in content else {}
        said = content.get("references", ())
        references = check_references(said, len(space.baselines))
    except SpaceError as error:
        raise SpaceError(f"{source}: {error}") from error
    except InvalidError as wrong:
        raise SpaceError(f"{source}: {in_one_line(wrong)}") from wrong
    return SpaceFile(space, data, references, source, columns)


def shipped_spaces() -> dict[str, Path]:
    """The spaces that come with tuner, by name."""
    folder = next((folder for folder in SHIPPED if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def space_schema() -> dict[str, Any]:
    """The JSON Schema of a search-space file, for editors that check YAML as it is typed."""
    schema = Space.model_json_schema()
    schema["properties"] |= EXTRAS_SCHEMA
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "description": "Ranges that a study searches, constants, and configurations tried first.",
    }
