"""A stand-in for the package `ray` in this process: what tuner asks of it, without a cluster."""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest


class ActorUnavailable(Exception):
    """As Ray's: it may answer later."""


class ActorDied(Exception):
    """As Ray's RayActorError."""


class TaskFailed(Exception):
    """As Ray's RayTaskError: the actor's code raised an error."""


class FakeRay(ModuleType):
    """`living`: the resources of the living nodes. `calls`: what was called that changes
    something. `session`: the folder of a cluster that it has started. What is put into the store
    stays the same object."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.__spec__ = ModuleSpec("ray", None)
        self.living: list[dict[str, float]] = [{"CPU": 1.0}]
        self.calls: list[tuple[str, Any]] = []
        self.is_connected = False
        # What a cluster writes on this machine.
        self.session = Path("/nonexistent/session")
        # Done in place of connecting; it may raise an error.
        self.connecting: Callable[[], object] = lambda: None

    def nodes(self) -> list[dict[str, Any]]:
        dead = {"Alive": False, "Resources": {}}
        return [{"Alive": True, "Resources": each} for each in self.living] + [dead]

    def is_initialized(self) -> bool:
        return self.is_connected

    def init(self, **options: Any) -> Any:
        self.calls.append(("init", options))
        self.connecting()
        self.is_connected = True
        return SimpleNamespace(address_info={"session_dir": str(self.session)})

    def shutdown(self) -> None:
        self.calls.append(("shutdown", None))
        self.is_connected = False

    def put(self, content: Any) -> Any:
        self.calls.append(("put", content))
        return content

    def get(self, reference: Any) -> Any:
        self.calls.append(("get", reference))
        return reference

    def kill(self, actor: Any) -> None:
        self.calls.append(("kill", actor))

    def called(self, name: str) -> list[Any]:
        """What a function was called with, each time."""
        return [given for called, given in self.calls if called == name]


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    """In place of `ray`, for whatever imports it in this test."""
    ray, private, exceptions = FakeRay(), ModuleType("ray._private"), ModuleType("ray.exceptions")
    worker, utils = ModuleType("ray._private.worker"), ModuleType("ray._private.utils")
    vars(utils).update(get_entrypoint_name=lambda: "the whole command line")
    errors = {
        "ActorUnavailableError": ActorUnavailable,
        "RayActorError": ActorDied,
        "RayTaskError": TaskFailed,
    }
    vars(exceptions).update(errors)
    vars(private).update(worker=worker, utils=utils)
    vars(ray).update(exceptions=exceptions, _private=private)
    for module in (ray, private, exceptions, worker, utils):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "ray._raylet", MagicMock())
    return ray
