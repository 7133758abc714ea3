"""Small studies of toy trials, and loops that run them: in this process, or in one of their own."""

import contextlib
import datetime
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import sqlalchemy as sa
from fork_server import DAEMON, Forked, start_loop
from optuna.storages._rdb import storage as rdb
from toy_training import CODE, NETWORK, PARAMETERS, TOY

from tuner.data import load_dataset
from tuner.errors import WorkerError
from tuner.manage.creation import trust_own_code
from tuner.manage.search_cluster import ClusterWanted
from tuner.runner import (
    KERAS,
    Limits,
    Outcome,
    RunStatus,
    SearchOptions,
    Silent,
    Watcher,
    optimize,
    slots_wanted,
)
from tuner.search_space import Space, make_space
from tuner.service.daemon_start import WorkerWanted, run_worker
from tuner.settings import Settings
from tuner.storage import Store, open_store, slots
from tuner.storage.attempt_rows import ReportRow
from tuner.storage.studies import StudyRow, create_study, load_study
from tuner.storage.trials import TrialRow, list_trials, trial_curve
from tuner.study.spec import Choice, CodeFile, DataSpec, StudySpec
from tuner.workers import EntryPoint

# What this process finds beside the installed packages, a child finds too.
_PATH = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
Loop = subprocess.Popen[str] | Forked
# Its workers have no pytest to import: none of their main modules is that.
TOY_ALONE = EntryPoint(TOY.name, tuple(name for name in TOY.preload if name != "pytest"))
# Of other sessions of this database: a stopped process leaves them idle.
_OPEN_TRANSACTIONS = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
)
# Where networks are, of a bench and of the processes that it starts, if not in its folder.
S3_URL = "TUNER_TESTS_S3_URL"
ANY_X = {"type": "float", "low": 0.0, "high": 1.0}


def any_of(*choices: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices)}


def toy_spec(
    parameters: Mapping[str, Any] | None = None,
    baselines: Iterable[Mapping[str, Any]] = (),
    **options: Any,
) -> StudySpec:
    """A study of 3 epochs a trial that varies x, unless told otherwise."""
    values = PARAMETERS | {"x": ANY_X, "epochs": 3} | dict(parameters or {})
    defaults: dict[str, Any] = {
        "space": make_space(NETWORK, values, list(baselines)),
        "data": DataSpec(source="points.npz", task="classes"),
        "fingerprint": "0" * 64,
        "train_rows": 42,
        "task": "classes",
        "metric": "val_accuracy",
        "direction": "maximize",
        "sampler": Choice(name="random"),
        "pruner": Choice(name="none"),
        "code": {NETWORK.partition(":")[0]: CodeFile.of(CODE.encode())},
    }
    return StudySpec(**defaults | options)


class Signals(Silent):
    """A watcher that sends this process a signal, by default once all workers have trained two
    epochs of a trial."""

    def __init__(
        self, number: signal.Signals, when: Callable[[RunStatus], bool] | None = None
    ) -> None:
        self._number = number
        self._when = when or (lambda status: all(worker.epoch >= 2 for worker in status.workers))

    def changed(self, status: RunStatus) -> None:
        if self._when(status):
            os.kill(os.getpid(), self._number)


