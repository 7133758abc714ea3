"""Where things live. The only reader of the environment.

| variable            | meaning                                       | default                    |
|---------------------|-----------------------------------------------|----------------------------|
| TUNER_STORAGE       | SQLAlchemy URL of the studies' database       | sqlite:///tuner.db         |
| MLFLOW_TRACKING_URI | MLflow's store or server                      | sqlite:///mlruns/mlflow.db |
| TUNER_DATA_HOME     | folder searched for data sets                 | ~/.cache/tuner/data        |
| TUNER_CHECKPOINTS   | folder of saved networks, one a study         | .tuner/checkpoints, beside |
|                     |                                               | a SQLite database          |
| TUNER_SCRATCH       | folder of prepared data while they are used   | scratch, beside the folder |
|                     |                                               | of networks                |
| KERAS_HOME          | Keras' own cache, searched for its data sets  | ~/.keras                   |
"""

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_STORAGE = "sqlite:///tuner.db"
DEFAULT_TRACKING_URI = "sqlite:///mlruns/mlflow.db"
SYSTEM_DATA = Path("/usr/share/datasets")


@dataclass(frozen=True)
class Settings:
    """Resolved once a command, then handed down."""

    storage: str
    tracking_uri: str
    data_home: Path
    checkpoints: Path
    keras_home: Path
    scratch: Path | None = None


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
        scratch=Path(env["TUNER_SCRATCH"]).expanduser() if env.get("TUNER_SCRATCH") else None,
    )


def _checkpoints(chosen: str | None, storage: str) -> Path:
    """The project's folder of networks lies beside a SQLite database, from wherever that is used;
    other databases say nothing of a folder."""
    if chosen:
        return Path(chosen).expanduser()
    scheme, separator, path = storage.partition(":///")
    beside = separator and scheme.partition("+")[0] == "sqlite"
    folder = Path(path.partition("?")[0]).parent if beside else Path()
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
