"""What `tuner.training.try_network` is in the tests of its limits: a process without TensorFlow
that does what a user's network may do. Its request is the name of that."""

import ctypes
import os
import subprocess
import sys
import time
from multiprocessing.connection import Connection

from tuner.training.trial_builds import Refused, Step, Tried


def main() -> None:
    connection = Connection(int(sys.argv[1]))
    deed = connection.recv().described
    connection.send(Step("builds with units=8"))
    if deed == "hangs":
        child = subprocess.Popen(["sleep", "600"])
        connection.send(Step(f"waits for {child.pid}"))
        time.sleep(600)
    elif deed == "eats":
        held = []
        while True:
            held.append(bytearray(b"x") * 2**24)
            time.sleep(0.001)
    elif deed == "crashes":
        ctypes.string_at(0)
    elif deed == "exits":
        os._exit(3)
    elif deed == "asks":
        connection.send(Refused(f"net.py:build: read {sys.stdin.read()!r}"))
    connection.send(Tried(1))


if __name__ == "__main__":
    main()
