"""tuner on Ray: beside its own workers, and beside Ray Tune; and what a loop does with many actors.

`nodes` starts a cluster of several one-CPU nodes on this machine, in a process of its own. Each
figure runs in another: python -m benchmarks.ray_nodes NAME --json '{…}'.
"""

import contextlib
import math
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.commands import Result, main
from tuner.runner.progress import RunStatus
from tuner.runner.stopping import Stopping
from tuner.study.ends import StopReason
from tuner.workers import BackEnd

MEBIBYTE = 2**20
SLEEP_S = 0.01
OBJECTIVE = f"""\
import time


def objective(trial):
    x = trial.suggest_float("x", -10, 10)
    y = trial.suggest_float("y", -10, 10)
    time.sleep({SLEEP_S})
    return x**2 + y**2
"""

REPORTS = 100_000
REPORTING = """\
import time


def objective(trial):
    x = trial.suggest_float("x", -10, 10)
    for step in range(1, {reports} + 1):
        time.sleep({report_s})
        trial.report(x, step)
    return x
"""


@contextlib.contextmanager
def nodes(count: int = 2, cpus: int = 1) -> Iterator[str]:
    """The address of a cluster with a head that trains nothing and `count` nodes, while the context
    lasts. What is started within finds its token in the environment."""
    before = dict(os.environ)
    # Short: Ray's sockets lie in it, and their paths have at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="tb-", dir="/tmp", ignore_cleanup_errors=True) as short:
        token = Path(short, "token")
        token.touch(0o600)
        token.write_text(secrets.token_hex(16))
        os.environ |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_TMPDIR": short,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DISABLE_IMPORT_WARNING": "1",
        }
        command = [sys.executable, "-m", "benchmarks.ray_nodes", "serve", "--json"]
        command.append(f'{{"count": {count}, "cpus": {cpus}}}')
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_REPOSITORY
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise SystemExit("the cluster of the benchmark did not start: see above")
            yield address
        finally:
            os.environ.clear()
            os.environ |= before
            process.stdin.close()
            process.wait()


_REPOSITORY = Path(__file__).parent.parent


def serve(count: int, cpus: int) -> Result:
    """The cluster of `nodes`, until standard input ends."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * MEBIBYTE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(count):
        cluster.add_node(num_cpus=cpus, object_store_memory=80 * MEBIBYTE)
    cluster.wait_for_nodes()
    print(cluster.address, file=sys.__stdout__, flush=True)
    sys.stdin.read()
    cluster.shutdown()
    return {}


def by_tuner(address: str, trials: int = 100, workers: int = 2) -> Result:
    """Seconds of a search on the cluster, from connecting to the end, with its workers' start.
    `trials_s`: from the start of the first trial to the end of the last."""
    from tuner.manage.creation import create_study
    from tuner.manage.wanted_study import wanted_study
    from tuner.runner import Limits, SearchOptions, optimize, slots_wanted
    from tuner.settings import load_settings
    from tuner.storage import open_store
    from tuner.storage.trials import list_trials

    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path("objectives.py").write_text(OBJECTIVE)
        settings = load_settings(f"sqlite:///{folder}/tuner.db", None)
        store = open_store(settings.storage)
        wanted = wanted_study(network="objectives.py:objective", sampler="tpe", pruner="none")
        study = create_study(wanted, settings, lambda: store).study
        limits = Limits(slots_wanted(store, study, trials, None))
        began = time.perf_counter()
        with back_end_of(address) as back_end:
            options = SearchOptions(limits, workers, tracking=False, back_end=back_end)
            optimize(settings, store, study, options)
            seconds = time.perf_counter() - began
        rows = list_trials(store, study)
        store.close()
    attempts = [row.last for row in rows if row.last is not None]
    ended = max(attempt.ended_at or 0.0 for attempt in attempts)
    trials_s = ended - min(attempt.started_at for attempt in attempts)
    done = sum(row.state == "COMPLETE" for row in rows)
    return {"seconds": seconds, "trials_s": trials_s, "done": done}


@dataclass
class _Reports:
    """A watcher: how many reports came, and the CPU seconds that the loop's process took, in the
    `lasts_s` seconds from the moment that all of `workers` have reported. Then the search ends."""

    workers: int
    lasts_s: float
    stopping: Stopping
    ends_at: float = math.inf
    before: tuple[int, float] | None = None
    after: tuple[int, float] | None = None

    def changed(self, status: RunStatus) -> None:
        epochs = [each.epoch for each in status.workers if each.trial is not None]
        if self.after is not None or len(epochs) < self.workers or not all(epochs):
            return
        now = sum(epochs), time.process_time()
        if self.before is None:
            self.before, self.ends_at = now, time.monotonic() + self.lasts_s
        elif time.monotonic() >= self.ends_at:
            self.after = now
            self.stopping.stop(StopReason.STOPPED)

    def trial_ended(self, status: RunStatus, trial: int, *_: object) -> None:
        return

    @property
    def cpu_ms(self) -> float:
        """Of the loop's process, for a report."""
        assert self.before is not None
        assert self.after is not None
        (reports, cpu), (later, cpu_later) = self.before, self.after
        return 1000 * (cpu_later - cpu) / (later - reports)


