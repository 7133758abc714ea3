"""Where a study's trials keep their files: networks, and checkpoints while they train."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from tuner.training.events import Checkpoints

CHECKPOINT_EVERY_S = 10.0
# What a killed writer leaves half written, too.
_CHECKPOINTS = ("*.ckpt", "*.part")


@dataclass(frozen=True)
class TrialFiles:
    """`folder`: the study's. Each attempt has names of its own, so that one that was taken over
    while it was frozen overwrites nothing when it wakes."""

    folder: Path
    checkpoint_every_s: float = CHECKPOINT_EVERY_S

    def of(self, number: int) -> Path:
        return (self.folder / f"trial-{number}").absolute()

    def network(self, number: int, attempt: int) -> Path:
        return self.of(number) / f"attempt-{attempt}.keras"

    def checkpoints(self, number: int, attempt: int, known_epochs: int) -> Checkpoints:
        """Of an attempt that begins. A first one has none to go on from: what lies there was left
        by a study of the same name that is gone."""
        if attempt == 1:
            self.forget(number)
        return Checkpoints(self.of(number), attempt, known_epochs, self.checkpoint_every_s)

    def forget(self, number: int) -> None:
        """Remove the checkpoints of a trial that has ended."""
        folder = self.of(number)
        # A file that cannot be removed costs some disk space, and nothing else.
        with contextlib.suppress(OSError):
            for file in [file for form in _CHECKPOINTS for file in folder.glob(form)]:
                file.unlink(missing_ok=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
