"""Where things live. The only reader of the environment."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from tuner.system import secret_masking
from tuner.system.locations import database_folder, local_path, mlflow_url
from tuner.system.start_up import is_current_folder, ordered_path
from tuner.system.store_urls import check_store_url


@cache
def tuner_version() -> str:
    """ "0.1.0"; "unknown" where tuner is run without being installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tuner")
    except PackageNotFoundError:
        return "unknown"


DEFAULT_STORAGE = "sqlite:///tuner.db"
DEFAULT_TRACKING_URI = "sqlite:///mlruns/mlflow.db"


class Variable(NamedTuple):
    """An environment variable that tuner reads. `default`: in words where it depends."""

    name: str
    meaning: str
    default: str


VARIABLES = (
    Variable(
        "TUNER_STORAGE",
        "SQLAlchemy URL of the studies' database, as --storage",
        DEFAULT_STORAGE,
    ),
    Variable(
        "MLFLOW_TRACKING_URI",
        "MLflow's store or server, as --tracking-uri",
        DEFAULT_TRACKING_URI,
    ),
    Variable("TUNER_DATA_HOME", "folder searched for data sets", "~/.cache/tuner/data"),
    Variable(
        "TUNER_CHECKPOINTS",
        "folder of saved networks and checkpoints, or s3://BUCKET/PREFIX",
        ".tuner/checkpoints, beside a SQLite database",
    ),
    Variable(
        "TUNER_SCRATCH",
        "folder of prepared data, while a search runs",
        "scratch, beside the folder of networks",
    ),
    Variable(
        "XDG_STATE_HOME",
        "its tuner/trusted-code remembers the code from databases that may run on this machine",
        "~/.local/state",
    ),
    Variable(
        "TUNER_UI_TOKEN",
        "what an operator logs in with on the page, or @FILE of it, as --token of the command ui",
        "no login on this machine",
    ),
    Variable(
        "TUNER_NOTIFY",
        "addresses that are told of new bests, ends and failures, as --notify; blanks between them",
        "none",
    ),
    Variable("KERAS_HOME", "Keras' own cache, searched for its data sets", "~/.keras"),
)
SYSTEM_DATA = Path("/usr/share/datasets")
# Libraries read those of other programs, and may print them in an error.
_PASSWORDS = (
    "TUNER_UI_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PGPASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
)
_URLS = re.compile(r"(?i)TUNER_STORAGE|MLFLOW_\w*URI|(HTTPS?|ALL)_PROXY")


def _trusted_code() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "tuner" / "trusted-code"


@dataclass(frozen=True)
class Settings:
    """Resolved once in a command, then passed on. `checkpoints`: the project's local folder, of
    logs and locks, and of networks and checkpoints too unless `artifacts_url` says where they
    are."""

    storage: str
    tracking_uri: str
    data_home: Path
    checkpoints: Path
    keras_home: Path
    scratch: Path | None = None
    trusted_code: Path = field(default_factory=_trusted_code)
    artifacts_url: str | None = None

    @property
    def artifacts_place(self) -> str:
        """Where networks and checkpoints are: an absolute folder, or a URL."""
        return self.artifacts_url or str(self.checkpoints.absolute())


def load_settings(storage: str | None = None, tracking_uri: str | None = None) -> Settings:
    """Settings from flags first, then the environment, then the defaults."""
    env = os.environ
    secret_masking.remember(
        storage, tracking_uri, *(env[name] for name in env if _URLS.fullmatch(name))
    )
    secret_masking.remember_values(env.get(name) for name in _PASSWORDS)
    for address in notify_addresses():
        secret_masking.remember_address(address)
    storage = storage or env.get("TUNER_STORAGE") or DEFAULT_STORAGE
    folder, artifacts_url = _artifact_places(env.get("TUNER_CHECKPOINTS"))
    return Settings(
        storage=storage,
        tracking_uri=tracking_uri or env.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI,
        data_home=Path(env.get("TUNER_DATA_HOME") or "~/.cache/tuner/data").expanduser(),
        checkpoints=folder or _project_folder(storage),
        keras_home=Path(env.get("KERAS_HOME") or "~/.keras").expanduser(),
        scratch=Path(env["TUNER_SCRATCH"]).expanduser() if env.get("TUNER_SCRATCH") else None,
        artifacts_url=artifacts_url,
    )


def _artifact_places(chosen: str | None) -> tuple[Path | None, str | None]:
    """The folder and the URL that TUNER_CHECKPOINTS names; at most one of them. Raises UsageError
    for a URL that cannot be used."""
    if not chosen:
        return None, None
    if chosen.startswith("file:///"):
        return local_path(chosen), None
    if "://" in chosen:
        return None, check_store_url(chosen, "TUNER_CHECKPOINTS")
    return Path(chosen).expanduser(), None


def _project_folder(storage: str) -> Path:
    """The project's folder of networks lies beside a SQLite database, from wherever that is used.
    For other databases it lies in the current folder."""
    return (database_folder(storage) or Path()) / ".tuner" / "checkpoints"


def ui_token() -> str | None:
    """What an operator logs in with to the page; None if nothing is set. Later child processes do
    not inherit it."""
    token = os.environ.get("TUNER_UI_TOKEN")
    os.environ.pop("TUNER_UI_TOKEN", None)
    return token or None


