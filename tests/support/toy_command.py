"""A command of `tuner` as a process of its own, whose trials are toys: `start_command`."""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fork_server import TOY_COMMAND, Forked, start
from toy_study import TOY_ALONE

# What its worker processes import from.
_FOUND = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])


def start_command(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
) -> Forked:
    """`tuner` with these words, in this folder, with no more than this environment. What it prints
    is appended to `log`."""
    with log.open("ab") as printed, Path(os.devnull).open() as nothing:
        streams = (nothing.fileno(), printed.fileno(), printed.fileno())
        needed = {"PATH": os.environ["PATH"], "PYTHONPATH": _FOUND, "PYTHONUNBUFFERED": "1"}
        return start(TOY_COMMAND, words, folder, streams, needed | environment)


def run() -> None:
    """The process that `start_command` starts."""
    from tuner.__main__ import main
    from tuner.manage import searching
    from tuner.service import daemon_start

    toys = {"entry": TOY_ALONE}
    daemon_start.WorkerWanted = functools.partial(daemon_start.WorkerWanted, **toys)  # type: ignore
    searching.optimize = functools.partial(searching.optimize, **toys)  # type: ignore
    main()
