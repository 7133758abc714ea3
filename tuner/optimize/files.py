"""Where a study's trials keep their files: networks, and checkpoints while they train."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from tuner.artifacts import Artifact
from tuner.execution import Saved
from tuner.training.events import Checkpoints

# Less than a loop that stops waits for an epoch (loop.CHECKPOINT_WAIT_S): what takes longer than
# that has a checkpoint of its last epoch.
CHECKPOINT_EVERY_S = 4.0
# What a killed writer leaves half written, too.
_CHECKPOINTS = ("*.ckpt", "*.part")


def workers_log(root: Path, uuid: str) -> Path:
    """What the workers of a study print. `root`: the project's folder of networks."""
    return root / uuid / "workers.log"


@dataclass(frozen=True)
class TrialFiles:
    """`root`: the project's folder of networks; `uuid`: the study's. Each attempt has names of its
    own, so that one that was taken over while it was frozen overwrites nothing when it wakes."""

    root: Path
    uuid: str
    checkpoint_every_s: float = CHECKPOINT_EVERY_S

    def of(self, number: int) -> Path:
        return (self.root / self.uuid / f"trial-{number}").absolute()

    def network(self, number: int, attempt: int) -> Path:
        return self.of(number) / f"attempt-{attempt}.keras"

    def saved(self, message: Saved) -> Artifact:
        """What SQL keeps of a network that a worker has saved."""
        path = message.path.relative_to(self.root.absolute()).as_posix()
        return Artifact(path, message.size, message.sha256)

    def checkpoints(self, number: int, attempt: int, known_epochs: int) -> Checkpoints:
        """Of an attempt that begins."""
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
