"""Where the output of this process goes, that of native code included.

TensorFlow's libraries write start-up notes to stderr before they read any setting, and a network of
the user's may print. Both would cut through a live display, or stand amid JSON.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from tuner.system.secret_masking import MaskedStream


@contextmanager
def stderr_muted() -> Iterator[None]:
    """Nothing that native code of this process writes to stderr is seen. Exceptions pass."""
    with _redirected(None, (2,)):
        yield


@contextmanager
def python_output_only() -> Iterator[None]:
    """Inside, a user's own code runs in this process: what it prints goes to stderr, since stdout
    is for results, and what native code writes to stderr is not seen. Exceptions pass."""
    _flush()
    with os.fdopen(os.dup(2), "w", 1, encoding="utf-8", errors="backslashreplace") as terminal:
        # A stream that a caller has put in stderr's place is none of native code's.
        shown = MaskedStream(terminal if _writes_to(sys.stderr, 2) else sys.stderr)
        with stderr_muted(), redirect_stdout(shown), redirect_stderr(shown):
            yield


def _writes_to(stream: Any, number: int) -> bool:
    try:
        return bool(stream.fileno() == number)
    except (AttributeError, OSError, ValueError):
        return False


@contextmanager
def output_to(log: Path | None) -> Iterator[None]:
    """What this process, and children that it starts inside, write to stdout and stderr goes to the
    end of the file `log`; without one, or where it cannot be opened, nowhere. Exceptions pass.

    It is for reading after a crash: no search ends because it cannot be written.
    """
    with _redirected(log, (1, 2)), redirect_stdout(MaskedStream(sys.stdout)):
        yield


def move_output_to(log: Path) -> None:
    """What this process writes to stdout and stderr goes to the end of the file `log` from now on;
    where it cannot be opened, nowhere."""
    _flush()
    target = _opened(log)
    for number in (1, 2):
        os.dup2(target, number)
    os.close(target)


@contextmanager
def _redirected(log: Path | None, numbers: tuple[int, ...]) -> Iterator[None]:
    _flush()
    before = {number: os.dup(number) for number in numbers}
    try:
        target = _opened(log)
        for number in numbers:
            os.dup2(target, number)
        os.close(target)
        yield
    finally:
        _flush()
        for number, file in before.items():
            os.dup2(file, number)
            os.close(file)


def _opened(log: Path | None) -> int:
    if log is not None:
        with suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            # Appended to: another loop of the study may be writing here too.
            return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    return os.open(os.devnull, os.O_WRONLY)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
