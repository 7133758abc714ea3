"""What the database says of searches: those at work, and what dead ones have left.

MLflow: whether its store or server answers.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tuner.doctor.findings import Finding, Look, counted, fine, several, warning
from tuner.errors import LocationError, TrackingError
from tuner.settings import Settings
from tuner.storage import diagnostics
from tuner.storage.diagnostics import LoopRow
from tuner.storage.identity import DatabaseIdentity, residence
from tuner.storage.store import ReadOnlyStore
from tuner.system.locations import sqlite_file
from tuner.system.logs import without_secrets
from tuner.system.names import command, in_command
from tuner.tracking.probe import StudyCheck, check_studies, probe_server


def search_checks(store: ReadOnlyStore, settings: Settings) -> dict[str, Look]:
    return {
        "leases": lambda: _leases(store),
        "place": lambda: _slot(store),
        "leftovers": lambda: _leftovers(store),
        "deliveries": lambda: _deliveries(store, settings),
    }


def _leases(store: ReadOnlyStore) -> Iterator[Finding]:
    loops = diagnostics.loops_at_work(store)
    working = [_at_work(loop) for loop in loops if loop.is_at_work]
    yield fine("leases", several(working) if working else "no search is at work")
    gone = [loop for loop in loops if not loop.is_at_work]
    for study in sorted({loop.study for loop in gone}):
        told = several([_gone(loop) for loop in gone if loop.study == study])
        name = in_command(study)
        advice = "the next search of the study takes them over; without running: " + command(
            "study", "repair", name
        )
        yield warning("leases", f"{study}: {told}", advice)


def _slot(store: ReadOnlyStore) -> Iterator[Finding]:
    where = residence(store)
    if where.identity != DatabaseIdentity.UNSURE:
        yield fine("place", "the studies' ids are this database's own")
        return
    found = f"used at {where.elsewhere} before: moved or copied? MLflow is left alone until then"
    yield warning("place", found, f"{command('db', 'moved')}, or {command('db', 'copied')}")


def _at_work(loop: LoopRow) -> str:
    holds = counted(loop.slots, "trial")
    return f"{loop.study}: {_who(loop)} at {holds}, its lease good for {loop.seconds_left:.0f} s"


def _gone(loop: LoopRow) -> str:
    why = "has died" if loop.is_dead else f"let its lease expire {_ago(-loop.seconds_left)} ago"
    return f"{_who(loop)} {why} and still holds {counted(loop.slots, 'place')}"


def _who(loop: LoopRow) -> str:
    return f"{loop.host} (pid {loop.pid})"


def _ago(seconds: float) -> str:
    for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return counted(int(seconds // length), unit)
    return counted(int(seconds), "second")


def _leftovers(store: ReadOnlyStore) -> Iterator[Finding]:
    found = diagnostics.leftovers(store)
    for left in found:
        parts = {"trial that runs nowhere": left.trials, "attempt without an end": left.attempts}
        told = " and ".join(_plural(count, what) for what, count in parts.items() if count)
        advice = command("study", "repair", in_command(left.study))
        yield warning("leftovers", f"{left.study}: {told}", advice)
    if not found:
        yield fine("leftovers", "none")


def _plural(count: int, what: str) -> str:
    """ "2 attempts without an end" """
    noun, rest = what.split(" ", 1)
    return f"{counted(count, noun)} {rest.replace('runs', 'run') if count != 1 else rest}"


def _deliveries(store: ReadOnlyStore, settings: Settings) -> Iterator[Finding]:
    at_work = {loop.study for loop in diagnostics.loops_at_work(store) if loop.is_at_work}
    looked = _looked_at(store, settings)
    for one in looked:
        if one.study in at_work and (one.lacking or one.what):
            yield fine("deliveries", f"{one.study}: {one.lacking:,} on their way")
        elif one.lacking:
            why = f" ({one.what})" if one.what else ""
            found = f"{one.study}: MLflow lacks {counted(one.lacking, 'ended trial')}{why}"
            yield warning("deliveries", found, command("sync", in_command(one.study)))
        elif one.what:
            advice = command("sync", in_command(one.study))
            yield warning("deliveries", f"{one.study}: {one.what}", advice)
    sent = sum(one.ended - one.lacking for one in looked)
    if sent or not any(one.lacking or one.what for one in looked):
        some = "" if all(one.is_whole for one in looked) else "; not all were looked at"
        yield fine("deliveries", f"MLflow has {counted(sent, 'ended trial')}{some}")


def _looked_at(store: ReadOnlyStore, settings: Settings) -> list[StudyCheck]:
    """What MLflow shows; where it cannot be asked, what SQL remembers."""
    counts = diagnostics.all_delivered(store)
    file = store_file(settings.tracking_uri)
    has_store = file is None or file.exists()
    shown = {}
    if has_store and any(sent for sent, _ in counts.values()):
        with contextlib.suppress(TrackingError):  # the check of MLflow itself says so
            shown = {one.study: one for one in check_studies(settings)}
    remembered = {
        study: StudyCheck(study, sent + owed, owed if has_store else sent + owed, None, True)
        for study, (sent, owed) in counts.items()
    }
    return [shown.get(study, one) for study, one in remembered.items()]


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
        probe_server(settings)
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
