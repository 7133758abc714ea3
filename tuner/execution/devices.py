"""TensorFlow, asked in a process of its own what it can train on."""

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tuner.settings import python_environment, quiet_tensorflow

PROGRAM = ("-P", "-m", "tuner.training.devices")
WITHIN_S = 120.0


class DevicesUnknown(Exception):
    """TensorFlow could not say; the message is one line."""

    def __init__(self, message: str, in_time: bool = True) -> None:
        super().__init__(message)
        self.in_time = in_time


@functools.cache
def tensorflow_devices(
    arguments: Sequence[str] = PROGRAM, within_s: float = WITHIN_S
) -> dict[str, Any]:
    """What `tuner.training.devices` prints. `arguments` of Python: the program that is asked.
    Raises DevicesUnknown when it ends with an error, or not in time."""
    quiet_tensorflow()
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=python_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DevicesUnknown(f"did not start within {within_s:.0f} s", in_time=False) from error
    if done.returncode != 0:
        raise DevicesUnknown(_last_words(done))
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode == -signal.SIGILL:
        return "needs instructions (AVX) that this processor lacks"
    if done.returncode < 0:
        return f"died of {signal.Signals(-done.returncode).name}"
    return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
