"""MLflow's client and its errors. MLflow is imported only when a client is opened."""

import contextlib
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuner.errors import TrackingError, TunerError
from tuner.system.locations import file_url, mlflow_url, sqlite_file, sqlite_url
from tuner.system.secret_masking import remember, without_secrets

Client = Any

_TIMEOUT_S = 10
# Of servers that ask for one. MLflow reads them itself.
_LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
# A call to a server that does not answer takes 10 s, not MLflow's own 244 s. MLflow must not retry
# a call: retrying create_run could create duplicates; our next pass looks for the run first. No
# telemetry, no printed links, no logs of MLflow's own.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_TIMEOUT_S),
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
_LONGEST_LINE = 240


@contextlib.contextmanager
def tracking_errors() -> Iterator[None]:
    """Turns whatever MLflow raises into a TrackingError of one line: the boundary of this room."""
    try:
        yield
    except TunerError:
        raise
    except Exception as error:  # errors of requests, SQLAlchemy and the disk too
        raise TrackingError(_in_one_line(error)) from error


def _in_one_line(error: Exception) -> str:
    line = (without_secrets(str(error)).strip().splitlines() or [type(error).__name__])[0]
    if "error code 401" in line:
        return f"MLflow asks for a login, or refuses it: set {' and '.join(_LOGIN)}"
    address = re.search(r"https?://[^/\s'\"]+", line)
    if address and (reason := _unreachable(error)):
        return f"MLflow at {address[0]} does not answer ({reason})"
    text = f"MLflow: {line}"
    return text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + "…"


def _unreachable(error: BaseException | None) -> str | None:
    """The reason given by the network: that of the first error in the chain."""
    reason = None
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        elif isinstance(error, TimeoutError):
            reason = f"no reply within {_TIMEOUT_S} s"
        error = error.__cause__ or error.__context__
    return reason


def open_client(tracking_uri: str) -> Client:
    """A client of a server, or of a local store, created if needed. Raises TrackingError."""
    os.environ.update(_ENVIRONMENT)
    remember(tracking_uri)
    with tracking_errors():
        if (database := _local_file(tracking_uri)) is not None:
            _prepare_file(database)
        from mlflow import MlflowClient

        return MlflowClient(mlflow_url(tracking_uri))


def open_existing_client(tracking_uri: str) -> Client | None:
    """A client for reading; None if the local store does not exist. Raises TrackingError."""
    database = _local_file(tracking_uri)
    return None if database is not None and not database.is_file() else open_client(tracking_uri)


def _prepare_file(database: Path) -> None:
    """Create MLflow's tables in a temporary file, and give it its name when it is complete. MLflow
    creates them step by step, and cannot use a file where that was interrupted."""
    database.parent.mkdir(parents=True, exist_ok=True)
    if database.exists():
        return
    with tempfile.TemporaryDirectory(dir=database.parent, prefix=".mlflow-") as folder:
        partial = Path(folder) / database.name
        # The file stays in WAL mode: MLflow's many small commits take half the time, and its UI can
        # read during writes.
        with contextlib.closing(sqlite3.connect(partial)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        _make_tables(partial, database.parent)
        with contextlib.suppress(FileExistsError):  # another tracker was faster
            os.link(partial, database)


def _make_tables(database: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(mlflow_url(sqlite_url(database)), artifact_location(artifacts))
    store.engine.dispose()  # now everything is in the one file


def artifact_location(folder: Path) -> str:
    """A folder as MLflow stores it: its path; as a quoted URL if MLflow would otherwise decode it
    to another path."""
    path = str(folder.absolute())
    return path if re.fullmatch(r"[\w./-]+", path, re.ASCII) else file_url(folder)


def _local_file(tracking_uri: str) -> Path | None:
    """The database file of a SQLite tracking URI. Raises LocationError."""
    file = sqlite_file(tracking_uri)
    return None if file is None else file.absolute()


def local_folder(tracking_uri: str) -> Path | None:
    """The folder of a local store, with its database file and the folders of its experiments. None
    for a server, which decides itself where files go."""
    database = _local_file(tracking_uri)
    return None if database is None else database.parent


def download_file(client: Client, uri: str, folder: Path) -> Path:
    """A file of MLflow's artifacts, in `folder`. `uri`: where it lies, not models:/…, which MLflow
    looks up in the process' own store, not in this one. Raises whatever MLflow raises."""
    from mlflow.artifacts import download_artifacts

    return Path(
        download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=client.tracking_uri)
    )


def is_not_found(error: Exception) -> bool:
    """Whether MLflow replied that the entity does not exist."""
    cause = error.__cause__ or error
    return getattr(cause, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"
