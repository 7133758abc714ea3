"""Saved networks and checkpoints in a store that many machines reach: s3://, gs:// or az://.

Only the store's URL is pickled. Each machine has credentials of its own, in its environment or in
the files of the store's client, such as ~/.aws.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from tuner.errors import (
    ArtifactError,
    ArtifactsUnavailable,
    TunerError,
    UsageError,
    first_line,
)
from tuner.study import download_cache
from tuner.study.artifacts import (
    Artifact,
    Content,
    StoredFolder,
    check_file,
    checked_name,
    measure,
    write_content,
)
from tuner.study.remote_folders import RemoteFolder
from tuner.system.store_urls import SCHEMES
from tuner.system.temporary_folders import OwnFolder

# A store that cannot be reached is asked again for so long before a put fails.
_PATIENCE_S = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_DELETIONS_AT_ONCE = 16
# What makes a part of a name a pattern.
_WILD = set("*?[")


@dataclass(frozen=True)
class RemoteArtifacts:
    """Artifacts as objects of a bucket. `url`: such as s3://bucket/prefix, without credentials.

    A `put` is one upload: stores show an object only once it is whole. A `get` downloads into
    `download_cache` what is not there yet.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def below(self, prefix: str) -> "RemoteArtifacts":
        return RemoteArtifacts(self._place(prefix))

    def put(self, name: str, content: Content, *, checksum: bool = True) -> Artifact:
        self._place(name)
        if isinstance(content, Path):
            return self._upload(name, content, checksum)
        with OwnFolder("tuner-upload-") as folder:
            file = Path(folder) / PurePosixPath(name).name
            write_content(file, content)
            return self._upload(name, file, checksum)

    def _upload(self, name: str, file: Path, checksum: bool) -> Artifact:
        stored = measure(name, file) if checksum else Artifact(name, file.stat().st_size)
        with _one_line(self._place(name)):
            _patiently(lambda: self._files().put_file(str(file), self._key(name)))
        return stored

    def get(self, artifact: Artifact) -> Path:
        name, place, key = artifact.path, self._place(artifact.path), self._key(artifact.path)
        with _one_line(place):
            facts = self._facts(name)
            if facts is None:
                raise ArtifactError(f"{place} is no file")
            if artifact.size is not None and facts["size"] != artifact.size:
                raise ArtifactError(f"{place} is not the file that was saved (another size)")
            copy = artifact.sha256 or _digest(f"{place}\n{sorted(facts.items(), key=str)}")
            return self._copy_of(copy, artifact, partial(self._download, key))

    def _copy_of(self, copy: str, artifact: Artifact, download: Callable[[Path], object]) -> Path:
        """The local copy, checked. One that was damaged on this disk is downloaded again."""
        place, name = self._place(artifact.path), PurePosixPath(artifact.path).name
        try:
            file = download_cache.cached(copy, name, download)
            check_file(file, artifact, place)
        except ArtifactError:
            download_cache.forget(copy)
            file = download_cache.cached(copy, name, download)
            try:
                check_file(file, artifact, place)
            except ArtifactError:
                download_cache.forget(copy)
                raise
        return file

    def _download(self, key: str, target: Path) -> None:
        self._files().get_file(key, str(target))

    def folder(self, name: str) -> StoredFolder:
        return RemoteFolder(self.below(name))

    def exists(self, name: str) -> bool:
        with _one_line(self._place(name)):
            return self._facts(name) is not None

    def copy(self, name: str, to: str) -> None:
        with _one_line(self._place(name)):
            self._files().cp_file(self._key(name), self._key(to))

    def delete(self, name: str) -> None:
        with _one_line(self._place(name)), suppress(FileNotFoundError):
            self._files().rm_file(self._key(name))

    def names(self, pattern: str) -> list[str]:
        fixed = PurePosixPath(pattern).parts
        wild = next((n for n, part in enumerate(fixed) if set(part) & _WILD), len(fixed) - 1)
        start = "/".join(fixed[:wild])
        is_flat = wild == len(fixed) - 1 and fixed[wild] != "**"
        with _one_line(self._place(start) if start else self.url):
            found = self._below(start, is_flat=is_flat)
        return sorted(name for name in found if _matches(PurePosixPath(name).parts, fixed))

    def sweep(self, prefix: str, patterns: Sequence[str] = ()) -> None:
        self._place(prefix)
        with suppress(ArtifactsUnavailable), _one_line(self._place(prefix)):
            wanted = [PurePosixPath(prefix, pattern).parts for pattern in patterns]
            names = [
                name
                for name in self._below(prefix)
                if not wanted
                or any(_matches(PurePosixPath(name).parts, pattern) for pattern in wanted)
            ]
            with ThreadPoolExecutor(_DELETIONS_AT_ONCE) as threads:
                # Each is tried, whatever becomes of the others.
                for deletion in [threads.submit(self.delete, name) for name in names]:
                    with suppress(ArtifactsUnavailable):
                        deletion.result()

    def _below(self, prefix: str, *, is_flat: bool = False) -> list[str]:
        """The names of all files below the prefix; with `is_flat` those of its own files and
        folders alone."""
        files, key = self._files(), self._key(prefix)
        with suppress(FileNotFoundError):
            found = files.ls(key, detail=False) if is_flat else files.find(key)
            root = self._key("")
            return [path[len(root) :].strip("/") for path in found if path.startswith(root)]
        return []

    def _facts(self, name: str) -> dict[str, Any] | None:
        """What the store says of the file; None where there is none, or a folder."""
        try:
            facts: dict[str, Any] = self._files().info(self._key(name))
        except FileNotFoundError as error:
            if _is_of_bucket(error):
                raise
            return None
        return facts if facts["type"] == "file" else None

    def _place(self, name: str) -> str:
        return f"{self.url}/{checked_name(name)}"

    def _key(self, name: str) -> str:
        """The client's name of the file: bucket/prefix/name."""
        root = self.url.partition("://")[2]
        return f"{root}/{checked_name(name)}" if name else root

    def _files(self) -> Any:
        return _open_client(self.url.partition("://")[0], os.getpid())


