"""What a runner of a user's function gets: the function, its trial's request, and how to tell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.errors import NetworkError
from tuner.functions.trial_files import OwnFiles
from tuner.study.messages import Ended, Tell, TrialRequest, WorkerSetup

if TYPE_CHECKING:
    from tuner.functions.trial_data import TrialData


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

    def data(self) -> "TrialData":
        """The study's data. Raises NetworkError where the study has none."""
        folder = self.setup.data
        if folder is None:
            raise NetworkError(
                f"{self.where}: trial.data: the study has no data; create it with --data "
                "SOURCE, or have the function load its own"
            )
        from tuner.functions.trial_data import open_data  # it brings NumPy

        return open_data(folder)


# Calls the function and returns how the trial ended, which the session tells.
Runner = Callable[[Call], Ended]
