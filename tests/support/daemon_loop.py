"""A daemon that a test starts in place of a loop: it ends once its study is done and MLflow has it,
and says the same."""

import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from toy_study import Bench

from tuner.errors import StorageError
from tuner.runner import Limits, SearchOptions, slots_wanted
from tuner.service import daemon
from tuner.service.daemon_start import WorkerWanted, run_worker
from tuner.storage import Store
from tuner.storage.deliveries import count_delivered
from tuner.storage.schema import attempts, loops, slot_rows
from tuner.storage.studies import load_study
from tuner.study.ends import TrialEnd
from tuner.workers import EntryPoint

_TAKES_SLOT = [end.value for end in TrialEnd if end.fate.takes_slot]
_LOOK_S = 0.05


def run_until_done(
    bench: Bench, entry: EntryPoint, trials: int, processes: int, asked: Mapping[str, Any]
) -> int:
    """What `tuner worker` does, until all of the study's slots are done. Prints what a loop does;
    the exit code."""
    slots_wanted(bench.store, load_study(bench.store), trials, None)
    wanted = WorkerWanted(
        processes=processes,
        tracking=bool(bench.tracking_uri),
        entry=entry,
        options=SearchOptions(Limits(0), **asked),
    )
    daemon._LATE_EVERY_S = 0.5
    done = threading.Event()
    threading.Thread(target=_end_when_done, args=(bench, done), daemon=True).start()
    run_worker(bench.settings, bench.store, wanted, tell=lambda line: None)
    reason = None if done.is_set() else "interrupted"
    with bench.store.another().reading() as connection:
        done_here = connection.execute(_done_by(os.getpid())).scalar_one()
    print(f"{reason} done_here={done_here}")
    return 0 if done.is_set() else 130


def _end_when_done(bench: Bench, done: threading.Event) -> None:
    store = bench.store.another()
    # Before it handles signals, one would kill it.
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL or not _is_done(bench, store):
        time.sleep(_LOOK_S)
    done.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _is_done(bench: Bench, store: Store) -> bool:
    left = sa.select(sa.func.count()).select_from(slot_rows).where(slot_rows.c.state != "done")
    try:
        if store.read(lambda connection: connection.execute(left).scalar_one()):
            return False
        return not bench.tracking_uri or count_delivered(store, load_study(store))[1] == 0
    except StorageError:  # the test takes it away
        return False


def _done_by(pid: int) -> sa.Select[tuple[int]]:
    """How many trials the loops of a process have ended."""
    return (
        sa.select(sa.func.count())
        .select_from(attempts.join(loops, loops.c.loop_id == attempts.c.loop_id))
        .where(loops.c.pid == pid, attempts.c.end.in_(_TAKES_SLOT))
    )
