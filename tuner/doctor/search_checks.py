"""Checks of searches, running and dead, and of MLflow, which shows their trials."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tuner.doctor.findings import Check, Finding, counted, fine, join_first, warning
from tuner.errors import LocationError, TrackingError
from tuner.settings import Settings
from tuner.storage import diagnostics
from tuner.storage.diagnostics import SlotHolder
from tuner.storage.identity import DatabaseIdentity, residence
from tuner.storage.store import ReadOnlyStore
from tuner.system.locations import sqlite_file
from tuner.system.names import command, in_command
from tuner.system.secret_masking import without_secrets
from tuner.tracking.probe import StudyCheck, check_studies, probe_server


def checks_of_searches(store: ReadOnlyStore, settings: Settings) -> dict[str, Check]:
    """The checks of a database with tables of this version."""
    return {
        "leases": lambda: _check_leases(store),
        "place": lambda: _check_residence(store),
        "leftovers": lambda: _check_leftovers(store),
        "deliveries": lambda: _check_deliveries(store, settings),
    }


def _check_leases(store: ReadOnlyStore) -> Iterator[Finding]:
    loops = diagnostics.loops_at_work(store)
    running = [_describe_running(loop) for loop in loops if loop.is_at_work]
    yield fine("leases", join_first(running) if running else "no search is running")
    dead = [loop for loop in loops if not loop.is_at_work]
    for study in sorted({loop.study for loop in dead}):
        texts = join_first([_describe_dead(loop) for loop in dead if loop.study == study])
        repair = command("study", "repair", in_command(study))
        advice = f"the next search of the study takes them over; without a search: {repair}"
        yield warning("leases", f"{study}: {texts}", advice)


def _check_residence(store: ReadOnlyStore) -> Iterator[Finding]:
    where = residence(store)
    if where.identity != DatabaseIdentity.UNSURE:
        yield fine("place", "the studies' ids are this database's own")
        return
    message = (
        f"used at {where.elsewhere} before: was it moved or copied? Until that is known, nothing "
        "is sent to MLflow"
    )
    yield warning("place", message, f"{command('db', 'moved')}, or {command('db', 'copied')}")


def _describe_running(loop: SlotHolder) -> str:
    trials = counted(loop.slots, "trial")
    return f"{loop.study}: {_process(loop)} trains {trials}, lease {loop.seconds_left:.0f} s"


def _describe_dead(loop: SlotHolder) -> str:
    why = "has died"
    if not loop.is_dead:
        why = f"let its lease expire {_format_age(-loop.seconds_left)} ago"
    return f"{_process(loop)} {why} and still holds {counted(loop.slots, 'trial slot')}"


def _process(loop: SlotHolder) -> str:
    return f"{loop.host} (pid {loop.pid})"


def _format_age(seconds: float) -> str:
    for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return counted(int(seconds // length), unit)
    return counted(int(seconds), "second")


def _check_leftovers(store: ReadOnlyStore) -> Iterator[Finding]:
    studies = diagnostics.leftovers(store)
    for left in studies:
        parts = []
        if left.trials:
            parts.append(f"{counted(left.trials, 'running trial')} without a search")
        if left.attempts:
            parts.append(f"{counted(left.attempts, 'attempt')} without an end")
        advice = command("study", "repair", in_command(left.study))
        yield warning("leftovers", f"{left.study}: {' and '.join(parts)}", advice)
    if not studies:
        yield fine("leftovers", "none")


def _check_deliveries(store: ReadOnlyStore, settings: Settings) -> Iterator[Finding]:
    at_work = {loop.study for loop in diagnostics.loops_at_work(store) if loop.is_at_work}
    studies = _compare_with_mlflow(store, settings)
    for study in studies:
        if study.study in at_work and (study.lacking or study.what):
            yield fine(
                "deliveries",
                f"{study.study}: {counted(study.lacking, 'ended trial')} still to be sent",
            )
        elif study.lacking:
            why = f" ({study.what})" if study.what else ""
            message = f"{study.study}: MLflow lacks {counted(study.lacking, 'ended trial')}{why}"
            yield warning("deliveries", message, command("sync", in_command(study.study)))
        elif study.what:
            advice = command("sync", in_command(study.study))
            yield warning("deliveries", f"{study.study}: {study.what}", advice)
    sent = sum(study.ended - study.lacking for study in studies)
    if sent or not any(study.lacking or study.what for study in studies):
        partial = "" if all(study.is_whole for study in studies) else "; not all were checked"
        yield fine("deliveries", f"MLflow has {counted(sent, 'ended trial')}{partial}")


def _compare_with_mlflow(store: ReadOnlyStore, settings: Settings) -> list[StudyCheck]:
    """What MLflow has of each study. If it does not answer, what SQL recorded as sent."""
    counts = diagnostics.all_delivered(store)
    file = mlflow_file(settings.tracking_uri)
    has_store = file is None or file.exists()
    shown = {}
    if has_store and any(sent for sent, _ in counts.values()):
        with contextlib.suppress(TrackingError):  # check_mlflow reports it.
            shown = {study.study: study for study in check_studies(settings)}
    recorded = {
        study: StudyCheck(study, sent + unsent, unsent if has_store else sent + unsent, None, True)
        for study, (sent, unsent) in counts.items()
    }
    return [shown.get(name, study) for name, study in recorded.items()]


def check_mlflow(settings: Settings) -> Iterator[Finding]:
    uri = without_secrets(settings.tracking_uri)
    try:
        database = sqlite_file(settings.tracking_uri)
    except LocationError as error:
        yield warning("mlflow", f"{uri}: {error}", "set another one by MLFLOW_TRACKING_URI")
        return
    if database is not None and not database.exists():
        yield fine("mlflow", f"no store yet: the first search creates {database}")
        return
    try:
        probe_server(settings)
    except TrackingError as error:
        advice = f"searches work without it; to send their trials later: {command('sync', '--all')}"
        message = str(error) if uri in str(error) else f"{uri}: {error}"
        yield warning("mlflow", message, advice)
    else:
        yield fine("mlflow", f"{uri} answers")


def mlflow_file(tracking_uri: str) -> Path | None:
    """The file of a local SQLite store; None for a server or an invalid URL."""
    with contextlib.suppress(LocationError):
        return sqlite_file(tracking_uri)
    return None
