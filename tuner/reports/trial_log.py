"""What a search logged while a trial ran: the end of it, where the log is on this machine."""

import re
from dataclasses import dataclass
from pathlib import Path

from tuner.runner.study_files import search_log
from tuner.settings import Settings
from tuner.storage.studies import StudyRow
from tuner.system.secret_masking import without_secrets

_MOST_LINES = 200
_MOST_BYTES = 2**20


@dataclass(frozen=True)
class TrialLog:
    """`lines`: from the trial's last beginning to its end, at most the last 200, with those of
    trials that ran beside it; empty where the log no longer mentions it."""

    file: Path
    lines: list[str]


def read_trial_log(settings: Settings, study: StudyRow, number: int) -> TrialLog | None:
    """The log of a trial's search; None if this machine has none."""
    file = search_log(settings.checkpoints, study.uuid)
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(max(0, size - _MOST_BYTES))
            text = opened.read(_MOST_BYTES).decode(errors="replace")
    except OSError:
        return None
    lines = text.splitlines()
    if size > _MOST_BYTES:
        lines = lines[1:]  # the first one is cut
    return TrialLog(file, [without_secrets(line) for line in _of_trial(lines, number)])


def _of_trial(lines: list[str], number: int) -> list[str]:
    begun = re.compile(rf"\btrial {number}, attempt \d+: given to worker")
    ended = re.compile(rf"\btrial {number} ended\b")
    begins = [place for place, line in enumerate(lines) if begun.search(line)]
    mentioned = [place for place, line in enumerate(lines) if ended.search(line)]
    if not begins and not mentioned:
        return []
    first = begins[-1] if begins else 0
    last = next((place for place in mentioned if place >= first), len(lines) - 1)
    return lines[max(first, last + 1 - _MOST_LINES) : last + 1]
