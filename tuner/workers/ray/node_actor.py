"""What runs on a node of a Ray cluster: an actor that passes messages between the loop and one
worker process of its own.

The process is a `LocalWorkers`' one: so exit codes, limits of memory, growth, hangs, GPUs and last
words are as on one machine. Nothing here imports Ray.

**At most once, at least once.** A call may fail although it ran, and calls may overtake each other.
So orders are numbered, and each call brings all that the loop does not know to be done; messages
are numbered, and each answer brings all that the loop does not know. Both sides leave out what they
have had.

**One call.** A call waits until there is something to say. A later call ends the wait of an earlier
one, so the loop can always send an order.
"""

import math
import multiprocessing
import os
import socket
import threading
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tuner.errors import TunerError
from tuner.settings import quiet_tensorflow
from tuner.study.messages import Lost, Message, Reply, TrialRequest, WorkerPlace, WorkerSetup
from tuner.system.machine import cores, data_budget_bytes, gpus
from tuner.workers.base import EntryPoint
from tuner.workers.local import LocalWorkers, warm
from tuner.workers.ray.node_checks import Expected
from tuner.workers.ray.node_data import NodeFolder, SentData, this_node, worker_log

# So often a process of the actor's that has died is looked for, if nothing else happens.
_LOOK_S = 1.0
# Time for the last answer to be sent.
_LEAVE_S = 0.5


class Open(NamedTuple):
    """Start the process. `data`: what was sent of the setup's folder of data."""

    setup: WorkerSetup
    data: SentData | None
    data_bytes: float | None


class Submit(NamedTuple):
    """`turn`: which trial of its lane this is; messages of earlier ones are old."""

    lane: int
    turn: int
    request: TrialRequest


class Answer(NamedTuple):
    lane: int
    turn: int
    reply: Reply


class Restart(NamedTuple):
    lane: int
    turn: int


class Recycle(NamedTuple):
    """Replace the process: it has grown."""


Order = Open | Submit | Answer | Restart | Recycle


class Said(NamedTuple):
    """A message of a lane's trial; `turn` is that of the trial."""

    lane: int
    turn: int
    message: Message


class State(NamedTuple):
    """`begun`: whether the actor runs. `opened`: whether its process takes trials. `outgrown`: it
    should be replaced once its trials have ended."""

    begun: bool = False
    opened: bool = False
    outgrown: bool = False


class Heard(NamedTuple):
    """The answer to a call. `done`: how many orders were carried out since the start. `first`: the
    number of the first of the messages, from 1. `place`, `log`: where the actor runs, and the file
    for what its process prints, told to a loop that does not know them. `problem`: why there will
    be no more, one line. `unfit`: with `place`, why this node may not train, else ""."""

    done: int
    first: int
    messages: tuple[Said, ...]
    state: State
    place: WorkerPlace | None = None
    log: str = ""
    problem: str | None = None
    unfit: str = ""


class ActorCall(NamedTuple):
    """`number`: from 1. `first`: the number of the first of the orders, from 1. `received`: how
    many messages the loop has had. `known`: the state that it knows."""

    number: int
    first: int
    orders: tuple[Order, ...]
    received: int
    known: State


@dataclass
class _Outbox:
    """The messages that the loop may not have had yet. `first`: the number of the first one."""

    first: int = 1
    messages: list[Said] = field(default_factory=list)

    def drop(self, received: int) -> None:
        had = max(0, received + 1 - self.first)
        del self.messages[:had]
        self.first += had


