"""A real MLflow server on loopback, and a proxy before it that misbehaves as it is told."""

import contextlib
import os
import random
import signal
import socket
import sqlite3
import threading
import time
import urllib.request
from pathlib import Path

from fork_server import start
from pump import pump

from tuner.tracking import client

_SERVES = "import os, runpy; os.setsid(); runpy.run_module('uvicorn', run_name='__main__')"
_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class MlflowServer:
    """Starts in seconds. `stop` ends it with all of its processes."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        (folder / "artifacts").mkdir(exist_ok=True)
        self._make_tables(folder / "mlflow.db")
        # What `mlflow server` starts, without new interpreters, which import MLflow: 3 s for each.
        # By mlflow.server.constants, whose import would load a server into this process.
        environment = os.environ | {
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        words = [*arguments, "mlflow.server.fastapi_app:app"]
        with (folder / "server.log").open("wb") as log, Path(os.devnull).open() as nothing:
            streams = (nothing.fileno(), log.fileno(), log.fileno())
            self._process = start(_SERVES, words, folder, streams, environment)
        self._wait()

    @staticmethod
    def _make_tables(database: Path) -> None:
        """`mlflow server` makes them before it serves."""
        client._make_tables(database, database.parent)
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("UPDATE experiments SET artifact_location = 'mlflow-artifacts:/0'")
            connection.commit()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            raise AssertionError("the server does not start")
        # The first request opens the store.
        experiments = f"{self.uri}/api/2.0/mlflow/experiments/search?max_results=1"
        urllib.request.urlopen(experiments, timeout=60).close()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Proxy:
    """Before a server on loopback. `mode`: pass; refuse, which closes at once; frozen, which
    answers nothing; 500, which answers only that; drop, which hands requests on, and in half of the
    cases cuts the answer off."""

    def __init__(self, target_port: int, mode: str = "pass") -> None:
        self.mode, self.dropped = mode, 0
        self._target, self._random = target_port, random.Random(5)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        for end in [self._listener, *self._open]:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.mode == "refuse":
            client.close()
        elif self.mode == "500":
            client.recv(65536)
            client.sendall(_ERROR)
            client.close()
        elif self.mode != "frozen":
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open.append(server)
            threading.Thread(target=pump, args=(client, server), daemon=True).start()
            pump(server, client, self._cuts)

    def _cuts(self, _data: bytes) -> bool:
        cut = self.mode == "drop" and self._random.random() < 0.5
        self.dropped += cut
        return cut
