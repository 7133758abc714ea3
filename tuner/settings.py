"""Where things live. The only reader of the environment.

| variable            | meaning                                       | default                    |
|---------------------|-----------------------------------------------|----------------------------|
| TUNER_STORAGE       | SQLAlchemy URL of the studies' database       | sqlite:///tuner.db         |
| MLFLOW_TRACKING_URI | MLflow's store or server                      | sqlite:///mlruns/mlflow.db |
| TUNER_DATA_HOME     | folder searched for data sets                 | ~/.cache/tuner/data        |
| TUNER_CHECKPOINTS   | folder of saved networks, one a study         | .tuner/checkpoints, beside |
|                     |                                               | a SQLite database          |
| XDG_STATE_HOME      | its tuner/trusted-code: hashes of the code    | ~/.local/state             |
|                     | from databases that may run on this machine   |                            |
| KERAS_HOME          | Keras' own cache, searched for its data sets  | ~/.keras                   |
"""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from tuner.errors import LocationError
from tuner.locations import sqlite_file

DEFAULT_STORAGE = "sqlite:///tuner.db"
DEFAULT_TRACKING_URI = "sqlite:///mlruns/mlflow.db"
SYSTEM_DATA = Path("/usr/share/datasets")


def _trusted_code() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "tuner" / "trusted-code"


@dataclass(frozen=True)
class Settings:
    """Resolved once a command, then handed down."""

    storage: str
    tracking_uri: str
    data_home: Path
    checkpoints: Path
    keras_home: Path
    trusted_code: Path = field(default_factory=_trusted_code)


def load_settings(storage: str | None = None, tracking_uri: str | None = None) -> Settings:
    """Settings from flags first, then the environment, then the defaults."""
    env = os.environ
    storage = storage or env.get("TUNER_STORAGE") or DEFAULT_STORAGE
    return Settings(
        storage=storage,
        tracking_uri=tracking_uri or env.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI,
        data_home=Path(env.get("TUNER_DATA_HOME") or "~/.cache/tuner/data").expanduser(),
        checkpoints=_checkpoints(env.get("TUNER_CHECKPOINTS"), storage),
        keras_home=Path(env.get("KERAS_HOME") or "~/.keras").expanduser(),
    )


def _checkpoints(chosen: str | None, storage: str) -> Path:
    """The project's folder of networks lies beside a SQLite database, from wherever that is used;
    other databases say nothing of a folder."""
    if chosen:
        return Path(chosen).expanduser()
    database = None
    with contextlib.suppress(LocationError):  # whoever opens the database says what is wrong
        database = sqlite_file(storage)
    folder = Path() if database is None else database.parent
    return folder / ".tuner" / "checkpoints"


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of processes that serve these settings: what they must not be told on a
    command line, which shows passwords, and MLflow kept to its small form."""
    return os.environ | {
        "TUNER_STORAGE": settings.storage,
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def quiet_tensorflow() -> None:
    """Keep TensorFlow's start-up notes from the terminal; for processes started from here on."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