def many_actors(
    on: str | None = None,
    actors: int = 12,
    trial_cpus: float = 0.1,
    report_s: float = 0.25,
    seconds: float = 10.0,
) -> Result:
    """CPU milliseconds of the loop's process for each report of so many actors, Ray's own threads
    included; `on`: None for local worker processes."""
    from tuner.manage.creation import create_study
    from tuner.manage.wanted_study import wanted_study
    from tuner.runner import Limits, SearchOptions, optimize, slots_wanted
    from tuner.settings import load_settings
    from tuner.storage import open_store

    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path("reporting.py").write_text(REPORTING.format(reports=REPORTS, report_s=report_s))
        settings = load_settings(f"sqlite:///{folder}/tuner.db", None)
        store = open_store(settings.storage)
        wanted = wanted_study(network="reporting.py:objective", sampler="random", pruner="none")
        study = create_study(wanted, settings, lambda: store).study
        limits = Limits(slots_wanted(store, study, actors, None))
        stopping = Stopping(limits)
        watcher = _Reports(actors, seconds, stopping)
        with back_end_of(on, trial_cpus) as back_end:
            options = SearchOptions(limits, actors, tracking=False, back_end=back_end)
            optimize(settings, store, study, options, watcher, stopping=stopping)
        store.close()
    return {"cpu_ms": round(watcher.cpu_ms, 2)}


@contextlib.contextmanager
def back_end_of(on: str | None, trial_cpus: float = 1.0) -> Iterator[str | BackEnd]:
    """This machine's workers, or those of a Ray cluster."""
    if on is None:
        yield "local"
        return
    from tuner.workers.ray.cluster_connection import open_cluster

    with open_cluster(on, trial_cpus=trial_cpus) as back_end:
        yield back_end


def by_ray_tune(address: str, trials: int = 100, workers: int = 2) -> Result:
    """The same by Ray Tune with its Optuna search, from connecting to the end."""
    import ray
    from optuna.samplers import TPESampler
    from ray import tune
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    def objective(config: dict[str, float]) -> None:
        time.sleep(SLEEP_S)
        tune.report({"value": config["x"] ** 2 + config["y"] ** 2})

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        ray.init(address, log_to_driver=False, logging_level="ERROR")
        # The settings that tuner has: see `tuner.algorithms.samplers`.
        sampler = TPESampler(multivariate=True, group=True, constant_liar=True)
        search = OptunaSearch(metric="value", mode="min", sampler=sampler)
        space = {"x": tune.uniform(-10, 10), "y": tune.uniform(-10, 10)}
        config = tune.TuneConfig(
            num_samples=trials,
            search_alg=ConcurrencyLimiter(search, max_concurrent=workers),
            max_concurrent_trials=None,
        )
        run: Any = tune.RunConfig(storage_path=folder, verbose=0)
        results = tune.Tuner(objective, param_space=space, tune_config=config, run_config=run).fit()
        seconds = time.perf_counter() - began
        ray.shutdown()
    return {"seconds": seconds, "done": trials - results.num_errors}


if __name__ == "__main__":
    main("ray_nodes", serve, by_tuner, by_ray_tune, many_actors)