# One for a process: a client is no use to a process that was forked from its own.
@cache
def _open_client(scheme: str, process: int) -> Any:
    kind = SCHEMES[scheme]
    try:
        import fsspec

        # Listings must not be remembered: other machines write too.
        return fsspec.filesystem(
            kind.protocol, skip_instance_cache=True, use_listings_cache=False, **kind.options
        )
    except ImportError as error:
        raise UsageError(
            f"{scheme}:// needs a package that is not installed: pip install '{kind.package}'"
        ) from error


@contextmanager
def _one_line(place: str) -> Iterator[None]:
    """Whatever the store's client raises becomes an ArtifactsUnavailable."""
    try:
        yield
    except TunerError:
        raise
    except Exception as error:
        raise ArtifactsUnavailable(f"{place}: {_reason(error)}") from error


def _patiently(upload: Callable[[], object]) -> None:
    """Again and again for a while, where the store cannot be reached."""
    deadline, pause_s = time.monotonic() + _PATIENCE_S, _FIRST_PAUSE_S
    while True:
        try:
            upload()
        except Exception as error:
            if not _may_pass(error) or time.monotonic() + pause_s > deadline:
                raise
        else:
            return
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


# Errors of botocore, by name: it may not be installed.
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound")
_NOT_REACHED = ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError")


def _is_a(error: BaseException, names: Sequence[str]) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _is_of_bucket(error: BaseException) -> bool:
    return "bucket does not exist" in str(error) or "NoSuchBucket" in str(error)


def _may_pass(error: BaseException) -> bool:
    is_lasting = isinstance(error, TunerError | FileNotFoundError | PermissionError | ValueError)
    return not is_lasting and not _is_a(error, _NO_CREDENTIALS)


def _reason(error: BaseException) -> str:
    if _is_of_bucket(error):
        return "there is no such bucket"
    if isinstance(error, PermissionError):
        return f"access is denied ({_text(error)}); check this machine's credentials"
    if _is_a(error, _NO_CREDENTIALS):
        return (
            "this machine has no credentials for it; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials"
        )
    if _is_a(error, _NOT_REACHED) or isinstance(error, ConnectionError | TimeoutError):
        server = re.search(r"https?://[^/\"']+", str(error))
        return f"the store cannot be reached{f' at {server[0]}' if server else ''}"
    return first_line(error)


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _matches(name: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a name match those of a pattern, as `Path.glob` does: "**" stands for
    any number of folders."""
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(_matches(name[skipped:], pattern[1:]) for skipped in range(len(name) + 1))
    return bool(name) and fnmatchcase(name[0], pattern[0]) and _matches(name[1:], pattern[1:])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
