"""One function in several processes at the same moment."""

import multiprocessing
import random
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import optuna
from toy_study import Bench

from tuner.runner.policy import completed, put_back
from tuner.runner.trial_writer import TrialWriter
from tuner.storage import leases, open_store, slots
from tuner.storage.studies import load_study
from tuner.study.ends import TrialEnd
from tuner.study.messages import Ended

_PRELOAD = ["pytest", "psycopg", "sqlalchemy.dialects.sqlite", "tuner.runner", "toy_study"]


def at_once(function: Callable[..., Any], *args: Any, count: int = 4) -> list[Any]:
    """What `function` returned, or raised, in each of `count` processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    barrier, results = context.Barrier(count), context.Queue()
    processes = [
        context.Process(target=_run, args=(barrier, results, function, args)) for _ in range(count)
    ]
    for process in processes:
        process.start()
    returned = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return returned


def _run(
    barrier: Barrier, results: "Queue[Any]", function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    barrier.wait(60)
    try:
        results.put(function(*args))
    except Exception as error:
        results.put(f"{type(error).__name__}: {error}")


def open_and_close(url: str) -> str:
    store = open_store(url)
    _ = store.optuna
    store.close()
    return "opened"


def claim_all(url: str, total: int) -> dict[str, Any]:
    """Ensure `total` slots, add two more, then claim those up to `total`."""
    store = open_store(url)
    study = load_study(store)
    slots.ensure_slots(store, study, total)
    more = slots.add_slots(store, study, 2)
    lease = leases.open_lease(store, study)
    claimed = []
    while (slot := slots.claim(store, lease, total)) is not None:
        claimed.append(slot.number)
    store.close()
    return {"loop": lease.number, "claimed": claimed, "more": more}


def run_toy(folder: str, url: str, total: int) -> int:
    """A whole loop with a worker: how many trials it ended."""
    store = open_store(url)
    outcome = Bench(Path(folder), store).run(total)
    store.close()
    return outcome.status.done_here


def search(url: str, total: int) -> list[tuple[int, int, str]]:
    """What a loop writes, without training: trials begin, and are put back or completed at
    random, until the study's slots are done. Returns (trial, attempt, what was done with it)."""
    store = open_store(url)
    row = load_study(store)
    lease = leases.open_lease(store, row)
    study = optuna.load_study(study_name=row.name, storage=store.optuna)
    writer = TrialWriter(store, study, row.spec, lease)
    chance = random.Random(lease.number)
    did: list[tuple[int, int, str]] = []
    deadline = time.monotonic() + 30
    while set(slots.slot_counts(store, row)) != {"done"}:
        assert time.monotonic() < deadline, did
        if chance.random() < 0.2:
            writer.repair()
        running = writer.begin(0, total)
        if running is None:
            time.sleep(0.01)
        elif chance.random() < 0.5:
            writer.end(running, put_back(TrialEnd.INTERRUPTED))
            did.append((running.number, running.slot.attempt, "put back"))
        else:
            writer.end(running, completed(Ended("complete", 0.5, 1, 1, 7)))
            did.append((running.number, running.slot.attempt, "complete"))
    store.close()
    return did
