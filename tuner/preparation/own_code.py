"""A user's own files run from their text where tuner is not installed, so that Keras finds the
layers that they register.

Only MLflow's general interface does so: who loads such a model lets its code run. tuner itself runs
the same texts by `system/user_modules.py`, where they are trusted.
"""

import sys
from collections.abc import Mapping
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import PurePath
from types import ModuleType
from typing import Any

_MODULE = "tuner_user_network"  # as in training
_PACKAGE = "__init__"


def run_own_code(texts: Mapping[str, str]) -> None:
    """`texts`: as `NetworkDescription.code`, the network's file first, then the modules of its
    folder, which it can import by their names there. Libraries come first."""
    if not texts:
        return
    main, *others = texts
    finder = _Modules({_name(path, main): (path, texts[path]) for path in others})
    for name in finder.texts:  # of a model that was loaded before
        module = sys.modules.get(name)
        if isinstance(getattr(module, "__loader__", None), _Modules):
            del sys.modules[name]
    sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, _Modules)]
    sys.meta_path.append(finder)
    exec(compile(texts[main], main, "exec"), ModuleType(_MODULE).__dict__)


def _name(path: str, main: str) -> str:
    """parts/blocks.py beside the network's file is parts.blocks; a package's file is the
    package."""
    parts = PurePath(path).relative_to(PurePath(main).parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == _PACKAGE else parts)


class _Modules(MetaPathFinder, InspectLoader):
    """Modules by name, from their text. `texts`: path and text of each."""

    def __init__(self, texts: Mapping[str, tuple[str, str]]) -> None:
        self.texts = texts

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        is_folder = any(each.startswith(f"{name}.") for each in self.texts)
        if name not in self.texts and not is_folder:
            return None
        return spec_from_loader(name, self, is_package=self.is_package(name))

    def is_package(self, name: str) -> bool:
        path, _ = self.texts.get(name, (f"{_PACKAGE}.py", ""))
        return PurePath(path).stem == _PACKAGE

    def get_source(self, name: str) -> str:
        return self.texts.get(name, ("", ""))[1]
