"""The command line. A command parses, makes one call, and prints."""

import os
import sys
import traceback

import typer

from tuner.cli.output import complain, escaped
from tuner.errors import TunerError


def main() -> None:
    """Run the command line; errors meant for the user end as one line on stderr."""
    from tuner.cli import commands

    try:
        code = commands.app(standalone_mode=False)
    except typer.TyperException as error:
        code = _fail(error, error.format_message(), getattr(error, "exit_code", 2))
    except TunerError as error:
        code = _fail(error, str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as error:
        code = _fail(error, "interrupted", 130)
    except BrokenPipeError:
        # The reader went away (a pager, head): nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _fail(error: BaseException, text: str, code: int) -> int:
    if "--traceback" in sys.argv:
        print(escaped("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    if text:
        complain(text)
    return code
