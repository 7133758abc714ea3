"""What there is to tell of a study."""

import math
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tuner.system.names import printable
from tuner.system.secret_masking import without_secrets
from tuner.values import format_number


class NoticeKind(StrEnum):
    """The words are part of the messages that programs read: they never change."""

    BEST = "best"
    """A trial has a better score than all others."""
    DONE = "done"
    """The search has ended as it was meant to."""
    FAILING = "failing"
    """Trials fail, a search was stopped, or a daemon cannot take the study."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Announcement:
    """What is told of a study. `uuid`: the study's. `what`: what has happened, a line without the
    study's name; empty for a new best score. `trial`, `score`, `metric`: the best trial so far.
    `done`, `total`: trials of the study."""

    kind: NoticeKind
    study: str
    uuid: str
    what: str = ""
    trial: int | None = None
    score: float | None = None
    metric: str | None = None
    done: int | None = None
    total: int | None = None
    at: datetime = field(default_factory=_now)

    @property
    def text(self) -> str:
        """All of it in a line, without passwords."""
        parts = [self.what or self._best("new best"), self._progress()]
        if self.what and self.score is not None:
            parts.append(self._best("best"))
        words = "; ".join(part for part in parts if part)
        return without_secrets(f"study {printable(self.study)}: {' '.join(words.split())}")

    def _best(self, word: str) -> str:
        return f"{word} {self.metric} {format_number(self.score)} (trial {self.trial})"

    def _progress(self) -> str:
        if self.done is None or self.total is None:
            return ""
        return f"{self.done} of {self.total} trials done"

    @property
    def facts(self) -> dict[str, Any]:
        """For programs, as JSON holds it; without passwords. `time` is in UTC."""
        is_number = self.score is not None and math.isfinite(self.score)
        return {
            "kind": str(self.kind),
            "study": without_secrets(self.study),
            "uuid": self.uuid,
            "text": self.text,
            "trial": self.trial,
            "score": self.score if is_number else None,
            "metric": self.metric,
            "done": self.done,
            "total": self.total,
            "host": socket.gethostname(),
            "time": self.at.isoformat(timespec="seconds"),
        }
