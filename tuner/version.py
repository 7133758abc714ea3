"""The version of tuner that is running."""

from functools import cache


@cache
def tuner_version() -> str:
    """ "0.1.0"; "unknown" where tuner is run without being installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tuner")
    except PackageNotFoundError:
        return "unknown"
