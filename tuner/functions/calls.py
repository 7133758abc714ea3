"""What a runner of a user's function gets: the function, its trial's request, and how to tell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuner.functions.trial_files import OwnFiles
from tuner.study.messages import Ended, Tell, TrialRequest, WorkerSetup


@dataclass(frozen=True)
class Call:
    """One call of a user's function. `where`: its name in messages, "my_file.py:train".

    `tell` raises Stopped (study/messages.py) when the search stops the trial: a runner lets it
    pass. Whatever the function raises passes through a runner too, but for what ends a trial, such
    as TrialPruned."""

    function: Callable[..., Any]
    where: str
    request: TrialRequest
    tell: Tell
    files: OwnFiles
    setup: WorkerSetup


# Calls the function and returns how the trial ended, which the session tells.
Runner = Callable[[Call], Ended]