class RayActor:
    """One worker process, on the node where Ray puts the actor. `name`: the search's, for the files
    it keeps there. `cpus`, `gpus`: what the actor was given. `expected`: what the node must have;
    otherwise the actor takes no trial, so that its room is used by none. Its methods are called in
    threads."""

    def __init__(
        self,
        entry: EntryPoint,
        name: str,
        number: int,
        cpus: float,
        gpus: float,
        expected: Expected | None = None,
    ) -> None:
        quiet_tensorflow()
        self._entry, self._cpus, self._has_gpu = entry, cpus, gpus > 0
        self._place = WorkerPlace(socket.gethostname(), this_node())
        self._folder = NodeFolder(name, self._place.node)
        self._log = worker_log(name, number)
        # A byte ends the wait for the process.
        self._woken_by, self._waker = multiprocessing.Pipe(duplex=False)
        self._workers: LocalWorkers | None = None
        self._turn, self._waking = threading.Lock(), threading.Lock()
        self._latest: float = 0
        self._done, self._outbox = 0, _Outbox()
        self._turns: dict[int, int] = {}
        self._held: dict[int, Submit] = {}
        self._problem: str | None = None
        self._unfit = "" if expected is None else expected.problem_here()
        if not self._unfit:
            warm(entry, self._log)

    def exchange(self, call: ActorCall) -> Heard:
        """Carry out the orders, and wait for something to say."""
        self._wake(call.number)
        with self._turn:
            while self._woken_by.poll():
                self._woken_by.recv_bytes()
            try:
                self._carry_out(call)
                self._outbox.drop(call.received)
                while self._has_nothing_new(call):
                    self._collect()
            except (TunerError, OSError) as error:
                self._problem = f"{error} (on {self._place.host}; its log there: {self._log})"
            return self._heard(call)

    def close(self, ends_actor: bool = False) -> None:
        """End the process, and remove what the search has on this node. `ends_actor`: this process
        ends too, with its fork server, soon after the answer: a cluster without its head would
        leave it for a minute."""
        self._wake(math.inf)
        with self._turn:
            if self._workers is not None:
                self._workers.close()
            self._workers = None
            self._folder.leave()
        if ends_actor:
            threading.Timer(_LEAVE_S, os._exit, (0,)).start()

    def _wake(self, number: float) -> None:
        """End the waits of earlier calls."""
        with self._waking:
            self._latest = max(self._latest, number)
            self._waker.send_bytes(b"x")

    def _has_nothing_new(self, call: ActorCall) -> bool:
        if call.number < self._latest or self._problem is not None:
            return False
        # Whether it has outgrown is told with what it says: to ask takes longer than a message.
        is_known = call.known.begun and call.known.opened == self._is_open
        return is_known and not self._outbox.messages

    def _heard(self, call: ActorCall) -> Heard:
        return Heard(
            done=self._done,
            first=self._outbox.first,
            messages=tuple(self._outbox.messages),
            state=self._state(),
            place=None if call.known.begun else self._place,
            log="" if call.known.begun else str(self._log),
            problem=self._problem,
            unfit="" if call.known.begun else self._unfit,
        )

    @property
    def _is_open(self) -> bool:
        return self._workers is not None and self._workers.is_open(0)

    def _state(self) -> State:
        outgrown = self._workers is not None and self._workers.is_outgrown(0)
        return State(begun=True, opened=self._is_open, outgrown=outgrown)

    def _collect(self) -> None:
        if self._workers is None:  # it has no data yet
            self._woken_by.poll(_LOOK_S)
            return
        self._submit_held()
        for lane, message in self._workers.wait(_LOOK_S):
            if isinstance(message, Lost):
                self._held.pop(lane, None)
            self._outbox.messages.append(Said(lane, self._turns.get(lane, 0), message))
        self._submit_held()

    def _submit_held(self) -> None:
        """Trials that came while the process was starting, or had just outgrown."""
        if self._workers is None or not self._held:
            return
        self._workers.recycle()
        for lane in [lane for lane in self._held if self._workers.takes(lane)]:
            self._workers.submit(lane, self._held.pop(lane).request)

    def _carry_out(self, call: ActorCall) -> None:
        for number, order in enumerate(call.orders, call.first):
            if number <= self._done:
                continue
            self._done = number
            if isinstance(order, Open):
                self._open(order)
            elif self._workers is not None:
                self._obey(self._workers, order)

    def _open(self, order: Open) -> None:
        if self._unfit:
            return
        setup = order.setup
        if order.data is not None:
            setup = replace(setup, data=self._folder.unpack(order.data))
        here = max(1, int(cores() / max(self._cpus, 1.0)))
        setup = replace(
            setup,
            budget_bytes=order.data_bytes or data_budget_bytes(here),
            threads=max(1, int(self._cpus)),
        )
        usable = gpus() if self._has_gpu else ()
        self._workers = LocalWorkers(
            1, self._entry, setup, usable, self._log, woken_by=self._woken_by
        )
        self._workers.start()

    def _obey(self, workers: LocalWorkers, order: Submit | Answer | Restart | Recycle) -> None:
        match order:
            case Submit(lane, turn, request):
                self._turns[lane] = turn
                if workers.takes(lane):
                    workers.submit(lane, request)
                else:
                    self._held[lane] = order
            case Answer(lane, turn, reply):
                if self._turns.get(lane) == turn:
                    workers.reply(lane, reply)
            case Restart(lane, turn):
                self._held.pop(lane, None)
                workers.restart(lane)
                self._turns[lane] = turn
            case Recycle():
                workers.recycle()
