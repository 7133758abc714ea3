"""MLflow: whether its store or server answers."""

from collections.abc import Iterator
from pathlib import Path

from tuner.doctor.finding import Finding, fine, warning
from tuner.errors import TrackingError
from tuner.settings import Settings
from tuner.tracking.client import without_password
from tuner.tracking.probe import probe

_SQLITE = "sqlite:///"


def mlflow(settings: Settings) -> Iterator[Finding]:
    shown = without_password(settings.tracking_uri)
    database = store_file(settings.tracking_uri)
    if database is not None and not database.exists():
        yield fine("mlflow", f"no store yet: the first search makes {database}")
        return
    try:
        probe(settings)
    except TrackingError as error:
        advice = "tuner optimize works without it; tuner sync delivers later"
        found = str(error) if shown in str(error) else f"{shown}: {error}"
        yield warning("mlflow", found, advice)
    else:
        yield fine("mlflow", f"{shown} answers")


def store_file(tracking_uri: str) -> Path | None:
    """The file of a local store."""
    if not tracking_uri.startswith(_SQLITE):
        return None
    return Path(tracking_uri.removeprefix(_SQLITE).partition("?")[0])
