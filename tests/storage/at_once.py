"""One function in several processes at the same moment."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

from tuner.storage import open_store, places

PRELOAD = ["pytest", "optuna", "psycopg", "tuner.storage.studies"]


def at_once(function: Callable[..., Any], *args: Any, count: int = 4) -> list[Any]:
    """What `function` returned, or raised, in each of `count` processes."""
    context = multiprocessing.get_context("forkserver")
    barrier, results = context.Barrier(count), context.Queue()
    processes = [
        context.Process(target=_run, args=(barrier, results, function, args)) for _ in range(count)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return found


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


def claim_all(url: str, study_id: int, total: int) -> list[int]:
    """Make sure of the places, then claim until none is left: the numbers."""
    store = open_store(url)
    places.ensure_places(store, study_id, total)
    lease = places.open_lease(store, study_id)
    numbers = [lease.number]
    while (place := places.claim(store, lease, total)) is not None:
        numbers.append(place.number)
    store.close()
    return numbers


def add_two(url: str, study_id: int) -> int:
    store = open_store(url)
    total = places.add_places(store, study_id, 2)
    store.close()
    return total
