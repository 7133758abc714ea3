"""What a study's trials may do now."""

from enum import StrEnum


class StudyState(StrEnum):
    """Whether a study's trials may run. SQL stores the word, and NULL for RUNNING."""

    RUNNING = ""
    """They run wherever somebody works on the study."""
    PAUSED = "paused"
    """None runs until the study is resumed. Searches in the foreground wait."""
    STOPPED = "stopped"
    """Searches end. Daemons leave the study alone until it is resumed, or until somebody searches
    it in the foreground."""

    @classmethod
    def read(cls, stored: object) -> "StudyState":
        """What SQL has stored. A word of a later version keeps trials from running: PAUSED."""
        try:
            return cls(str(stored or ""))
        except ValueError:
            return cls.PAUSED
