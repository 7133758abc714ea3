"""Workers on a Ray cluster: an actor for each worker process, wherever the cluster has room.

The back end is an object, since it needs to know what a process takes. Ray must be connected
before (ray_cluster.py). What runs in an actor: ray_actor.py.

An answer of an actor comes to a thread of Ray's, which puts it into a queue; so a loop's `wait`
takes the same time with two actors and with a thousand. Ray starts nothing again: attempts are
the loop's.
"""

import contextlib
import logging
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.errors import WorkerError
from tuner.study.messages import (
    Checkpointed,
    Failed,
    Lost,
    Message,
    Reply,
    Saved,
    TrialRequest,
    WorkerSetup,
)
from tuner.workers.base import EntryPoint, Place
from tuner.workers.ray_actor import (
    Answer,
    Call,
    Heard,
    Open,
    Order,
    RayActor,
    Recycle,
    Restart,
    State,
    Submit,
)
from tuner.workers.ray_data import SentData, send_folder

logger = logging.getLogger(__name__)
# So many actors in a row that end before their session is open are no accident.
_MAX_FAILED_STARTS = 3
# How long actors have to end their processes and to remove their files, when the search ends.
_CLOSE_S = 2.0
# A waiting call, and one that ends its wait; one more that overtakes them.
_CALLS_AT_ONCE = 3


