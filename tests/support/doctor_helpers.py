"""A database seen through the doctor's eyes."""

from pathlib import Path

from tuner.doctor import Finding, examine
from tuner.settings import Settings

OF_THE_MACHINE = {"python", "libraries", "cores", "memory", "folders", "disk space"}
OF_A_DATABASE = {"database", "writing", "schema", "leases", "leftovers", "place", "deliveries"}


def settings_for(url: str, folder: Path, tracking_uri: str | None = None) -> Settings:
    uri = tracking_uri or f"sqlite:///{folder}/mlruns/mlflow.db"
    return Settings(url, uri, folder, folder / "checkpoints", folder / "keras")


def found_in(url: str, folder: Path, tracking_uri: str | None = None) -> list[Finding]:
    return list(examine(settings_for(url, folder, tracking_uri), quick=True))


def of(findings: list[Finding], check: str) -> Finding:
    """The only finding of a check."""
    (one,) = [finding for finding in findings if finding.check == check]
    return one


def troubles(findings: list[Finding]) -> list[Finding]:
    # How much memory and disk is free is the machine's own affair.
    return [f for f in findings if f.state != "ok" and f.check not in OF_THE_MACHINE]
