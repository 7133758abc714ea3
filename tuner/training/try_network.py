"""The process that tries a user's own network: `python -m tuner.training.try_network FD`, a pipe's
end, over which the request comes and the answers go."""

import os
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection

from tuner.errors import NetworkError
from tuner.networks.custom import CustomNetwork
from tuner.networks.libraries import tensorflow as tf
from tuner.training.network_check import check_network, error_line
from tuner.training.trial_builds import Answer, Refused, Step, TrialBuilds, Tried

# Where the imports have taken long, so much is left for the network all the same.
_LEAST_S = 5.0


def main() -> None:
    connection = Connection(int(sys.argv[1]))
    request: TrialBuilds = connection.recv()
    request = replace(request, until=max(request.until, time.monotonic() + _LEAST_S))
    threading.Thread(target=_end_with_command, args=(connection,), daemon=True).start()
    tf.get_logger().setLevel("ERROR")
    connection.send(_answer(request, connection))
    # What a user's code has left running must not keep the process.
    os._exit(0)


def _answer(request: TrialBuilds, connection: Connection) -> Answer:
    try:
        network = CustomNetwork(*request.code)
        return check_network(network, request, lambda text: connection.send(Step(text)))
    except NetworkError as error:
        return Refused(str(error))
    except Exception as error:  # a fault of ours: the network may be right
        return Tried(0, (f"the network could not be tried: {error_line(error)}",))


def _end_with_command(connection: Connection) -> None:
    try:
        connection.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


if __name__ == "__main__":
    main()
