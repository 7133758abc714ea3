"""An S3 server of this process (moto), which can be stopped and started again."""

import logging
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tuner.study import remote_artifacts

BUCKET = "team-bucket"


class S3Server:
    """What was stored outlives a stop. `url`: a place for artifacts."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.start()
        self._create_bucket()

    def start_later(self, after_s: float) -> None:
        self._later = threading.Timer(after_s, self.start)
        self._later.start()

    def settle(self) -> None:
        """Wait until it has started, where it starts later."""
        self._later.join()

    @property
    def environment(self) -> Mapping[str, str]:
        """What a machine needs to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
        }

    def url(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}"

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    @contextmanager
    def machine(self, home: Path) -> Iterator[None]:
        """Inside, this process is one on a machine that reaches the server. `home`: where it keeps
        its copies."""
        remote_artifacts._open_client.cache_clear()  # of another server
        with surroundings({**self.environment, "HOME": str(home)}):
            yield

    def _create_bucket(self) -> None:
        import s3fs

        # Servers of one process share what is stored.
        with surroundings(self.environment), suppress(FileExistsError):
            s3fs.S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)


@contextmanager
def surroundings(environment: Mapping[str, str]) -> Iterator[None]:
    """Inside, the environment has these variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """The server of a test module."""
    server = S3Server()
    yield server
    server.stop()
