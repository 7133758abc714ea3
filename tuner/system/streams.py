"""Standard streams that can be written to, however the command was started."""

import contextlib
import os
import sys
from typing import TextIO


def sound_streams() -> None:
    """Open closed standard streams on /dev/null, and escape characters that an encoding lacks. A
    closed descriptor would be reused for the next file that is opened, and native code that writes
    to stderr would write into that file."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # replaced by a test, or closed
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


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


def _discard(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def why_unwritable() -> str | None:
    """After a failed write: why nothing can be written to stdout; None if it can."""
    try:
        sys.stdout.write("\n")  # a failed write leaves nothing to flush
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None
