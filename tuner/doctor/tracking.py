"""MLflow: whether its store or server answers."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tuner.doctor.finding import Finding, fine, warning
from tuner.errors import LocationError, TrackingError
from tuner.locations import sqlite_file
from tuner.masking import without_secrets
from tuner.settings import Settings
from tuner.suggestions import command
from tuner.tracking.probe import probe


def mlflow(settings: Settings) -> Iterator[Finding]:
    shown = without_secrets(settings.tracking_uri)
    try:
        database = sqlite_file(settings.tracking_uri)
    except LocationError as error:
        yield warning("mlflow", f"{shown}: {error}", "give another one by MLFLOW_TRACKING_URI")
        return
    if database is not None and not database.exists():
        yield fine("mlflow", f"no store yet: the first search makes {database}")
        return
    try:
        probe(settings)
    except TrackingError as error:
        advice = f"searches work without it; to deliver later: {command('sync', '--all')}"
        found = str(error) if shown in str(error) else f"{shown}: {error}"
        yield warning("mlflow", found, advice)
    else:
        yield fine("mlflow", f"{shown} answers")


def store_file(tracking_uri: str) -> Path | None:
    """The file of a local store; None where there is none, or its URL names none."""
    with contextlib.suppress(LocationError):
        return sqlite_file(tracking_uri)
    return None
