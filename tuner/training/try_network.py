"""The process that tries a user's own network: `python -m tuner.training.try_network FD`. FD is the
end of a pipe that brings the request and takes the answers."""

import os
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection

from tuner.errors import NetworkError
from tuner.networks.custom import CustomNetwork
from tuner.search_space.function_kinds import FunctionKind
from tuner.training.hypermodel_check import check_hypermodel
from tuner.training.network_check import check_network, error_line
from tuner.training.ops.libraries import tensorflow as tf
from tuner.training.trial_builds import Answer, Refused, Step, TrialBuilds, Tried

_CHECKS = {FunctionKind.HYPERMODEL: check_hypermodel}
# The network gets at least this time, however long the imports took.
_LEAST_S = 5.0


def main() -> None:
    connection = Connection(int(sys.argv[1]))
    request: TrialBuilds = connection.recv()
    request = replace(request, until=max(request.until, time.monotonic() + _LEAST_S))
    threading.Thread(target=_end_with_command, args=(connection,), daemon=True).start()
    tf.get_logger().setLevel("ERROR")
    connection.send(_answer(request, connection))
    # Threads that the user's code left running must not keep the process alive.
    os._exit(0)


def _answer(request: TrialBuilds, connection: Connection) -> Answer:
    try:
        network = CustomNetwork(*request.code)
        check = _CHECKS.get(request.function_kind, check_network)
        return check(network, request, lambda text: connection.send(Step(text)))
    except NetworkError as error:
        return Refused(str(error))
    except Exception as error:  # a fault of tuner: the network may be right
        return Tried(0, (f"the network could not be tried: {error_line(error)}",))


def _end_with_command(connection: Connection) -> None:
    try:
        connection.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


if __name__ == "__main__":
    main()
