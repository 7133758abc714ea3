"""What belongs to a user's own network: the modules of its folder, and the names that they use."""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import tuner
from tuner.networks.custom import CustomNetwork

_OURS = Path(tuner.__file__).parent


def is_beside(file_name: str, path: str) -> bool:
    """Whether a file is the user's network at `path`, or one of its folder."""
    if file_name == path:
        return True
    file = Path(file_name).resolve()
    return (
        file.is_relative_to(Path(path).resolve().parent)
        and not file.is_relative_to(_OURS)
        and not {"site-packages", "dist-packages"} & set(file.parts)
        and file.is_file()
    )


def modules_of(path: str) -> list[str]:
    """The imported modules that lie in the network's folder."""
    return [
        name
        for name, module in list(sys.modules.items())
        if name != "__main__"
        and isinstance(file := getattr(module, "__file__", None), str)
        and is_beside(file, path)
    ]


def may_mention(network: CustomNetwork, names: Iterable[str]) -> bool:
    """Whether the code has a name as a text, or a part of one that it may put together: only then
    can further configurations make it read the name."""
    pieces = set(_texts(network))
    return any(piece in name for name in names for piece in pieces)


def _texts(network: CustomNetwork) -> Iterator[str]:
    """The texts in the network's code, and in the modules of its folder."""
    codes = [network.text]
    for name in modules_of(network.path):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and file.endswith(".py") and Path(file).is_file():
            codes.append(Path(file).read_text(encoding="utf-8", errors="replace"))
    for code in codes:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
                yield node.value
            elif isinstance(node, ast.keyword) and node.arg:
                yield node.arg
