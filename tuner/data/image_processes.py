"""Decoding of many image files at once, in a process a core.

Threads would wait for each other: of a small file most of the time is Python's. The processes run
image_decoding.py alone, by its path: they need neither tuner nor what the program has imported,
and are safe where a fork would not be, beside TensorFlow.
"""

import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict

from tuner.data import image_decoding
from tuner.data.image_decoding import Decoded, Job, run_job
from tuner.errors import DatasetError
from tuner.system.machine import cores

_log = logging.getLogger(__name__)

# Below, starting processes takes longer than what they save.
_FEW_FILES = 1000
_FEW_BYTES = 32 * 2**20
_FIRST_WORD_S, _NEXT_WORD_S = 5.0, 30.0


def run_jobs(jobs: Sequence[Job], file_bytes: int, source: str) -> Iterator[Decoded]:
    """The outcomes of the jobs as they come, until one ends them. `file_bytes`: of all files. What
    takes long says how far it is. Raises DatasetError where a process dies."""
    count = sum(len(job.paths) for job in jobs)
    are_few = count < _FEW_FILES and file_bytes < _FEW_BYTES
    processes = 1 if are_few else min(cores(), len(jobs))
    outcomes = _in_processes(jobs, processes, source) if processes > 1 else _here(jobs)
    begin, done, next_word_s = time.monotonic(), 0, _FIRST_WORD_S
    for outcome in outcomes:
        yield outcome
        if outcome.ends:
            return
        done += outcome.done
        passed = time.monotonic() - begin
        if passed > next_word_s and done < count:
            next_word_s = passed + _NEXT_WORD_S
            left = passed / done * (count - done)
            _log.warning("%s: %d of %d images decoded, %.0f s left", source, done, count, left)


def _here(jobs: Sequence[Job]) -> Iterator[Decoded]:
    for job in jobs:
        yield from run_job(job)


def _in_processes(jobs: Sequence[Job], processes: int, source: str) -> Iterator[Decoded]:
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    outcomes: queue.SimpleQueue[Decoded | Exception | None] = queue.SimpleQueue()
    decoders = [_start() for _ in range(processes)]
    threads = [
        threading.Thread(target=_feed, args=(decoder, waiting, outcomes, source), daemon=True)
        for decoder in decoders
    ]
    try:
        for thread in threads:
            thread.start()
        running = processes
        while running:
            outcome = outcomes.get()
            if outcome is None:
                running -= 1
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                yield outcome
    finally:
        for decoder in decoders:
            decoder.kill()
        for thread in threads:
            thread.join()
        for decoder in decoders:
            _close(decoder)


def _start() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", os.fspath(image_decoding.__file__)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # libraries in C print notes on odd files
        text=True,
    )


def _close(decoder: "subprocess.Popen[str]") -> None:
    assert decoder.stdin is not None and decoder.stdout is not None
    decoder.wait()
    with suppress(OSError):  # what was not sent
        decoder.stdin.close()
    decoder.stdout.close()


def _feed(
    decoder: "subprocess.Popen[str]",
    waiting: "queue.SimpleQueue[Job]",
    outcomes: "queue.SimpleQueue[Decoded | Exception | None]",
    source: str,
) -> None:
    """Give the process one job after the other, and pass on what it answers; None at the end."""
    try:
        while True:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                break
            for outcome in _answers(decoder, job):
                outcomes.put(outcome)
    except (OSError, ValueError) as error:
        reason = f"ended with {code}" if (code := decoder.wait()) else str(error)
        outcomes.put(DatasetError(f"{source}: a process that decodes images {reason}; try again"))
    finally:
        outcomes.put(None)


def _answers(decoder: "subprocess.Popen[str]", job: Job) -> Iterator[Decoded]:
    """Raises OSError or ValueError where the process has died."""
    assert decoder.stdin is not None and decoder.stdout is not None
    decoder.stdin.write(json.dumps(asdict(job)) + "\n")
    decoder.stdin.flush()
    done = 0
    while done < len(job.paths):
        outcome = Decoded.from_json(decoder.stdout.readline())
        yield outcome
        if outcome.ends:
            return
        done += outcome.done
