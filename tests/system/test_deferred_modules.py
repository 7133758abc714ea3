"""Modules that wait until something is asked of them."""

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tuner.system.deferred_modules import DeferredModule, deferred, hidden, import_deferred

_TEXTS = {
    "__init__": "",
    "plain": "number = 1\n",
    # As TensorFlow's compat.v1: another object takes the module's place.
    "wrapped": "import sys, types\nnumber = 2\n"
    "own = types.ModuleType(__name__)\nown.number = 3\nsys.modules[__name__] = own\n",
    "parent/__init__": "number = 4\n",
    "parent/child": "number = 5\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package with these modules, not imported."""
    name = "deferred_for_a_test"
    for module, text in _TEXTS.items():
        path = tmp_path / name / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for imported in [each for each in sys.modules if each.startswith(name)]:
        del sys.modules[imported]


def import_later(package: str, *modules: str) -> list[ModuleType]:
    names = [f"{package}.{module}" for module in modules]
    with deferred(names):
        return [importlib.import_module(name) for name in names]


@pytest.mark.parametrize(("module", "number"), [("plain", 1), ("wrapped", 3), ("parent", 4)])
def test_a_module_is_imported_at_its_first_use(package: str, module: str, number: int) -> None:
    (waiting,) = import_later(package, module)
    inspect.getmodule(inspect.currentframe())  # asks every module for its file
    assert isinstance(sys.modules[f"{package}.{module}"], DeferredModule)
    assert waiting.number == number
    real = importlib.import_module(f"{package}.{module}")
    assert real is getattr(sys.modules[package], module)
    assert not isinstance(real, DeferredModule)
    assert "number" in dir(waiting)
    with pytest.raises(AttributeError, match="none_such"):
        _ = waiting.none_such


def test_a_child_of_a_waiting_package_is_found(package: str) -> None:
    import_later(package, "parent")
    assert importlib.import_module(f"{package}.parent.child").number == 5


def test_all_that_wait_are_imported_together(package: str) -> None:
    import_later(package, "plain", "parent")
    import_deferred()
    modules = [sys.modules[f"{package}.{name}"] for name in ("plain", "parent")]
    assert not any(isinstance(module, DeferredModule) for module in modules)
    assert [module.number for module in modules] == [1, 4]


def test_hidden_packages_can_be_imported_afterwards(package: str) -> None:
    with hidden((package,)), pytest.raises(ImportError):
        importlib.import_module(package)
    assert importlib.import_module(f"{package}.plain").number == 1
    with hidden((package,)):  # imported already: left alone
        assert importlib.import_module(package)


def test_a_module_that_does_not_exist_is_an_import_error(package: str) -> None:
    with deferred([f"{package}.absent"]), pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{package}.absent")
