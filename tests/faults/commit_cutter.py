"""A proxy before PostgreSQL's socket that cuts connections when a commit has just been answered:
the server has committed, the client never hears of it."""

import random
import socket
import threading
from pathlib import Path

_SOCKET = ".s.PGSQL.5432"
# The server's word that a transaction is committed: CommandComplete, 11 bytes, its tag.
_COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"


class CommitCutter:
    """Listens in `folder`, as a server there would. `chance`: of each commit to be cut off."""

    def __init__(self, folder: Path, server_folder: str, chance: float, seed: int = 0) -> None:
        self.cuts = 0
        self._chance, self._random = chance, random.Random(seed)
        self._server_path = f"{server_folder}/{_SOCKET}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _SOCKET))
        self._listener.listen()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for end in self._open:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server_path)
            self._open += [client, server]
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        self._pump(client, server, cuts=False)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        self._pump(server, client, cuts=True)

    def _pump(self, source: socket.socket, target: socket.socket, cuts: bool) -> None:
        try:
            while data := source.recv(65536):
                if cuts and _COMMITTED in data and self._random.random() < self._chance:
                    self.cuts += 1
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
