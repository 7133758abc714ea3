"""A proxy before PostgreSQL's socket that cuts connections when a commit has just been answered:
the server has committed, the client never hears of it."""

import random
import socket
import threading
from pathlib import Path

from pump import pump

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
            threading.Thread(target=pump, args=(client, server), daemon=True).start()
            answers = (server, client, self._cuts)
            threading.Thread(target=pump, args=answers, daemon=True).start()

    def _cuts(self, data: bytes) -> bool:
        cut = _COMMITTED in data and self._random.random() < self._chance
        self.cuts += cut
        return cut
