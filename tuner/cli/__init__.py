"""The command line. A command parses, makes one call, and prints."""

import errno
import select
import sys
import traceback

import typer

from tuner.cli.app import Escaped
from tuner.cli.output import complain, escaped
from tuner.errors import TunerError
from tuner.system.logs import mask_stderr
from tuner.system.start_up import discard_stdout, discard_unwritable_stderr, why_unwritable


def main() -> None:
    """Run the command line; errors meant for the user end as one line on stderr, without
    passwords. Others are faults of ours: their traceback is shown too."""
    from tuner.cli import commands

    mask_stderr()
    try:
        code = commands.app(standalone_mode=False)
        sys.stdout.flush()  # what a full disk refuses is told, and not by Python as it ends
    except typer.TyperException as error:
        code = _fail(error, error.format_message(), getattr(error, "exit_code", 2))
    except TunerError as error:
        code = _fail(error, str(error), error.exit_code)
    except typer.Abort as error:
        code = _fail(error, "interrupted", 130)
    except Escaped as escaped:
        code = _escaped(escaped.error)
    except Exception as error:
        code = _unexpected(error)
    discard_unwritable_stderr()
    sys.exit(code if isinstance(code, int) else 0)


def _fail(error: BaseException, text: str, code: int) -> int:
    if "--traceback" in sys.argv:
        print(escaped("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    if text:
        complain(text)
    return code


def _escaped(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return _fail(error, "interrupted", 130)
    if not isinstance(error, BrokenPipeError) or not _reader_went_away():
        return _unexpected(error)
    # A pager, or head: nothing is wrong, and nothing more can be said.
    discard_stdout()
    return 1


def _reader_went_away() -> bool:
    """Whether nobody reads what we print."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _unexpected(error: BaseException) -> int:
    if isinstance(error, OSError) and (why := why_unwritable()) is not None:
        discard_stdout()
        complain(f"the output cannot be written: {why}")
        return 1
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return _fail(error, f"{error.strerror}; allow more of them: ulimit -n 1024", 1)
    traceback.print_exception(error)
    line = (str(error).strip().splitlines() or [""])[0]
    complain(f"an error in tuner itself, told in full above: {type(error).__name__}: {line}")
    return 1
