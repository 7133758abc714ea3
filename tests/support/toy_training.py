"""A training entry point without TensorFlow: a trial's parameters say what becomes of it.

`x` is the score it climbs to, at epoch e as far as 1 - 2**-e of the way. At epoch `at` it does as
`act` says: nothing (learn), stays at x from the first epoch on (flat), falls to a tenth, raises,
meets the end of a file (raise eof), raises with a text that a browser could run (raise markup),
starts a process and ends it (start and end) or hangs beside it (start and hang), crashes, hangs,
waits until the file `until` is there (wait), becomes nan or inf, takes up to 2 GB of memory for a
while (grow) or 32 MiB for good (leave); or its network cannot be saved (unsaved), is large (big),
takes for ever to save (unending), or the worker dies of it (unsafe). It crashes only the first
`crashes` times that its trial is begun under one loop. An epoch takes `pace` seconds. Where the
plan keeps checkpoints, it writes them and goes on from them. Where it holds out the test split, the
last epoch's value is the score, and the only one told.

With `asks` it defines its own space: it asks for `x`, notes what it was given, and its reports are
advisory; it ends itself as pruned.
"""

import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data import Dataset, open_dataset
from tuner.study.messages import (
    Distribution,
    Ended,
    Failed,
    Noted,
    Report,
    Resumed,
    Suggest,
    Tell,
    TrialRequest,
    WorkerSetup,
)
from tuner.training.checkpoints import Checkpoint, CheckpointFiles, Progress, identity
from tuner.workers import EntryPoint

NETWORK = "toy.py:build"
CODE = (
    "def build(params, input_shape, outputs): ...\n"  # of the file that toy studies say they have
)
PARAMETERS: dict[str, Any] = {"act": "learn", "at": 2, "crashes": 99, "pace": 0.0, "until": ""}
# pytest: every worker imports the main module of its loop anew, which here is that. Then what this
# module imports: the fork server of Python 3.11 does not find the module itself, whose folder only
# pytest puts on the path.
PRELOAD = ("pytest", "numpy", "tuner.data", "tuner.training.checkpoints", "tuner.workers.worker")
TOY = EntryPoint("toy_training:open_session", PRELOAD)
_BELOW_ACCURACY = 0.1
_LEFT: list[np.ndarray] = []
BROKEN = EntryPoint("toy_training:open_broken", PRELOAD)
STILLBORN = EntryPoint("toy_training:open_stillborn", PRELOAD)
SLOW = EntryPoint("toy_training:open_slowly", PRELOAD)


