"""The command line. A command parses, makes one call, and prints."""

import errno
import select
import sys
import traceback

import typer

from tuner.cli.app import UncaughtError
from tuner.cli.output import complain, escape_controls
from tuner.errors import TunerError
from tuner.system.logs import log_format
from tuner.system.secret_masking import mask_stderr
from tuner.system.start_up import discard_stdout, discard_unwritable_stderr, why_unwritable


def main() -> None:
    """Run the command line. An error meant for the user becomes one line on stderr, without
    passwords. Any other error is a fault of tuner, and its traceback is printed too."""
    from tuner.cli import commands

    mask_stderr()
    try:
        code = commands.app(standalone_mode=False)
        sys.stdout.flush()  # Else Python reports a full disk in its own words as it ends.
    except typer.TyperException as error:
        code = _fail(error, _usage_text(error), getattr(error, "exit_code", 2))
    except TunerError as error:
        code = _fail(error, str(error), error.exit_code)
    except typer.Abort as error:
        code = _fail(error, "interrupted", 130)
    except UncaughtError as uncaught:
        code = _exit_code_of(uncaught.error)
    except Exception as error:
        code = _unexpected(error)
    discard_unwritable_stderr()
    sys.exit(code if isinstance(code, int) else 0)


# The texts of pydantic, which Typer passes on, do not say which value is wrong.
_EXPECTED = {"int_parsing": "a whole number", "float_parsing": "a number"}


def _usage_text(error: typer.TyperException) -> str:
    """What is wrong with the command line, and with which of its values."""
    from pydantic import ValidationError  # here, because most commands have no such error

    if not isinstance(error, typer.BadParameter) or error.param is None:
        return _with_help(error)
    if not isinstance(error.__cause__, ValidationError):
        return _with_help(error)
    name = error.param.get_error_hint().strip("'")
    reason = error.__cause__.errors()[0]
    if (expected := _EXPECTED.get(reason["type"])) is not None:
        return f"{name} must be {expected}, got {reason['input']!r}"
    return f"{name}: {reason['msg'].removeprefix('Value error, ').rstrip('.')}"


def _with_help(error: typer.TyperException) -> str:
    """What is wrong with the words of the command line, and which command lists the right ones."""
    from tuner.cli.nearest import unknown_option  # here, because most commands have no such error

    context = getattr(error, "ctx", None)
    if context is not None and getattr(error, "possibilities", None) is not None:
        return unknown_option(context, error.option_name)  # type: ignore[attr-defined]
    text = error.format_message()
    return text if context is None else f"{text.rstrip('.')}; see {context.command_path} --help"


def _fail(error: BaseException, text: str, code: int) -> int:
    shown = error if "--traceback" in sys.argv else None
    if shown is not None and log_format() == "text":
        print(escape_controls("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    if text:
        complain(text, is_error=True, error=shown)
    return code


def _exit_code_of(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return _fail(error, "interrupted", 130)
    if not isinstance(error, BrokenPipeError) or not _output_is_closed():
        return _unexpected(error)
    # A pager or head has ended: no error, and nobody reads a message.
    discard_stdout()
    return 1


def _output_is_closed() -> bool:
    """Whether the reader of our output has gone."""
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
    line = (str(error).strip().splitlines() or [""])[0]
    where = ""
    if log_format() == "text":
        traceback.print_exception(error)
        where = ", with its traceback above"
    complain(f"an error in tuner itself{where}: {type(error).__name__}: {line}", True, error)
    return 1
