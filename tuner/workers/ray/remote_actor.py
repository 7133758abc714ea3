"""An actor of a Ray cluster as the loop knows it: what it was told, and what it has said.

The protocol is described in node_actor.py, which has its other end.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tuner.study.messages import (
    Checkpointed,
    Failed,
    Lost,
    Message,
    Reply,
    Saved,
    TrialRequest,
    WorkerPlace,
)
from tuner.workers.ray.node_actor import (
    ActorCall,
    Answer,
    Heard,
    Open,
    Order,
    Recycle,
    Restart,
    State,
    Submit,
)

# A process that has been ended, and starts again.
_STARTING = State(begun=True)


@dataclass
class RemoteActor:
    """`number`: of its process. `actor`: Ray's handle. `state`: what it said last. `place`: where
    it runs, None until it does. `busy`: the lanes whose trial has not ended. `waiting`: the number
    of the latest call, until that has been answered."""

    number: int
    actor: Any
    state: State = field(default_factory=State)
    place: WorkerPlace | None = None
    busy: set[int] = field(default_factory=set)
    waiting: int = 0
    _calls: int = 0
    # Orders that it may not have had, and the number of the first one.
    _orders: deque[Order] = field(default_factory=deque)
    _first_order: int = 1
    _sent: int = 0
    _received: int = 0
    # Of each lane, how many trials and restarts there were. What is said of earlier ones is old.
    _turns: dict[int, int] = field(default_factory=dict)

    @property
    def takes(self) -> bool:
        return self.state.opened and not self.state.outgrown

    @property
    def is_outgrown(self) -> bool:
        """Whether its process can be replaced, and should."""
        return self.state.outgrown and not self.busy

    @property
    def has_unsent(self) -> bool:
        """Whether there are orders that no call has brought it."""
        return self._first_order + len(self._orders) - 1 > self._sent

    def open(self, order: Open) -> None:
        self._orders.append(order)

    def submit(self, lane: int, request: TrialRequest) -> None:
        self.busy.add(lane)
        self._orders.append(Submit(lane, self._next_turn(lane), request))

    def reply(self, lane: int, reply: Reply) -> bool:
        """Whether it has to be sent at once: otherwise it goes with the next trial."""
        self._orders.append(Answer(lane, self._turns[lane], reply))
        is_last = reply.stop and reply.save_to is None and not reply.checkpoint
        if is_last:
            self.busy.discard(lane)
        return not is_last

    def restart(self, lane: int) -> None:
        self.busy.discard(lane)
        self.state = _STARTING
        self._orders.append(Restart(lane, self._next_turn(lane)))

    def recycle(self) -> None:
        self.state = _STARTING
        self._orders.append(Recycle())

    def _next_turn(self, lane: int) -> int:
        turn = self._turns[lane] = self._turns.get(lane, 0) + 1
        return turn

    def next_call(self) -> ActorCall:
        """What to send now."""
        self._calls += 1
        self.waiting = self._calls
        self._sent = self._first_order + len(self._orders) - 1
        return ActorCall(
            number=self._calls,
            first=self._first_order,
            orders=tuple(self._orders),
            received=self._received,
            known=self.state,
        )

    def answered(self, call: int) -> None:
        """The call of that number has been answered, or has failed."""
        if self.waiting == call:
            self.waiting = 0

    def hear(self, heard: Heard) -> Iterator[tuple[int, Message]]:
        """The messages that are new, each with its lane."""
        self._forget_orders(heard.done)
        if not self._orders:  # otherwise it has not yet done what changes its state
            self.state = heard.state
        self.place = heard.place or self.place
        for number, said in enumerate(heard.messages, heard.first):
            if number <= self._received:
                continue
            self._received = number
            if said.turn == self._turns.get(said.lane, 0):
                if isinstance(said.message, Saved | Failed | Checkpointed | Lost):
                    self.busy.discard(said.lane)
                yield said.lane, said.message

    def _forget_orders(self, done: int) -> None:
        while self._orders and self._first_order <= done:
            self._orders.popleft()
            self._first_order += 1
