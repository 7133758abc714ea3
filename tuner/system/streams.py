"""Standard streams that can be written to, whatever the command was started with."""

import contextlib
import os
import sys
from typing import TextIO


def sound_streams() -> None:
    """Give closed standard streams nowhere to write to, and show what an encoding lacks as an
    escape. A closed number would be given to the next file that is opened, and what native code
    writes to stderr would go into that."""
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
    """Lose what could not be written, so that nothing is tried again as the process ends."""
    _discard(sys.stdout)


def discard_unwritable_stderr() -> None:
    """The same for stderr as the process ends, where it cannot be written to: Python would end
    with an exit code of its own."""
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
    """Why nothing can be written to stdout, after a write has failed; None where it can."""
    try:
        sys.stdout.write("\n")  # a write that failed has left nothing that could be flushed
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None
