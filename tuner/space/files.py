"""Search spaces by name or path."""

import os
from pathlib import Path
from typing import Any

from tuner.errors import SpaceError
from tuner.parameters import nearest, shown
from tuner.space.model import Space, check_space
from tuner.space.yaml_file import read_text, read_yaml

# A wheel holds the shipped files inside the package, a source checkout beside it.
_PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED = (_PACKAGE / "search_spaces", _PACKAGE.parent / "search_spaces")


def load_space(name_or_path: str) -> Space:
    """`mlp`: the shipped space of that name. `./mine.yaml`: a file, known by its ending or by a
    separator. Raises SpaceError, one line with file and key."""
    if _is_path(name_or_path):
        return parse_space(read_text(Path(name_or_path)), name_or_path)
    shipped = shipped_spaces()
    if name_or_path not in shipped:
        known = ", ".join(nearest(name_or_path, shipped)) or "none"
        raise SpaceError(
            f"unknown search space {shown(name_or_path)}; shipped: {known}. "
            "A file of your own is given as a path: ./mine.yaml"
        )
    path = shipped[name_or_path]
    return parse_space(read_text(path), path.name)


def _is_path(text: str) -> bool:
    separators = {"/", os.sep, os.altsep or os.sep}
    return text.endswith((".yaml", ".yml")) or any(separator in text for separator in separators)


def parse_space(text: str, source: str) -> Space:
    """A space from YAML text; `source` is the name that errors give it. Raises SpaceError."""
    content = read_yaml(text, source)
    if not isinstance(content, dict):
        raise SpaceError(f"{source}: must be a mapping with network and parameters")
    try:
        return check_space(content)
    except SpaceError as error:
        raise SpaceError(f"{source}: {error}") from error


def shipped_spaces() -> dict[str, Path]:
    """The spaces that come with tuner, by name."""
    folder = next((folder for folder in SHIPPED if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def space_schema() -> dict[str, Any]:
    """The JSON Schema of a search-space file, for editors that check YAML as it is typed."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Space.model_json_schema(),
        "description": "Ranges that a study searches, constants, and configurations tried first.",
    }
