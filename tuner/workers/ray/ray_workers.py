"""Workers on a Ray cluster: an actor for each worker process, wherever the cluster has room.

The back end is an object, since it needs to know what a process takes. Ray must be connected
before (cluster_connection.py). What runs in an actor: node_actor.py.

An answer of an actor comes to a thread of Ray's, which puts it into a queue; so a loop's `wait`
takes the same time with two actors and with a thousand. Ray starts nothing again: attempts are
the loop's.
"""

import contextlib
import logging
import math
import queue
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import WorkerError
from tuner.study.messages import Lost, Message, Reply, TrialRequest, WorkerPlace, WorkerSetup
from tuner.system.quantities import format_bytes
from tuner.workers.base import EntryPoint
from tuner.workers.ray.cluster_watch import (
    NodeWatch,
    RayQuiet,
    is_nodes_fault,
    why_lost,
    why_no_cluster,
    why_not_begun,
)
from tuner.workers.ray.node_actor import Heard, Open, RayActor
from tuner.workers.ray.node_checks import Expected, format_amounts, workers_on
from tuner.workers.ray.node_data import SentData, send_folder
from tuner.workers.ray.remote_actor import RemoteActor

logger = logging.getLogger(__name__)
# So many actors in a row that end before their session is open are no accident.
_MAX_FAILED_STARTS = 3
# An actor that is needed no longer ends after so long: another may be needed soon.
_SURPLUS_S = 15.0
# How long actors have to end their processes and to remove their files, when the search ends.
_CLOSE_S = 2.0
# A waiting call, and one that ends its wait; one more that overtakes them.
_CALLS_AT_ONCE = 3
# An actor that could not be reached is asked again after so long.
_AGAIN_S = 0.5
# So long no worker may have a place before the user is told: an actor's process takes seconds.
_PLACELESS_S = 15.0


@dataclass(frozen=True)
class RayBackEnd:
    """See `base.BackEnd`. `trial_cpus`, `trial_gpus`: what a worker process takes of its node; of a
    GPU it may be a part. `expected`: what a node must have to train; None for nothing. Ray is
    connected."""

    trial_cpus: float = 1.0
    trial_gpus: float = 0.0
    expected: Expected | None = None

    def warm(self, entry: EntryPoint, log: Path | None = None) -> None:
        """Actors begin with it as they are made, in `open_workers`."""

    def keep_ready(self, entry: EntryPoint, processes: int) -> None:
        """An actor that waited would take room that others need."""

    def open_workers(
        self,
        entry: EntryPoint,
        setup: WorkerSetup,
        *,
        processes: int | None = None,
        data_bytes: float | None = None,
        log: Path | None = None,
        tell: Callable[[str], None] = lambda line: None,
        share: Callable[[], int] | None = None,
    ) -> "RayWorkers":
        return RayWorkers(self, entry, setup, processes, data_bytes, tell, share)

    def room(self, nodes: list[dict[str, float]]) -> int:
        """How many worker processes have room on nodes with these resources, if nothing else runs
        there."""
        return sum(workers_on(room, self.trial_cpus, self.trial_gpus) for room in nodes)

    def __str__(self) -> str:
        return format_amounts(self.trial_cpus, self.trial_gpus)

    def make_actor(self, entry: EntryPoint, name: str, number: int) -> Any:
        """A new actor, which starts when a node has room for it."""
        import ray

        actor = ray.remote(RayActor).options(
            num_cpus=self.trial_cpus,
            num_gpus=self.trial_gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=_CALLS_AT_ONCE,
            scheduling_strategy="SPREAD",
        )
        return actor.remote(entry, name, number, self.trial_cpus, self.trial_gpus, self.expected)


