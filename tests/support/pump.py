"""Handing bytes from one socket to another, until a connection is to be cut."""

import socket
from collections.abc import Callable


def pump(
    source: socket.socket,
    target: socket.socket,
    cuts: Callable[[bytes], bool] = lambda data: False,
) -> None:
    """Until either end closes, or `cuts` wants the connection cut off instead of going on."""
    try:
        while data := source.recv(65536):
            if cuts(data):
                break
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