def notify_addresses() -> list[str]:
    """What TUNER_NOTIFY holds: addresses, or @FILE, between blanks."""
    return os.environ.get("TUNER_NOTIFY", "").split()


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of processes that use these settings. It carries the URLs, since a command
    line would show their passwords, and has MLflow start few processes."""
    return python_environment() | {
        "TUNER_STORAGE": settings.storage,
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def server_environment(settings: Settings, mlflow_hosts: Sequence[str]) -> dict[str, str]:
    """The environment of the web servers. `mlflow_hosts`: what MLflow accepts as a Host header. Its
    default accepts any name that begins like a private address: 10.evil.example."""
    return child_environment(settings) | {
        "MLFLOW_BACKEND_STORE_URI": mlflow_url(settings.tracking_uri),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(mlflow_hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "false",
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "SAMEORIGIN",
    }


@dataclass(frozen=True, repr=False)
class MlflowLogin:
    """What MLflow's own client sends to a server that asks for a login, and how it checks the
    server's certificate."""

    username: str | None = None
    password: str | None = None
    token: str | None = None
    insecure_tls: bool = False
    server_certificate: str | None = None
    client_certificate: str | None = None


def mlflow_login(tracking_uri: str) -> MlflowLogin:
    """The login in the URL, else the one in MLflow's environment variables, else the one in its
    file ~/.mlflow/credentials."""
    environment = os.environ.get
    address = urlsplit(tracking_uri)
    username: str | None
    password: str | None
    if address.username or address.password:
        username, password = unquote(address.username or ""), unquote(address.password or "")
    else:
        file = _mlflow_credentials()
        username = environment("MLFLOW_TRACKING_USERNAME") or file.get("mlflow_tracking_username")
        password = environment("MLFLOW_TRACKING_PASSWORD") or file.get("mlflow_tracking_password")
    return MlflowLogin(
        username=username,
        password=password,
        token=environment("MLFLOW_TRACKING_TOKEN"),
        insecure_tls=environment("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"),
        server_certificate=environment("MLFLOW_TRACKING_SERVER_CERT_PATH"),
        client_certificate=environment("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
    )


def _mlflow_credentials() -> Mapping[str, str]:
    """MLflow's file of its login; empty where there is none that can be read."""
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    with suppress(OSError, configparser.Error, UnicodeError):
        parser.read(Path("~/.mlflow/credentials").expanduser(), encoding="utf-8")
    return parser["mlflow"] if parser.has_section("mlflow") else {}


@dataclass(frozen=True, repr=False)
class RayLogin:
    """What Ray's own variables say. `address`: "" if unset. `folder`: where Ray keeps what runs on
    this machine. `token`: None where there is none; `source`: where it stands; `token_file`: where
    Ray looks for it by default. `uses_tls`: whether connections are encrypted."""

    address: str
    folder: Path
    token: str | None
    source: str
    token_file: Path
    uses_tls: bool


def ray_login() -> RayLogin:
    """Read RAY_ADDRESS, RAY_TMPDIR, TMPDIR, RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH and RAY_USE_TLS."""
    env = os.environ.get
    token_file = Path(env("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    token, source = (env("RAY_AUTH_TOKEN") or "").strip(), "RAY_AUTH_TOKEN"
    if not token:
        source = str(token_file)
        with suppress(OSError, UnicodeError):
            token = token_file.read_text(encoding="utf-8").strip()
    secret_masking.remember_values([token])
    return RayLogin(
        address=env("RAY_ADDRESS") or "",
        folder=Path(env("RAY_TMPDIR") or env("TMPDIR") or "/tmp") / "ray",
        token=token or None,
        source=source,
        token_file=token_file,
        uses_tls=(env("RAY_USE_TLS") or "").lower() in ("1", "true"),
    )


@contextmanager
def ray_environment(token: str | None) -> Iterator[None]:
    """Inside, Ray in this process uses this token, None for none, and sends no statistics of its
    use. Ray reads all that from the environment alone."""
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    wanted["RAY_AUTH_MODE"] = "disabled" if token is None else "token"
    if token is not None:
        wanted["RAY_AUTH_TOKEN"] = token
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# What NumPy's, scikit-learn's and PyTorch's libraries read when they are loaded.
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def limit_threads(threads: int) -> None:
    """Have libraries that this process loads from now on compute with so many threads, unless the
    environment says otherwise."""
    for name in _THREAD_LIMITS:
        os.environ.setdefault(name, str(threads))


def python_environment() -> dict[str, str]:
    """The environment of Python processes that must import nothing from the current folder: a
    queue.py there would be imported in place of Python's."""
    # An empty entry, as PYTHONPATH=$PYTHONPATH:/more leaves it, means the current folder too.
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    entries = [entry for entry in entries if entry and not is_current_folder(entry)]
    return os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(entries)}


@contextmanager
def libraries_first() -> Iterator[None]:
    """Inside, Python processes that multiprocessing starts look for modules in the libraries first,
    then in the current folder and the main script's. This process' own order is restored."""
    names = ("PYTHONSAFEPATH", "PYTHONPATH")
    environment, path = {name: os.environ.get(name) for name in names}, sys.path.copy()
    os.environ.update(python_environment())
    sys.path[:] = ordered_path(path)
    try:
        yield
    finally:
        sys.path[:] = path
        for name, value in environment.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def quiet_tensorflow() -> None:
    """Keep TensorFlow's start-up notes off the terminal, in processes started from now on."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
