"""One figure in a process of its own: its arguments and its result are JSON."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any

from tuner.errors import TunerError

Result = dict[str, Any]


def main(
    module: str, *figures: Callable[..., Result], arguments: Sequence[str] | None = None
) -> None:
    """Run the one that the command line names. Its result is the only line on standard output."""
    known = {figure.__name__: figure for figure in figures}
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}")
    parser.add_argument("name", choices=known)
    parser.add_argument("--json", default="{}", type=json.loads, metavar="ARGS", help="JSON object")
    command = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        # The tools print.
        with redirect_stdout(sys.stderr):
            result = known[command.name](**command.json)
    except TunerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(json.dumps(result))