@dataclass(frozen=True)
class RayBackEnd:
    """See `base.BackEnd`. `trial_cpus`, `trial_gpus`: what a worker process takes of its node; of a
    GPU it may be a part. Ray is connected."""

    trial_cpus: float = 1.0
    trial_gpus: float = 0.0

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
        return RayWorkers(
            processes or max(1, self.room()), entry, setup, self, data_bytes=data_bytes, share=share
        )

    def room(self) -> int:
        """How many worker processes the nodes of the cluster have room for, if nothing else runs
        on them."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return sum(self._room_on(resources) for resources in nodes)

    def _room_on(self, resources: dict[str, float]) -> int:
        wanted = {"CPU": self.trial_cpus, "GPU": self.trial_gpus}
        rooms = [int(resources.get(name, 0) / each + 1e-9) for name, each in wanted.items() if each]
        return min(rooms, default=0)

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
        return actor.remote(entry, name, number, self.trial_cpus, self.trial_gpus)


@dataclass
class _Remote:
    """An actor as the loop knows it. `orders`: those that it may not have had; `first_order`: the
    number of the first one. `calls`: how many were made; `waiting`: the number of the one that is
    under way, 0 without one. `place`: None until it is known. `busy`: the lanes whose trial has not
    ended. `turns`: of each lane, how many trials and restarts there were."""

    number: int
    actor: Any
    orders: deque[Order] = field(default_factory=deque)
    first_order: int = 1
    calls: int = 0
    waiting: int = 0
    received: int = 0
    state: State = field(default_factory=State)
    place: Place | None = None
    busy: set[int] = field(default_factory=set)
    turns: dict[int, int] = field(default_factory=dict)
    recycled: bool = False

    def next_turn(self, lane: int) -> int:
        turn = self.turns[lane] = self.turns.get(lane, 0) + 1
        return turn

    @property
    def takes(self) -> bool:
        return self.state.opened and not self.state.outgrown and not self.recycled


class RayWorkers:
    """`processes` with `setup.lanes` workers each, an actor for each process."""

    def __init__(
        self,
        processes: int,
        entry: EntryPoint,
        setup: WorkerSetup,
        back_end: RayBackEnd,
        *,
        data_bytes: float | None = None,
        share: Callable[[], int] | None = None,
    ) -> None:
        self.lanes = setup.lanes
        self.count = processes * self.lanes
        self._entry, self._setup, self._back_end = entry, setup, back_end
        self._data_bytes = data_bytes
        self._name = uuid.uuid4().hex[:16]
        self._data: SentData | None = None
        self._is_started = False
        self._failed_starts = 0
        self._heard: queue.SimpleQueue[tuple[_Remote, int, Future[Heard]]] = queue.SimpleQueue()
        self._messages: list[tuple[int, Message]] = []
        # Their processes begin to import while the loop reads the data.
        self._remotes = [self._make(number) for number in range(processes)]

    def _make(self, number: int) -> _Remote:
        remote = _Remote(number, self._back_end.make_actor(self._entry, self._name, number))
        if self._is_started:
            self._order(remote, self._opening())
        return remote

    def _opening(self) -> Open:
        return Open(self._setup, self._data, self._data_bytes)

    def start(self) -> None:
        if self._setup.data is not None:
            self._data = send_folder(self._setup.data)
        self._is_started = True
        for remote in self._remotes:
            self._order(remote, self._opening())

    def _of(self, worker: int) -> tuple[_Remote, int]:
        return self._remotes[worker // self.lanes], worker % self.lanes

    def _worker(self, remote: _Remote, lane: int) -> int:
        return remote.number * self.lanes + lane

    def takes(self, worker: int) -> bool:
        return self._of(worker)[0].takes

    def place(self, worker: int) -> Place | None:
        return self._of(worker)[0].place

    def submit(self, worker: int, request: TrialRequest) -> None:
        remote, lane = self._of(worker)
        remote.busy.add(lane)
        self._order(remote, Submit(lane, remote.next_turn(lane), request))

    def reply(self, worker: int, reply: Reply) -> None:
        remote, lane = self._of(worker)
        if lane not in remote.busy:
            return
        order = Answer(lane, remote.turns[lane], reply)
        if reply.stop and reply.save_to is None and not reply.checkpoint:
            remote.busy.discard(lane)
            remote.orders.append(order)  # it goes with the next trial, or at the next wait
        else:
            self._order(remote, order)

    def restart(self, worker: int) -> None:
        remote, lane = self._of(worker)
        logger.info("the process of worker %d is ended", worker)
        remote.busy.discard(lane)
        remote.state = State()
        self._order(remote, Restart(lane, remote.next_turn(lane)))

    def recycle(self) -> list[int]:
        recycled: list[int] = []
        for remote in self._remotes:
            if remote.state.outgrown and not remote.busy and not remote.recycled:
                logger.info("the process of worker %d has grown, and is replaced", remote.number)
                remote.recycled = True
                self._order(remote, Recycle())
                recycled += [self._worker(remote, lane) for lane in range(self.lanes)]
        return recycled

    def _order(self, remote: _Remote, order: Order) -> None:
        remote.orders.append(order)
        self._call(remote)

    def _call(self, remote: _Remote) -> None:
        """Send the orders, and have the actor say what comes. An earlier call waits no longer."""
        remote.calls += 1
        call = Call(
            number=remote.calls,
            first=remote.first_order,
            orders=tuple(remote.orders),
            received=remote.received,
            known=remote.state,
        )
        number = remote.waiting = remote.calls
        future: Future[Heard] = remote.actor.exchange.remote(call).future()
        future.add_done_callback(lambda done: self._heard.put((remote, number, done)))

    def wait(self, timeout_s: float) -> list[tuple[int, Message]]:
        for remote in self._remotes:
            if not remote.waiting or remote.orders:
                self._call(remote)
        deadline = time.monotonic() + timeout_s
        while not self._messages:
            try:
                self._hear(*self._heard.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                break
        with contextlib.suppress(queue.Empty):
            while True:
                self._hear(*self._heard.get_nowait())
        messages, self._messages = self._messages, []
        return messages

    def _hear(self, remote: _Remote, number: int, done: "Future[Heard]") -> None:
        if self._remotes[remote.number] is not remote:
            return  # it was replaced meanwhile
        if remote.waiting == number:
            remote.waiting = 0
        error = done.exception()
        if error is not None:
            self._lose(remote, error)
            return
        heard = done.result()
        if heard.problem is not None:
            raise WorkerError(heard.problem)
        while remote.orders and remote.first_order <= heard.done:
            remote.orders.popleft()
            remote.first_order += 1
        self._learn_state(remote, heard)
        for position, said in enumerate(heard.messages, heard.first):
            if position <= remote.received:
                continue
            remote.received = position
            if said.turn == remote.turns.get(said.lane, 0):
                self._tell(remote, said.lane, said.message)

    def _learn_state(self, remote: _Remote, heard: Heard) -> None:
        if remote.orders:
            return  # it does not know yet what it was told
        remote.state = heard.state
        if not heard.state.outgrown:
            remote.recycled = False
        if heard.state.opened:
            self._failed_starts = 0

    def _tell(self, remote: _Remote, lane: int, message: Message) -> None:
        if isinstance(message, Saved | Failed | Checkpointed | Lost):
            remote.busy.discard(lane)
        self._messages.append((self._worker(remote, lane), message))

    def _lose(self, remote: _Remote, error: BaseException) -> None:
        """The actor is gone: its node, or its process."""
        self._failed_starts += not remote.state.opened
        if self._failed_starts >= _MAX_FAILED_STARTS:
            raise WorkerError(f"workers end as they start: {_first_line(error)}")
        others = len(remote.busy)
        for lane in range(self.lanes):
            beside = others - (lane in remote.busy)
            lost = Lost(None, beside, last_words=_first_line(error))
            self._messages.append((self._worker(remote, lane), lost))
        self._remotes[remote.number] = self._make(remote.number)

    def close(self) -> None:
        import ray

        remotes, self._remotes = self._remotes, []
        self._data = None
        closing = [remote.actor.close.remote() for remote in remotes if remote.state.opened]
        thread = threading.Thread(target=_end, args=(closing, remotes, ray), daemon=True)
        thread.start()
        thread.join(_CLOSE_S + 0.5)


def _end(closing: list[Any], remotes: list[_Remote], ray: Any) -> None:
    if closing:
        with contextlib.suppress(Exception):
            ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_S)
    for remote in remotes:
        with contextlib.suppress(Exception):
            ray.kill(remote.actor)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
