"""The folder of a function that trains by itself, where the store is on other machines."""

import contextlib
import logging
import tarfile
from pathlib import Path

from tuner.errors import ArtifactsUnavailable
from tuner.study.artifacts import Artifact, Artifacts, patiently
from tuner.system.temporary_folders import OwnFolder

_ARCHIVE = "content.tar"
_CONTENT = "content"
log = logging.getLogger(__name__)


def _safe(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """What may be unpacked: nothing that leads out of the folder, such as a link to elsewhere."""
    try:
        return tarfile.data_filter(member, path)
    except tarfile.FilterError as error:
        log.warning("the trial's folder lacks %s (%s)", member.name, error)
        return None


class RemoteFolder:
    """A temporary folder of this process. Its content is stored as one archive: other machines get
    all of it as it was at one time. `artifacts`: the folder's part of the store."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._temporary = OwnFolder("tuner-folder-")
        self.path = Path(self._temporary.name) / _CONTENT
        self.path.mkdir()
        try:
            patiently(self._restore)
        except ArtifactsUnavailable as error:
            log.warning("the trial's folder begins empty: what was kept is not read (%s)", error)
        self._stored = self._state()

    def _restore(self) -> None:
        if self._artifacts.exists(_ARCHIVE):
            with tarfile.open(self._artifacts.get(Artifact(_ARCHIVE))) as archive:
                archive.extractall(self.path, filter=_safe)

    def keep(self) -> None:
        """Store what has changed. Raises OSError."""
        state = self._state()
        if state == self._stored:
            return

        def write(file: Path) -> None:
            with tarfile.open(file, "w") as archive:
                archive.add(self.path, arcname=".")

        self._artifacts.put(_ARCHIVE, write, checksum=False)
        self._stored = state

    def close(self) -> None:
        self._temporary.cleanup()

    def _state(self) -> dict[str, tuple[int, int]]:
        """Sizes and times of all files, by which changes are seen."""
        state = {}
        for file in self.path.rglob("*"):
            with contextlib.suppress(OSError):  # removed just now
                status = file.lstat()
                state[str(file)] = (status.st_size, status.st_mtime_ns)
        return state
