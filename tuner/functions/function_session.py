"""Where a worker's training begins when the user's function trains by itself."""

import logging
import multiprocessing
import shutil
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from tuner.errors import NetworkError, first_line
from tuner.functions.calls import Call
from tuner.functions.running import RUNNERS
from tuner.functions.trial_files import OwnFiles
from tuner.settings import limit_threads
from tuner.study.ends import TrialEnd
from tuner.study.messages import (
    Ended,
    Event,
    Failed,
    FunctionCode,
    Reply,
    Stopped,
    Tell,
    TrialRequest,
    WorkerSetup,
)
from tuner.system.user_modules import is_library_module, stored_surroundings

log = logging.getLogger(__name__)


class FunctionSession:
    """Calls the user's function, once a trial. The file is run once, at the first trial."""

    def __init__(self, setup: WorkerSetup) -> None:
        assert setup.code is not None
        self._setup, self._code = setup, setup.code
        self._run = RUNNERS[setup.function_kind]
        self._function: Callable[..., Any] | None = None
        self._surroundings = stored_surroundings(
            self._code.path, self._code.text, self._code.modules, self._code.file
        )
        self._files = OwnFiles(None)

    def run(self, request: TrialRequest, tell: Tell) -> None:
        is_stopped = False

        def told(event: Event) -> Reply:
            nonlocal is_stopped
            if is_stopped:
                raise Stopped
            reply = tell(event)
            if reply.stop:
                is_stopped = True
                raise Stopped
            return reply

        self._files.close()
        self._files = OwnFiles(request.checkpoints)
        try:
            ended = self._call(request, told)
        except Stopped:
            return
        except Exception:
            if is_stopped:  # raised on the way out
                return
            raise
        if not is_stopped:
            saved = self._files.saved()
            tell(replace(ended, network="" if saved is None else saved.suffix))

    def _call(self, request: TrialRequest, tell: Tell) -> Ended:
        with self._surroundings.on_path():  # a function may import when it is called
            if self._function is None:
                self._function = load_function(self._code)
            call = Call(self._function, self._where, request, tell, self._files, self._setup)
            try:
                return self._run(call)
            except SystemExit as error:
                raise NetworkError(f"{self._where} called sys.exit({error.code!r})") from error

    @property
    def _where(self) -> str:
        return f"{self._code.path}:{self._code.function}"

    def save(self, path: Path) -> None:
        """Write what the trial that has just ended saved last."""
        saved = self._files.saved()
        if saved is None:
            raise RuntimeError("the trial has saved no network")
        shutil.copyfile(saved, path)

    def checkpoint(self) -> None:
        """The function itself writes what its next attempt needs, in the trial's directory."""
        self._files.keep()

    def failure(self, error: Exception) -> Failed:
        detail = "".join(traceback.format_exception(error)).strip()
        is_memory = isinstance(error, MemoryError)
        kind = TrialEnd.OUT_OF_MEMORY if is_memory else TrialEnd.USER_ERROR
        message = str(error) if isinstance(error, NetworkError) else first_line(error)
        return Failed(kind, message, detail)

    def beside(self) -> "FunctionSession":
        raise RuntimeError("functions that train by themselves have no lanes")


def load_function(code: FunctionCode) -> Callable[..., Any]:
    """The function of the stored text. Raises NetworkError where the file does not have it; errors
    of the user's code pass through."""
    surroundings = stored_surroundings(code.path, code.text, code.modules, code.file)
    module = ModuleType(_module_name(code))
    surroundings.activate()  # it stays so: a function may import when it is called
    with surroundings.on_path():
        surroundings.run(code.text.encode(), module)
    function = getattr(module, code.function, None)
    if not callable(function):
        raise NetworkError(f"{code.path}: no function {code.function!r}")
    return function


def _module_name(code: FunctionCode) -> str:
    """The file's own name, by which what it pickles is found again in its folder; another one where
    that is a library's."""
    file = Path(code.file or code.path).absolute()
    is_free = file.stem.isidentifier() and not is_library_module(file.stem, file.parent)
    return file.stem if is_free else "tuner_user_function"


def open_session(setup: WorkerSetup) -> FunctionSession:
    """A session of a worker that imports what the user's file imports, and nothing else. The
    function may start processes of its own, and computes with the worker's share of the cores."""
    limit_threads(setup.threads)
    # A daemon, as workers are, may have no children: no loader of PyTorch's, no pool.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    # Workers inherit "forkserver" from how they are started; the function expects Python's default.
    multiprocessing.set_start_method(None, force=True)
    return FunctionSession(setup)
