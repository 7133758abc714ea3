"""TensorFlow, asked in a process of its own what it can train on."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from tuner.doctor.finding import Finding, counted, failure, fine, warning
from tuner.execution.machine import gpus
from tuner.settings import Settings, child_environment, quiet_tensorflow

DEVICES = ("-P", "-m", "tuner.training.devices")
_WITHIN_S = 120.0
_REINSTALL = "python -c 'import tensorflow' shows more; installing it anew may help"


def tensorflow(
    settings: Settings, arguments: Sequence[str] = DEVICES, within_s: float = _WITHIN_S
) -> Iterator[Finding]:
    """`arguments` of Python: a program that prints what it found as its last line."""
    quiet_tensorflow()
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=child_environment(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        found = f"did not start within {within_s:.0f} s"
        yield failure("tensorflow", found, "is the machine busy, or the disk slow? try again")
        return
    if done.returncode != 0:
        yield failure("tensorflow", _last_words(done), _REINSTALL)
    else:
        yield _devices(json.loads(done.stdout.splitlines()[-1]))


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode == -signal.SIGILL:
        return "needs instructions (AVX) that this processor lacks"
    if done.returncode < 0:
        return f"died of {signal.Signals(-done.returncode).name}"
    return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]


def _devices(facts: dict[str, Any]) -> Finding:
    versions = f"{facts['tensorflow']} with Keras {facts['keras']}"
    if not facts["works"]:
        return failure("tensorflow", f"{versions} computes wrongly", _REINSTALL)
    seen, shown = len(facts["gpus"]), len(gpus())
    if seen < shown:
        found = f"{versions} sees {seen} of the driver's {counted(shown, 'GPU')}"
        return warning("tensorflow", found, _advice(facts["cuda"]))
    names = ", ".join(sorted(set(facts["gpus"])))
    devices = f"{counted(seen, 'GPU')} ({names})" if seen else "the processor's cores"
    return fine("tensorflow", f"{versions} trains on {devices}")


def _advice(built_with_cuda: bool) -> str:
    if not built_with_cuda:
        return "this TensorFlow knows no GPU: pip install 'tuner[gpu]'"
    return "pip install 'tuner[gpu]' brings CUDA's libraries; CUDA_VISIBLE_DEVICES may hide GPUs"
