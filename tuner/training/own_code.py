"""What belongs to a user's own network: the modules of its folder, and the names that they use."""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import tuner
from tuner.networks.custom import CustomNetwork

_OURS = f"{Path(tuner.__file__).parent}/"


def is_beside(file_name: str, path: str) -> bool:
    """Whether a file is the user's network at `path`, or one of its folder."""
    return file_name == path or _is_in(file_name, _folders(path))


def _folders(path: str) -> set[str]:
    folder = Path(path).parent
    return {f"{folder.absolute()}/", f"{folder.resolve()}/"}


def _is_in(file_name: str, folders: set[str]) -> bool:
    # By text alone: thousands of modules are imported.
    file = file_name if file_name.startswith("/") else str(Path(file_name).absolute())
    return (
        any(file.startswith(folder) for folder in folders)
        and not file.startswith(_OURS)
        and not any(f"/{packages}/" in file for packages in ("site-packages", "dist-packages"))
    )


def modules_of(path: str) -> list[str]:
    """The imported modules that lie in the network's folder."""
    folders = _folders(path)
    return [
        name
        for name, module in list(sys.modules.items())
        if name != "__main__"
        and isinstance(file := getattr(module, "__file__", None), str)
        and _is_in(file, folders)
    ]


def may_mention(network: CustomNetwork, names: Iterable[str]) -> bool:
    """Whether the code has a name as a text, or a part of one that it may put together: only then
    can further configurations make it read the name."""
    pieces = set(_texts(network))
    return any(piece in name for name in names for piece in pieces)


def _texts(network: CustomNetwork) -> Iterator[str]:
    """The texts in the network's code, and in the modules of its folder."""
    modules = getattr(network, "modules", None) or ()
    # As bytes, as Python reads them: a text may not begin with a byte order mark.
    codes = [text.encode() for text in (network.text, *(text for _, text in modules))]
    for name in modules_of(network.path):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and file.endswith(".py") and Path(file).is_file():
            codes.append(Path(file).read_bytes())
    for code in codes:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
                yield node.value
            elif isinstance(node, ast.keyword) and node.arg:
                yield node.arg
