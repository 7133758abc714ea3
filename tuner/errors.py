"""All errors whose message is meant for the user.

TunerError                      one line on stderr, exit code 1
├── UsageError                  the command cannot be run as given, exit code 2
│   ├── LocationError           a URL that names no file
│   ├── CodeError               stored code that may not run on this machine
│   ├── SpaceError              a search-space file or a configuration
│   ├── SpecError               a study's options: sampler, pruner, metric, …
│   ├── DatasetError            a data source
│   ├── NetworkError            a user's own `file.py:build`
│   ├── MetricError             a user's own metric, `file.py:function`
│   ├── StudyError              an unknown study, a taken name, a study in an unfit state
│   └── StorageUnavailable      a database that cannot be reached, read or written
├── StorageError                the database failed during the work
├── LeaseLost                   the study or this loop's lease is gone: the loop writes nothing more
├── SlotLost                    another loop has taken a trial over; the loop handles it
├── ArtifactError               a saved network is missing, or its file is a different one
│   └── ArtifactsUnavailable    the store of networks cannot be reached, or refuses
├── ExportError                 a network cannot be exported, or its export is another network
├── TrackingError               MLflow failed; never raised into the search
├── NotPromoted                 a champion stays that a network does not beat, or is not compared to
├── WorkerError                 training workers cannot be started
└── SearchFailed                three trials in a row failed, with the traceback of the last
"""


class TunerError(Exception):
    """Base of every error whose message is meant for the user; `exit_code` is the command's."""

    exit_code = 1


class UsageError(TunerError):
    """The command cannot be run as given."""

    exit_code = 2


class LocationError(UsageError):
    """A URL that names no file."""


class CodeError(UsageError):
    """Stored code that may not run on this machine."""


class SpaceError(UsageError):
    """A search-space file or a configuration is invalid."""


class SpecError(UsageError):
    """A study's options are invalid or do not fit together."""


class DatasetError(UsageError):
    """A data source cannot be read or used."""


class NetworkError(UsageError):
    """A user's own `file.py:build` cannot be used."""


class MetricError(UsageError):
    """A user's own metric, `file.py:function(y_true, y_pred)`, cannot be used."""


class StudyError(UsageError):
    """A study is unknown, its name is taken, or its state does not allow the command."""


class StorageUnavailable(UsageError):
    """A database cannot be reached, read or written."""


class StorageError(TunerError):
    """The database failed during the work."""


class LeaseLost(TunerError):
    """The study was deleted, or this loop's lease of it is gone: the loop must write nothing."""

    def __init__(
        self,
        message: str = "the study was deleted while this search ran, has another id now, or had "
        "its code corrected while the search was suspended",
    ) -> None:
        super().__init__(message)


class SlotLost(TunerError):
    """Another loop holds the trial's slot: this one must not write the trial, but goes on with
    others."""

    def __init__(self, trial_id: int | None) -> None:
        super().__init__(f"another loop has taken over the trial with id {trial_id}")


class ArtifactError(TunerError):
    """A saved network is missing, or its file is not the recorded one."""


class ArtifactsUnavailable(ArtifactError, OSError):
    """The store of networks and checkpoints, such as s3://…, cannot be reached, or refuses.
    `may_pass`: whether another attempt may succeed."""

    def __init__(self, message: str, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class ExportError(TunerError):
    """A network cannot be exported, or its export does not give the same predictions."""


class TrackingError(TunerError):
    """MLflow failed. A search goes on without it."""


class NotPromoted(TunerError):
    """The champion of a registered model stays: the network does not beat it on the same test rows,
    or the two cannot be compared."""


class WorkerError(TunerError):
    """Training workers cannot be started."""


class NoticeError(TunerError):
    """Somebody who was to be told of a search cannot be reached. `may_pass`: whether another
    attempt may succeed. A search goes on without it."""

    def __init__(self, message: str, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class TrialPruned(Exception):
    """Raised in a function that trains by itself (`trial.report`) when its trial is pruned, or by
    the function itself. No message for the user: the search goes on with other trials."""


class SearchFailed(TunerError):
    """Three trials in a row failed. `detail`: the traceback of the last one, which is part of the
    message too."""

    def __init__(self, message: str, detail: str | None = None) -> None:
        super().__init__(f"{message}\n\n{detail}" if detail else message)
        self.detail = detail


def first_line(error: BaseException) -> str:
    """An error as part of a one-line message."""
    text = " ".join(str(error).split("\n")[0].split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
