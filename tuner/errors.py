"""The error tree.

TunerError                      one line on stderr, exit code 1
├── UsageError                  the command cannot mean what it says, exit code 2
│   ├── LocationError           a URL that names no file
│   ├── CodeError               stored code that may not run on this machine
│   ├── SpaceError              a search-space file or a configuration
│   ├── SpecError               a study's options: sampler, pruner, metric, …
│   ├── DatasetError            a data source
│   ├── NetworkError            a user's own `file.py:build`
│   ├── StudyError              unknown study, name taken, nothing to do it on
│   └── StorageUnavailable      a database that cannot be reached, read or written
├── StorageError                the database failed in the middle of the work
├── LeaseLost                   the study is gone, or this loop's lease: nothing more is written
├── SlotLost                   another loop has the trial now; handled in the loop
├── ArtifactError               a saved network that is missing, or is another file
├── TrackingError               MLflow failed; never raised into the search
└── WorkerError                 training workers cannot be started
"""


class TunerError(Exception):
    """Base of every error whose message is meant for the user; `exit_code` is the command's."""

    exit_code = 1


class UsageError(TunerError):
    exit_code = 2


class LocationError(UsageError):
    pass


class CodeError(UsageError):
    pass


class SpaceError(UsageError):
    pass


class SpecError(UsageError):
    pass


class DatasetError(UsageError):
    pass


class NetworkError(UsageError):
    pass


class StudyError(UsageError):
    pass


class StorageUnavailable(UsageError):
    pass


class StorageError(TunerError):
    pass


class LeaseLost(TunerError):
    """The study was deleted, or this loop's lease of it: the loop may write nothing any more."""

    def __init__(
        self,
        what: str = "the study was deleted while this search ran, has another id now, or had its "
        "code corrected while the search was held up",
    ) -> None:
        super().__init__(what)


class SlotLost(TunerError):
    """Another loop has taken the trial over: this one may no longer write it."""

    def __init__(self, trial_id: int | None) -> None:
        super().__init__(f"another loop has taken over the trial with id {trial_id}")


class ArtifactError(TunerError):
    pass


class TrackingError(TunerError):
    pass


class WorkerError(TunerError):
    pass
