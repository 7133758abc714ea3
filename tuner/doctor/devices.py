"""What TensorFlow can train on."""

from collections.abc import Iterator, Sequence
from typing import Any

from tuner.doctor.finding import Finding, counted, failure, fine, warning
from tuner.execution.devices import PROGRAM, WITHIN_S, DevicesUnknown, tensorflow_devices
from tuner.execution.machine import driver_gpus

_REINSTALL = "python -c 'import tensorflow' shows more; installing it anew may help"
_SLOW = "is the machine busy, or the disk slow? try again"


def tensorflow(arguments: Sequence[str] = PROGRAM, within_s: float = WITHIN_S) -> Iterator[Finding]:
    """`arguments` of Python: a program that prints what it found as its last line."""
    try:
        yield _devices(tensorflow_devices(arguments, within_s))
    except DevicesUnknown as error:
        yield failure("tensorflow", str(error), _REINSTALL if error.in_time else _SLOW)


def _devices(facts: dict[str, Any]) -> Finding:
    versions = f"{facts['tensorflow']} with Keras {facts['keras']}"
    if not facts["works"]:
        return failure("tensorflow", f"{versions} computes wrongly", _REINSTALL)
    usable, shown = len(facts["usable"]), driver_gpus()
    if usable < shown:
        found = f"{versions} can use {usable} of the driver's {counted(shown, 'GPU')}"
        return warning("tensorflow", found, _advice(facts["cuda"]))
    names = ", ".join(sorted({facts["gpus"][index] for index in facts["usable"]}))
    devices = f"{counted(usable, 'GPU')} ({names})" if usable else "the processor's cores"
    return fine("tensorflow", f"{versions} trains on {devices}")


def _advice(built_with_cuda: bool) -> str:
    if not built_with_cuda:
        return "this TensorFlow knows no GPU: pip install 'tuner[gpu]'"
    return "pip install 'tuner[gpu]' brings CUDA's libraries; CUDA_VISIBLE_DEVICES may hide GPUs"
