"""Python and the libraries: installed, and of versions that tuner works with."""

import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tuner.doctor.finding import Finding, failure, fine

_SHOWN = ("optuna", "keras", "tensorflow", "mlflow", "sqlalchemy")
# TensorFlow without its GPU parts: another distribution of the same module.
_INSTEAD = {"tensorflow": "tensorflow-cpu"}


def python() -> Iterator[Finding]:
    wanted = metadata.metadata("tuner")["Requires-Python"]
    found = f"{platform.python_version()}, {sys.executable}"
    if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        yield fine("python", found)
    else:
        yield failure("python", f"{found}; tuner needs {wanted}", "install it with another Python")


def installed_libraries() -> Iterator[Finding]:
    """One line when all is well, else one for each library that is not."""
    requirements = [Requirement(line) for line in metadata.requires("tuner") or []]
    # Those with a condition belong to extras; the commands that need them say so.
    needed = [requirement for requirement in requirements if requirement.marker is None]
    wrong = [finding for requirement in needed for finding in _wrong(requirement)]
    if _version("tensorflow") and _version("tensorflow-cpu"):
        found = "tensorflow and tensorflow-cpu are both installed, and overwrite each other"
        remedy = "pip uninstall -y tensorflow tensorflow-cpu && pip install tensorflow"
        wrong.append(failure("libraries", found, remedy))
    yield from wrong
    if not wrong:
        yield fine("libraries", ", ".join(f"{name} {_version_of(name)}" for name in _SHOWN))


def _wrong(requirement: Requirement) -> Iterator[Finding]:
    version = _version_of(requirement.name)
    remedy = f"pip install '{requirement}'"
    if version is None:
        yield failure("libraries", f"{requirement.name} is not installed", remedy)
    elif not requirement.specifier.contains(version, prereleases=True):
        found = f"{requirement.name} is {version}, tuner needs {requirement.specifier}"
        yield failure("libraries", found, remedy)


def _version_of(name: str) -> str | None:
    """Its version, or that of the distribution which may stand in for it."""
    return _version(name) or _version(_INSTEAD.get(name, name))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