class RayWorkers:
    """`processes` with `setup.lanes` workers each, an actor for each process; None: as many as the
    cluster has room for, and more when nodes join. `share`: how many workers are needed now."""

    def __init__(
        self,
        back_end: RayBackEnd,
        entry: EntryPoint,
        setup: WorkerSetup,
        processes: int | None = None,
        data_bytes: float | None = None,
        tell: Callable[[str], None] = lambda line: None,
        share: Callable[[], int] | None = None,
    ) -> None:
        self._quiet = RayQuiet()
        self.lanes = setup.lanes
        self._back_end, self._entry, self._setup = back_end, entry, setup
        self._data_bytes, self._tell_user = data_bytes, tell
        self._name = uuid.uuid4().hex[:16]
        self._data: SentData | None = None
        self._is_started, self._failed_starts = False, 0
        self._heard: queue.SimpleQueue[tuple[RemoteActor, int, Future[Heard]]] = queue.SimpleQueue()
        self._messages: list[tuple[int, Message]] = []
        self._watch = NodeWatch()
        self._grows = processes is None
        # The nodes that may not train; their actors stay, so that no others begin there.
        self._left_out: set[WorkerPlace] = set()
        self.count = self.lanes * (processes or max(1, back_end.room(self._watch.resources)))
        self._share = share or (lambda: self.count)
        # The first ones of all: others are not needed now.
        self._remotes: list[RemoteActor] = []
        self._needed_at = self._placed_at = self._ask_again_at = time.monotonic()
        self._is_placeless = False
        # Their processes import while the loop reads the data.
        self._start_needed(at_least=1)

    def start(self) -> None:
        if self._setup.data is not None:
            self._tell_user(f"sending {self._data_and_nodes(self._setup.data)}")
            self._data = send_folder(self._setup.data)
        self._is_started = True
        for remote in self._remotes:
            self._open(remote)

    def _data_and_nodes(self, data: Path) -> str:
        """ "12 MB of data to 3 nodes"."""
        size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
        fitting = sum(self._back_end.room([each]) > 0 for each in self._watch.resources)
        nodes = _nodes(max(1, min(fitting, self.count // self.lanes)))
        return f"{format_bytes(size)} of data to {nodes}"

    def _start_needed(self, at_least: int = 0) -> None:
        """Make the actors that the share asks for; end an idle one that it has not asked for during
        a while."""
        share = max(at_least, min(self._share(), self.count))
        needed, clock = math.ceil(share / self.lanes), time.monotonic()
        while len(self._remotes) < needed:
            self._remotes.append(self._make(len(self._remotes)))
        if len(self._remotes) <= needed:
            self._needed_at = clock
        elif clock - self._needed_at > _SURPLUS_S and not self._remotes[-1].busy:
            _end([self._remotes.pop()])

    def _make(self, number: int) -> RemoteActor:
        actor = self._back_end.make_actor(self._entry, self._name, number)
        remote = RemoteActor(number, actor)
        if self._is_started:
            self._open(remote)
        else:
            self._call(remote)
        return remote

    def _open(self, remote: RemoteActor) -> None:
        remote.open(Open(self._setup, self._data, self._data_bytes))
        self._call(remote)

    def _of(self, worker: int) -> tuple[RemoteActor, int]:
        """Its actor, and its lane there."""
        return self._remotes[worker // self.lanes], worker % self.lanes

    def _has_actor(self, worker: int) -> bool:
        return worker < len(self._remotes) * self.lanes

    def _workers_of(self, remote: RemoteActor) -> range:
        return range(remote.number * self.lanes, (remote.number + 1) * self.lanes)

    def takes(self, worker: int) -> bool:
        return self._has_actor(worker) and self._of(worker)[0].takes

    def place(self, worker: int) -> WorkerPlace | None:
        return self._of(worker)[0].place if self._has_actor(worker) else None

    def submit(self, worker: int, request: TrialRequest) -> None:
        remote, lane = self._of(worker)
        remote.submit(lane, request)
        self._call(remote)

    def reply(self, worker: int, reply: Reply) -> None:
        if not self._has_actor(worker):
            return  # it was idle, and was let go
        remote, lane = self._of(worker)
        if lane in remote.busy and remote.reply(lane, reply):
            self._call(remote)

    def restart(self, worker: int) -> None:
        logger.info("the process of worker %d is ended", worker)
        remote, lane = self._of(worker)
        remote.restart(lane)
        self._call(remote)

    def recycle(self) -> list[int]:
        recycled: list[int] = []
        for remote in self._remotes:
            if remote.is_outgrown:
                workers = self._workers_of(remote)
                logger.info("the process of worker %d has grown, and is replaced", workers[0])
                remote.recycle()
                self._call(remote)
                recycled += workers
        return recycled

    def _call(self, remote: RemoteActor) -> None:
        """Send its orders, and have the actor say what comes. An earlier call waits no longer."""
        call = remote.next_call()
        future: Future[Heard] = remote.actor.exchange.remote(call).future()
        future.add_done_callback(lambda done: self._heard.put((remote, call.number, done)))

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        self._follow_cluster()
        self._start_needed()
        self._call_idle()
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = 0.0 if self._messages else max(0.0, deadline - time.monotonic())
            try:
                remote, call, done = self._heard.get(timeout=left_s)
            except queue.Empty:
                break
            remote.answered(call)
            if self._is_current(remote):
                self._hear(remote, done)
        messages, self._messages = self._messages, []
        return messages

    def _follow_cluster(self) -> None:
        """Notice a head that is gone, and nodes that have joined."""
        if self._watch.is_gone():
            raise WorkerError(self._why_gone("its head does not answer"))
        if self._grows:
            room = self._back_end.room(self._watch.resources) * self.lanes
            if room > self.count:
                self.count = room
                self._tell_user(f"the cluster has grown: room for {room} workers")
        self._tell_placeless()

    def _tell_placeless(self) -> None:
        """Say so when no worker has begun for a while."""
        clock = time.monotonic()
        if not self._remotes or any(remote.state.begun for remote in self._remotes):
            self._placed_at = clock
            self._is_placeless = False
        elif not self._is_placeless and clock - self._placed_at > _PLACELESS_S:
            self._is_placeless = True
            self._tell_user(
                f"no worker has begun yet: no node has {self._back_end} free for one, or the first "
                f"are slow to start; the cluster has {_nodes(len(self._watch.resources))}"
            )

    def _call_idle(self) -> None:
        """Have those that have nothing to do wait for what comes, too."""
        if time.monotonic() < self._ask_again_at:
            return
        for remote in self._remotes:
            if not remote.waiting or remote.has_unsent:
                self._call(remote)

    def _is_current(self, remote: RemoteActor) -> bool:
        number = remote.number
        return number < len(self._remotes) and self._remotes[number] is remote

    def _hear(self, remote: RemoteActor, done: "Future[Heard]") -> None:
        error = done.exception()
        if error is not None:
            self._hear_error(remote, error)
            return
        heard = done.result()
        if heard.problem is not None:
            raise WorkerError(heard.problem)
        if remote.place is None and heard.place is not None:
            self._log_place(remote, heard)
            if heard.unfit and heard.place not in self._left_out:
                self._left_out.add(heard.place)
                self._tell_user(f"node {heard.place} is left out: {heard.unfit}")
        first = self._workers_of(remote)[0]
        self._messages += [(first + lane, message) for lane, message in remote.hear(heard)]
        if remote.state.opened:
            self._failed_starts = 0

    def _log_place(self, remote: RemoteActor, heard: Heard) -> None:
        assert heard.place is not None
        number, place = self._workers_of(remote)[0], heard.place
        logger.info(
            "worker %d is on %s (node %s), and prints into %s there",
            number,
            place.host,
            place.node,
            heard.log,
        )

    def _hear_error(self, remote: RemoteActor, error: BaseException) -> None:
        """Raises WorkerError for what concerns more than this actor."""
        from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError

        if isinstance(error, ActorUnavailableError):
            self._ask_again_at = time.monotonic() + _AGAIN_S  # the call may have run all the same
        elif isinstance(error, RayActorError):
            self._lose(remote, error)
        elif isinstance(error, RayTaskError):
            raise WorkerError(f"training cannot start: {why_not_begun(error)}")
        else:
            raise WorkerError(self._why_gone(why_not_begun(error)))

    def _why_gone(self, reason: str) -> str:
        return why_no_cluster(self._setup.study.name, reason)

    def _lose(self, remote: RemoteActor, error: BaseException) -> None:
        """The actor is gone, with all that it trained; another takes its number."""
        self._failed_starts += not remote.state.opened and not is_nodes_fault(error)
        if self._failed_starts >= _MAX_FAILED_STARTS:
            raise WorkerError(f"workers end as they start: {why_not_begun(error)}")
        gone = why_lost(error, remote.place)
        logger.info("worker %d %s", self._workers_of(remote)[0], gone)
        for lane, worker in enumerate(self._workers_of(remote)):
            beside = len(remote.busy - {lane})
            self._messages.append((worker, Lost(None, beside, gone=gone)))
        self._remotes[remote.number] = self._make(remote.number)

    def close(self) -> None:
        self._watch.end()
        self._quiet.end()
        remotes, self._remotes = self._remotes, []
        self._data = None
        _end(remotes, within_s=_CLOSE_S)


def _nodes(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"


def _end(remotes: list[RemoteActor], within_s: float = 0.0) -> None:
    """End the actors: first as they do it themselves, then by force. A cluster that is gone holds
    up nobody."""
    import ray

    def end() -> None:
        closing: list[Future[None]] = []
        for remote in remotes:
            if remote.state.begun:
                with contextlib.suppress(Exception):
                    closing.append(remote.actor.close.remote(True).future())
        # Not by ray.wait: it asks the head's raylet, and actors can be reached without a head.
        wait(closing, timeout=_CLOSE_S)
        for remote in remotes:
            with contextlib.suppress(Exception):
                ray.kill(remote.actor)

    thread = threading.Thread(target=end, name="ray-end", daemon=True)
    thread.start()
    thread.join(within_s + 0.5 if within_s else 0.0)
