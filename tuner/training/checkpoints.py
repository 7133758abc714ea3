"""Checkpoints of running trials: one file an attempt; damaged files are ignored. Knows no
TensorFlow."""

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from tuner.errors import ArtifactError, ArtifactsUnavailable
from tuner.settings import tuner_version
from tuner.study.artifacts import Artifact, patiently
from tuner.study.messages import Checkpoints, TrialRequest

# The number changes with the file's form and with Progress: other files are then ignored.
_MAGIC = b"tuner checkpoint 2\n"
_CHECKSUM_BYTES = hashlib.sha256().digest_size
log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a trial has come: finished epochs, the best of them, the objective's value after
    each, seconds by kind of work."""

    epoch: int = 0
    best: float | None = None
    best_epoch: int | None = None
    values: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What training continues from. `arrays`: groups of arrays of numbers, by name."""

    progress: Progress
    arrays: dict[str, list[np.ndarray]] = field(default_factory=dict)


# The Keras engine as earlier versions called it in checkpoints, which must go on fitting.
_KERAS_IN_IDENTITY = "exact"


def identity(request: TrialRequest, network: str, fingerprint: str, surroundings: str) -> str:
    """SHA-256 in hex of everything that decides a trial's curve: training continues only from
    checkpoints of the same identity. `network`: its name, or the identity of a user's own;
    `fingerprint`: of the data; `surroundings`: versions of libraries, device and way of training.
    The version of tuner counts too, since another one may train otherwise.

    Left out: the target, which only says when to stop, and host metrics, which change no weight."""
    deciding: dict[str, Any] = {
        "network": request.network,
        "params": request.params,
        "seed": request.seed,
        "goal": {
            "metric": request.goal.metric,
            "direction": request.goal.direction,
            "target": None,
        },
        "intervals": request.first_epoch_reports,
        "held_out": request.held_out,
        "choices": request.choices,
        "engine": _KERAS_IN_IDENTITY if request.engine == "keras" else request.engine,
        "checkpoints": None,
    }
    if request.last_epoch is not None:
        deciding |= {"earlier": request.earlier, "last_epoch": request.last_epoch}
    parts = [deciding, network, fingerprint, surroundings, tuner_version()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class CheckpointFiles:
    """The checkpoints of a trial as one attempt uses them: it reads those of earlier attempts, and
    writes its own at most every `where.every_s` seconds of `clock`, counted from the start."""

    def __init__(
        self, where: Checkpoints, identity: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._where, self._identity, self._clock = where, identity, clock
        self._written_at, self._writing_s = clock(), 0.0
        self._has_warned = self._has_deleted_earlier = False

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint of an earlier attempt that is undamaged, of the same identity, and
        not beyond the epochs that SQL has."""
        for attempt in self._earlier_attempts():
            checkpoint = self._read(attempt)
            if checkpoint and checkpoint.progress.epoch <= self._where.known_epochs:
                return checkpoint
        return None

    def _read(self, attempt: int) -> Checkpoint | None:
        try:
            path = patiently(lambda: self._where.artifacts.get(Artifact(_name(attempt))))
        except ArtifactsUnavailable as error:
            log.warning("no checkpoint is read (%s)", error)
            return None
        except ArtifactError:
            return None
        return read_checkpoint(path, self._identity)

    def due(self) -> bool:
        """Whether the last checkpoint, or the start, is long enough ago."""
        pause_s = self._where.pause_after(self._writing_s)
        return self._clock() - self._written_at >= pause_s

    def write_latest(self, checkpoint: Checkpoint) -> None:
        """Write this attempt's checkpoint in place of its former one and of earlier attempts'.
        Where that fails, training goes on without one: the first failure is logged."""
        artifacts, name = self._where.artifacts, _name(self._where.attempt)
        began = self._clock()

        def write_content(path: Path) -> None:
            write_checkpoint(path, self._identity, checkpoint)

        try:
            # The file has a checksum of its own.
            artifacts.put(name, write_content, checksum=False)
            self._delete_earlier()
        except OSError as error:
            self._warn_once(name, error)
        self._written_at = self._clock()
        self._writing_s = self._written_at - began

    def _delete_earlier(self) -> None:
        """Once: nobody writes those of earlier attempts any more."""
        if not self._has_deleted_earlier:
            for attempt in self._earlier_attempts():
                self._where.artifacts.delete(_name(attempt))
                self._where.artifacts.delete(f"attempt-{attempt}.part")  # of an earlier version
        self._has_deleted_earlier = True

    def _warn_once(self, name: str, error: OSError) -> None:
        if not self._has_warned:
            path = f"{self._where.artifacts}/{name}"
            reason = error.strerror or error
            log.warning("no checkpoint %s (%s); training goes on without one", path, reason)
        self._has_warned = True

    def _earlier_attempts(self) -> range:
        return range(self._where.attempt - 1, 0, -1)


def _name(attempt: int) -> str:
    return f"attempt-{attempt}.ckpt"


def write_checkpoint(path: Path, identity: str, checkpoint: Checkpoint) -> None:
    """Write the checkpoint to a new file. Raises OSError."""
    with path.open("wb") as file:
        _write_content(file, identity, checkpoint)


def read_checkpoint(path: Path, identity: str) -> Checkpoint | None:
    """The checkpoint at `path`; None if there is no undamaged one of this identity."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    body, checksum = memoryview(content)[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != checksum:
        return None
    file = io.BytesIO(content)
    file.seek(len(_MAGIC))
    header = json.loads(file.readline())
    if header["identity"] != identity:
        return None
    arrays = {
        name: [_with_dtype(np.load(file, allow_pickle=False), dtype) for dtype in dtypes]
        for name, dtypes in header["arrays"].items()
    }
    return Checkpoint(Progress(**header["progress"]), arrays)


def _with_dtype(array: np.ndarray, dtype: str) -> np.ndarray:
    # .npy stores only NumPy's own dtypes: a bfloat16 comes back as two bytes without a type.
    return array.view(np.dtype(dtype)) if array.dtype.kind == "V" else array


def _write_content(file: IO[bytes], identity: str, checkpoint: Checkpoint) -> None:
    """The magic, a line of JSON, the arrays as .npy one after the other, the checksum of all."""
    hashed = _HashedFile(file)
    header = {
        "identity": identity,
        "progress": asdict(checkpoint.progress),
        "arrays": {
            name: [a.dtype.name for a in group] for name, group in checkpoint.arrays.items()
        },
    }
    hashed.write(_MAGIC + json.dumps(header).encode() + b"\n")
    for group in checkpoint.arrays.values():
        for array in group:
            np.save(hashed, array, allow_pickle=False)
    file.write(hashed.digest.digest())


class _HashedFile:
    """A file that hashes what is written to it (SHA-256), without a copy in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self.digest.update(content)
