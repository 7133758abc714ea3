"""What every form of saved network has."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from tuner.errors import UsageError
from tuner.preparation.network_description import NetworkDescription
from tuner.system.names import install_command

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class RuntimeNetwork:
    """A network as its own runtime has loaded it. `predict_on_batch`: outputs (n, outputs) for
    prepared rows (n, *input_shape), of any n from 1 on. `input_name`, `output_name`: what the
    runtime calls them."""

    predict_on_batch: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
    input_name: str
    output_name: str


@dataclass(frozen=True)
class Format:
    """A form of saved network.

    `title`: its name, for people. `ending`: of its files; "" for a folder. `runtime`: what loads
    it. `packages`: what the extra `export` installs for it.

    `save(network, description, path)` writes the network with its description to a new path; the
    network has been called once. It raises ExportError for what the runtime cannot compute; any
    other error says why Keras cannot export the network.

    `load(path, source)` reads both, once it is known that they are unchanged; `source` begins every
    message. It raises ArtifactError, one line.
    """

    title: str
    ending: str
    runtime: str
    save: Callable[["keras.Model", NetworkDescription, Path], None]
    load: Callable[[Path, str], tuple[NetworkDescription, RuntimeNetwork]]
    packages: tuple[str, ...] = ()

    def check_installed(self) -> None:
        """Raises UsageError where a package is missing."""
        for package in self.packages:
            if find_spec(package.partition(".")[0]) is None:
                raise _missing(package, self.title)

    def import_package(self, name: str) -> Any:
        """One of the packages. Raises UsageError where it is missing."""
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            raise _missing(name, self.title) from error


def _missing(package: str, title: str) -> UsageError:
    name = package.partition(".")[0].replace("_", "-")
    return UsageError(f"{title} needs {name}, which is not installed: {install_command(name)}")
