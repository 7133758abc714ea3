"""What `tuner` puts right before it imports anything else: standard streams, and the import path.

This module imports only what Python itself has loaded at its start: until the path is in order, a
contextlib.py in the user's folder would be imported in place of Python's.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def ordered_path(path: list[str]) -> list[str]:
    """An import path with the current folder and the main script's behind the libraries'."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    scripts = os.path.dirname(os.path.abspath(script)) if script else None
    libraries = os.path.dirname(os.__file__)
    own = [
        entry
        for entry in path
        if (is_current_folder(entry) or entry == scripts) and entry != libraries
    ]
    rest = [entry for entry in path if entry not in own]
    return [*rest, *dict.fromkeys(os.path.abspath(entry) for entry in own)]


def is_current_folder(entry: str) -> bool:
    try:
        return os.path.samefile(entry or ".", ".")
    except OSError:
        return False


def open_streams() -> None:
    """Open closed standard streams on /dev/null, and escape characters that an encoding lacks. A
    closed descriptor would be reused for the next file that is opened, and native code that writes
    to stderr would write into that file."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        except (AttributeError, ValueError):  # replaced by a test, or closed
            pass


def discard_stdout() -> None:
    """Drop what could not be written: Python would try again as the process ends, and fail."""
    _discard(sys.stdout)


def discard_unwritable_stderr() -> None:
    """The same for stderr where it cannot be written to: Python would end with another exit
    code."""
    stream = getattr(sys.stderr, "unmasked", sys.stderr)
    try:
        stream.flush()
    except (OSError, ValueError):
        _discard(stream)


def _discard(stream: "TextIO") -> None:
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass


def why_unwritable() -> str | None:
    """After a failed write: why nothing can be written to stdout; None if it can."""
    try:
        sys.stdout.write("\n")  # a failed write leaves nothing to flush
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None
