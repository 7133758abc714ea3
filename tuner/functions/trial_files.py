"""The files of a trial whose function trains by itself: a folder of its own, and what it saves."""

import contextlib
import logging
import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuner.errors import NetworkError
from tuner.study.artifacts import OWN_FOLDERS, StoredFolder
from tuner.study.messages import Checkpoints, TrialRequest, WorkerSetup
from tuner.system.temporary_folders import OwnFolder

_DIRECTORY, _SAVED = OWN_FOLDERS
_KERAS = ".keras"
_PICKLE = ".pkl"
_BYTES = ".bin"
_NETWORK = "network"
_REPORTS = "reports.txt"
log = logging.getLogger(__name__)


class OwnFiles:
    """Both folders outlast an attempt, and are removed when the trial has ended. A trial without
    checkpoints, which has no later attempt, gets a temporary folder."""

    def __init__(
        self, checkpoints: Checkpoints | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checkpoints, self._clock = checkpoints, clock
        self._stored: dict[str, StoredFolder] = {}
        self._temporary: OwnFolder | None = None
        self._has_saved = self._has_warned = False
        self._kept_at, self._keeping_s = clock(), 0.0

    def _folder(self, name: str) -> Path:
        if self._checkpoints is not None:
            if name not in self._stored:
                self._stored[name] = self._checkpoints.artifacts.folder(name)
            return self._stored[name].path
        if self._temporary is None:
            self._temporary = OwnFolder("tuner-trial-")
        folder = Path(self._temporary.name) / name
        folder.mkdir(exist_ok=True)
        return folder

    def directory(self) -> Path:
        """The folder for what the function itself keeps."""
        return self._folder(_DIRECTORY)

    def keep(self) -> None:
        """Have both folders, as they are now, survive this machine, where the store does. What
        cannot be kept is logged once: the function goes on."""
        began = self._clock()
        try:
            for folder in self._stored.values():
                folder.keep()
        except OSError as error:
            if not self._has_warned:
                log.warning("the trial's folder is not kept (%s)", error)
            self._has_warned = True
        self._kept_at = self._clock()
        self._keeping_s = self._kept_at - began

    def close(self) -> None:
        for folder in self._stored.values():
            folder.close()
        self._stored.clear()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def saved(self) -> Path | None:
        """The network that was saved last, in any attempt."""
        if self._checkpoints is None and self._temporary is None:
            return None
        if not self._has_saved and (self._checkpoints is None or self._checkpoints.attempt == 1):
            return None
        return max(self._networks(), key=lambda file: file.stat().st_mtime_ns, default=None)

    def _networks(self) -> list[Path]:
        return [file for file in self._folder(_SAVED).iterdir() if file.stem == _NETWORK]

    def save(self, model: Any, setup: WorkerSetup, request: TrialRequest) -> None:
        """Keep a network in place of the one before. Raises NetworkError for what cannot be."""
        folder = self._folder(_SAVED)
        suffix = suffix_of(model)
        partial, file = folder / f"partial-{os.getpid()}{suffix}", folder / f"{_NETWORK}{suffix}"
        try:
            _write(model, partial)
            if suffix == _KERAS and setup.data is not None:
                from tuner.functions.described_network import describe

                describe(model, partial, setup, request)
            partial.replace(file)
            self._has_saved = True
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        for other in self._networks():
            if other != file:
                other.unlink()

    def remember(self, epoch: int, value: float) -> None:
        """Keep what was reported, for the trial's next attempt."""
        if self._checkpoints is not None:
            with (self._folder(_SAVED) / _REPORTS).open("a") as lines:
                lines.write(f"{epoch} {value!r}\n")
            pause_s = self._checkpoints.pause_after(self._keeping_s)
            if self._clock() - self._kept_at >= pause_s:
                self.keep()

    def reports(self, before: int) -> list[tuple[int, float]]:
        """The epochs before this one that earlier attempts have reported, with their values; of an
        epoch that was reported again the last one."""
        values: dict[int, float] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in (self._folder(_SAVED) / _REPORTS).read_text().splitlines():
                epoch, _, value = line.partition(" ")
                with contextlib.suppress(ValueError):  # a line that was cut short
                    values[int(epoch)] = float(value)
        return sorted((epoch, value) for epoch, value in values.items() if epoch < before)

    def forget(self, with_network: bool) -> None:
        """The attempt begins anew: what earlier ones have reported, and perhaps saved, is not
        its own."""
        (self._folder(_SAVED) / _REPORTS).unlink(missing_ok=True)
        for network in self._networks() if with_network else ():
            network.unlink()


def suffix_of(model: Any) -> str:
    """What the name of a saved network ends with: `.keras` for a keras.Model, the file's own for a
    path, `.bin` for bytes, `.pkl` for any other object, which is pickled."""
    if isinstance(model, str | os.PathLike):
        return Path(model).suffix or _BYTES
    if isinstance(model, bytes | bytearray):
        return _BYTES
    return _KERAS if _is_keras_model(model) else _PICKLE


def _is_keras_model(model: Any) -> bool:
    """Whoever made one has imported Keras."""
    return any(
        each.__name__ == "Model" and each.__module__.partition(".")[0] == "keras"
        for each in type(model).__mro__
    )


def _write(model: Any, file: Path) -> None:
    if isinstance(model, str | os.PathLike):
        if not Path(model).is_file():
            raise NetworkError(
                f"{str(model)!r} is no file; give a keras.Model, a file, bytes or an "
                "object that can be pickled"
            )
        shutil.copyfile(model, file)
    elif isinstance(model, bytes | bytearray):
        file.write_bytes(model)
    elif _is_keras_model(model):
        model.save(file)
    else:
        _pickle(model, file)


def _pickle(model: Any, file: Path) -> None:
    try:
        with file.open("wb") as stream:
            pickle.dump(model, stream, protocol=5)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise NetworkError(
            f"a {type(model).__name__} cannot be pickled ({error}); write it to a file "
            "yourself and give its path"
        ) from error