class ToySession:
    def __init__(self, setup: WorkerSetup) -> None:
        assert setup.data is not None
        self._setup, self._folder = setup, setup.data
        self._dataset: Dataset = open_dataset(setup.data)
        self._request: TrialRequest | None = None
        self._at = Progress()
        self._keeping: CheckpointFiles | None = None

    def beside(self) -> "ToySession":
        return ToySession(self._setup)

    def run(self, request: TrialRequest, tell: Tell) -> None:
        if request.params.get("asks"):
            self._run_asking(request, tell)
            return
        for event in self.events(request):
            if tell(event).stop:
                break

    def _run_asking(self, request: TrialRequest, tell: Tell) -> None:
        reply = tell(Suggest("x", Distribution("float", 0.0, 1.0)))
        if reply.problem is not None:
            raise ValueError(reply.problem)
        tell(Noted({"given": reply.value}))
        for epoch in (1, 2):
            value = float(reply.value or 0) * epoch
            reply = tell(Report(epoch, epoch, True, {"val_accuracy": value}, advisory=True))
            if reply.stop:
                return
            if reply.prune:
                tell(Ended("pruned", value, epoch, epoch, 0))
                return
        tell(Ended("complete", value, 2, 2, 0))

    def events(self, request: TrialRequest) -> Iterator[Resumed | Report | Ended]:
        self._request = request
        params, goal = PARAMETERS | request.params, request.goal
        keeper = self._keeper(request)
        found = None if keeper is None else keeper.latest()
        self._engine = "toy"
        at = self._first_progress(request) if found is None else found.progress
        self._at, self._keeping = at, keeper
        if at.epoch:
            yield Resumed(at.epoch)
        while at.epoch < request.ends_after:
            epoch = at.epoch + 1
            time.sleep(params["pace"])
            if epoch == params["at"]:
                self._act(params["act"], request.seed, params)
            value = score_at(params, request.seed, epoch)
            looks = request.held_out == "val" or epoch == request.ends_after
            host_value = _host_value(value, goal.direction)
            metrics = _metrics(value, request.held_out if looks else None)
            if looks:
                names = [f"{request.held_out}_{name}" for name in request.host_metrics]
                metrics |= dict.fromkeys(names, host_value)
            step = epoch * request.first_epoch_reports
            report = Report(step, epoch, True, metrics, engine=self._engine)
            if goal.metric.partition("_")[2] in request.host_metrics:
                value = host_value
            if np.isnan(value):
                yield report
                yield Ended("diverged", at.best, at.best_epoch, epoch, 7)
                return
            at.epoch = epoch
            if looks and (request.held_out == "test" or goal.better(value, at.best)):
                at.best, at.best_epoch = value, epoch
            yield report
            if goal.reached(at.best):
                yield _ended("target", at)
                return
            may_stop = request.last_epoch is None
            if looks and may_stop and epoch - (at.best_epoch or 0) >= params["patience"]:
                yield _ended("early_stopped", at)
                return
            if keeper is not None and epoch < request.ends_after and keeper.due():
                keeper.write_latest(Checkpoint(at))
        if keeper is not None and at.epoch < params["epochs"]:
            keeper.write_latest(Checkpoint(at))
        yield _ended("complete", at, self._engine)

    def _first_progress(self, request: TrialRequest) -> Progress:
        """Where a trial begins. Without its parent's checkpoint, which a real session would make
        again, its engine is called otherwise."""
        if not request.earlier:
            return Progress()
        if request.checkpoints is not None and request.checkpoints.parent is not None:
            parent = replace(request.ancestors()[-1], checkpoints=request.checkpoints.parent)
            keeper = self._keeper(parent)
            found = None if keeper is None else keeper.latest()
            if found is not None and found.progress.epoch == request.begins_after:
                return Progress(epoch=request.begins_after)
        self._engine = "toy again"
        return Progress(epoch=request.begins_after)

    def _keeper(self, request: TrialRequest) -> CheckpointFiles | None:
        if request.checkpoints is None:
            return None
        known = identity(request, request.network, self._dataset.fingerprint, "toy")
        return CheckpointFiles(request.checkpoints, known)

    def _act(self, act: str, seed: int, params: dict[str, Any]) -> None:
        if act == "raise":
            raise ValueError("the network of this trial\ncannot be built")
        if act == "raise markup":
            raise ValueError("<script>window.hit = 1</script><svg onload='window.hit = 1'>")
        if act == "raise eof":
            raise EOFError("EOF when reading a line")  # as of input()
        if act == "hang":
            time.sleep(600)
        if act == "wait":
            while not Path(params["until"]).exists():
                time.sleep(0.02)
        if act == "start and end":
            _start_and_end()
        if act == "start and hang":
            subprocess.Popen(["sleep", "600"])
            time.sleep(600)
        if act == "grow":
            _grow()
        if act == "leave":
            _LEFT.append(np.ones(32 * 2**20, np.uint8))
        if act == "crash":
            times = self._folder / f"crashes-{seed}"
            done = len(times.read_text()) if times.exists() else 0
            if done < params["crashes"]:
                times.write_text("x" * (done + 1))
                os._exit(9)

    def checkpoint(self) -> None:
        if self._keeping is not None:
            self._keeping.write_latest(Checkpoint(self._at))

    def save(self, path: Path) -> None:
        assert self._request is not None
        if self._request.params.get("act") == "unsafe":
            os._exit(9)
        if self._request.params.get("act") == "unending":
            time.sleep(600)
        if self._request.params.get("act") == "unsaved":
            raise OSError("No space left on device")
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._request.params.get("act") == "big":
            path.write_bytes(bytes(24 * 2**20))
            return
        path.write_text(str(self._request.params["x"]))

    def failure(self, error: Exception) -> Failed:
        return Failed("user_error", f"{type(error).__name__}: {error}", f"Traceback: {error!r}")


def score_at(params: dict[str, Any], seed: int, epoch: int) -> float:
    """The validation accuracy after an epoch; the seed moves it by less than 0.001."""
    if params["act"] == "nan" and epoch >= params["at"]:
        return float("nan")
    if params["act"] == "inf" and epoch >= params["at"]:
        return float("inf")
    if params["act"] == "flat":
        return float(params["x"])
    if params["act"] == "fall" and epoch >= params["at"]:
        return float(params["x"] / 10)
    noise = np.random.default_rng([seed, epoch]).uniform(-1e-3, 0)
    return float(params["x"] * (1 - 0.5**epoch) + noise)


def _host_value(value: float, direction: str) -> float:
    """What all host metrics are: a little below the accuracy, or what that lacks of 1, and as much
    again where less of the objective is better."""
    below = value - _BELOW_ACCURACY
    return below if direction == "maximize" else 1 - below


def _metrics(value: float, held_out: str | None) -> dict[str, float]:
    """`held_out`: the split that the trial evaluates, None where it evaluates none."""
    evaluated = {"loss": 1 - value, "accuracy": value}
    prefixed = {f"{held_out}_{name}": value for name, value in evaluated.items()}
    return {"loss": 1 - value} | (prefixed if held_out else {})


def _ended(end: Any, at: Progress, engine: str = "toy") -> Ended:
    return Ended(end, at.best, at.best_epoch, at.epoch, 7, {"train": 0.1 * at.epoch}, engine)


def _start_and_end() -> None:
    """A program and a process of the trial's own, each ended by SIGTERM."""
    program = subprocess.Popen(["sleep", "600"])
    program.terminate()
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    process.start()
    process.terminate()
    process.join(10)
    assert program.wait(10) == process.exitcode == -15


def _grow() -> None:
    taken = []
    for _ in range(100):
        taken.append(np.ones(20_000_000, np.uint8))  # zeros would take no memory until written to
        time.sleep(0.02)


def warm_up() -> None:
    """There is nothing to warm up."""


def open_session(setup: WorkerSetup) -> ToySession:
    return ToySession(setup)


def open_broken(setup: WorkerSetup) -> ToySession:
    raise RuntimeError("no such device\nin this machine")


def open_stillborn(setup: WorkerSetup) -> ToySession:
    os._exit(7)


def open_slowly(setup: WorkerSetup) -> ToySession:
    time.sleep(3.0)
    return ToySession(setup)