class Bench:
    """A folder and a database with a study of toy trials. `by_daemon`: what `start` starts is a
    daemon, which ends once the study is done. `on`: the Ray cluster of the loops that `start`
    starts, with what `joining` has of their environment."""

    by_daemon = False
    on: str | None = None
    joining: Mapping[str, str] = MappingProxyType({})

    def __init__(self, folder: Path, store: Store, tracking_uri: str | None = None) -> None:
        self.folder, self.store, self.tracking_uri = folder, store, tracking_uri
        self.url = store.url.render_as_string(hide_password=False)
        self.settings = Settings(
            self.url,
            tracking_uri or "sqlite://",
            folder,
            folder / "checkpoints",
            folder / "keras",
            artifacts_url=os.environ.get(S3_URL),
        )

    def create(
        self,
        parameters: Mapping[str, Any] | None = None,
        baselines: Iterable[Mapping[str, Any]] = (),
        name: str = "toy",
        **options: Any,
    ) -> StudyRow:
        """A toy study on real, small data, with what comes first in its queue."""
        data = self._data()
        fingerprint = load_dataset(data, self.settings).fingerprint
        spec = toy_spec(parameters, baselines, data=data, fingerprint=fingerprint, **options)
        trust_own_code(spec, self.settings)
        return create_study(self.store, name, spec, first_trials=spec.first_trials())

    def _data(self) -> DataSpec:
        path = self.folder / "points.npz"
        if not path.exists():
            self.write_data(path)
        return DataSpec(source=str(path), task="classes")

    @staticmethod
    def write_data(path: Path, seed: int = 0) -> None:
        x = np.random.default_rng(seed).normal(size=(60, 3)).astype(np.float32)
        np.savez(path, x=x, y=np.arange(60) % 3)

    def run(
        self,
        trials: int | None,
        workers: int | None = 1,
        more: int | None = None,
        entry: EntryPoint = TOY,
        watcher: Watcher | None = None,
        asked: Mapping[str, Any] = MappingProxyType({}),
        **limits: Any,
    ) -> Outcome:
        """What `tuner optimize` does; without MLflow, unless this bench has one. `asked`: more of
        the SearchOptions."""
        study = load_study(self.store)
        total = slots_wanted(self.store, study, trials, more)
        options = SearchOptions(Limits(total, **limits), workers, bool(self.tracking_uri), **asked)
        outcome, _ = optimize(self.settings, self.store, study, options, watcher, entry=entry)
        return outcome

    def start(
        self,
        trials: int,
        workers: int | None = 1,
        asked: Mapping[str, Any] = MappingProxyType({}),
        clock_s: float = 0.0,
        file_bytes: int | None = None,
        entry: str = TOY.name,
        fresh: bool = False,
        **limits: Any,
    ) -> Loop:
        """The same in a process of its own: its clock goes wrong by `clock_s`, and it can write no
        file larger than `file_bytes`. `entry`: of TOY or KERAS. `fresh`: with an interpreter of its
        own, where the imports are part of what is tested."""
        where = (str(self.folder), self.url, self.tracking_uri)
        order = Order(*where, entry, trials, workers, dict(asked), limits, self.by_daemon, self.on)
        arguments = [json.dumps(asdict(order)), str(clock_s), str(file_bytes or "")]
        environment = os.environ | {"PYTHONPATH": _PATH, "TMPDIR": str(self.folder)}
        environment |= self.joining
        if not fresh:
            return start_loop(arguments, environment)
        # Not this file as the script: each worker would run it anew, and import all that a loop
        # needs.
        return subprocess.Popen(
            [sys.executable, "-c", "import toy_study; toy_study.run()", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start_daemon(self, processes: int = 1) -> Forked:
        """What `tuner worker` does, for all toy studies of the database, in a process of its
        own. Its output is what it tells."""
        environment = os.environ | {"PYTHONPATH": _PATH, "TMPDIR": str(self.folder)}
        return start_loop([str(self.folder), self.url, str(processes)], environment, DAEMON)

    def freeze(self, loop: Loop) -> None:
        """Stop a loop, but not in the middle of a transaction. On SQLite everybody would wait with
        it, which nobody can help; on PostgreSQL whoever wants its rows, for 60 s."""
        while True:
            loop.send_signal(signal.SIGSTOP)
            time.sleep(0.05)
            if not self._is_written():
                return
            loop.send_signal(signal.SIGCONT)
            time.sleep(0.02)

    def _is_written(self) -> bool:
        """Whether a transaction of another process is open, on SQLite one that writes."""
        if self.store.url.get_backend_name() == "postgresql":
            with self.store.reading() as connection:
                return bool(connection.execute(_OPEN_TRANSACTIONS).scalar_one())
        path = str(self.store.url.database)
        with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
        return False

    @property
    def trials(self) -> list[TrialRow]:
        return list_trials(self.store, load_study(self.store))

    def curve(self, trial: TrialRow) -> list[ReportRow]:
        return trial_curve(self.store, load_study(self.store), trial)

    @property
    def states(self) -> list[str]:
        return [trial.state for trial in self.trials]

    @property
    def slots(self) -> dict[str, int]:
        return slots.slot_counts(self.store, load_study(self.store))


@dataclass(frozen=True)
class Order:
    """What a process of its own is to run."""

    folder: str
    url: str
    tracking_uri: str | None
    entry: str
    trials: int
    workers: int | None
    asked: dict[str, Any]
    limits: dict[str, Any]
    by_daemon: bool
    on: str | None


def set_clock(offset_s: float) -> None:
    """This process reads another time than the machine's."""
    real_time, real_datetime = time.time, datetime.datetime

    class Shifted(real_datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return real_datetime.now(tz) + datetime.timedelta(seconds=offset_s)

    time.time = lambda: real_time() + offset_s
    rdb.datetime = Shifted


def main(order_json: str, clock_s: str, file_bytes: str) -> int:
    order = Order(**json.loads(order_json))
    if float(clock_s):
        set_clock(float(clock_s))
    if file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_bytes), int(file_bytes)))
    bench = Bench(Path(order.folder), open_store(order.url), order.tracking_uri)
    entry = {TOY.name: TOY_ALONE, KERAS.name: KERAS}[order.entry]
    if order.by_daemon:
        from daemon_loop import run_until_done

        assert not order.limits, "a daemon has those that the study stores"
        return run_until_done(bench, entry, order.trials, order.workers or 1, order.asked)
    try:
        with ClusterWanted(order.on).opened(bench.settings, print, print) as back_end:
            asked = order.asked | {"back_end": back_end}
            outcome = bench.run(
                order.trials, order.workers, entry=entry, asked=asked, **order.limits
            )
    except WorkerError as error:
        print(f"Error: {error}")
        return 1
    print(f"{outcome.reason} done_here={outcome.status.done_here} put_back={outcome.put_back}")
    return 130 if outcome.reason == "interrupted" else 0


def run() -> None:
    """The process that `start` starts."""
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)


def run_daemon() -> None:
    """The process that `start_daemon` starts."""
    folder, url, processes = sys.argv[1:]
    bench = Bench(Path(folder), open_store(url))
    wanted = WorkerWanted(processes=int(processes), tracking=False, entry=TOY_ALONE)

    def tell(line: str) -> None:
        print(line, flush=True)

    sys.exit(130 if run_worker(bench.settings, bench.store, wanted, tell) == signal.SIGINT else 0)


def digits_bench(folder: Path, space: Space, seed: int = 0) -> Bench:
    """A study of real networks on digits, drawn at random and never pruned."""
    bench = Bench(folder, open_store(f"sqlite:///{folder}/tuner.db"))
    data = DataSpec(source="digits")
    dataset = load_dataset(data, bench.settings)
    spec = StudySpec(
        space=space,
        data=data.model_copy(update={"task": dataset.task}),
        fingerprint=dataset.fingerprint,
        train_rows=len(dataset.train.y),
        task=dataset.task,
        metric="val_accuracy",
        direction="maximize",
        sampler=Choice(name="random"),
        pruner=Choice(name="none"),
        seed=seed,
    )
    create_study(bench.store, "digits", spec)
    return bench
