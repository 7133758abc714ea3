"""What the loop and an actor say to each other: answers that are lost, calls that overtake each
other or are done twice. The actor runs in this process, without Ray."""

import errno
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from conformance import GO_ON, REQUEST, STOP, acting
from toy_training import TOY

from tuner.study.messages import Checkpointed, Ended, Lost, Message, Reply, Report, WorkerSetup
from tuner.workers.base import EntryPoint
from tuner.workers.ray import node_actor, node_data
from tuner.workers.ray.node_actor import ActorCall, Heard, Open, RayActor, Said, State
from tuner.workers.ray.node_data import NodeFolder, SentData
from tuner.workers.ray.remote_actor import RemoteActor

SOON_S = 20.0


@pytest.fixture
def actor(setup: WorkerSetup, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayActor]:
    monkeypatch.setattr(node_actor, "this_node", lambda: "node")
    monkeypatch.setattr(node_data.tempfile, "gettempdir", lambda: str(tmp_path))
    actor = RayActor(TOY, "search", 0, 1.0, 0.0)
    yield actor
    actor.close()


class Line:
    """A loop's end, and the calls that go to the actor, which may fail on their way."""

    def __init__(self, actor: RayActor, setup: WorkerSetup) -> None:
        self.actor, self.remote = actor, RemoteActor(0, actor)
        self._threads = ThreadPoolExecutor(4)
        self.remote.open(Open(setup, None, None))
        while not self.remote.takes:
            assert self.messages(self.send()) == []

    def send(self, call: ActorCall | None = None) -> "Future[Heard]":
        return self._threads.submit(self.actor.exchange, call or self.remote.next_call())

    def messages(self, answer: "Future[Heard]") -> list[Message]:
        return [message for _, message in self.remote.hear(answer.result(SOON_S))]

    def next_message(self) -> Message:
        """Whatever is lost, it comes with a later call."""
        while not (messages := self.messages(self.send())):
            pass
        [message] = messages
        return message


@pytest.fixture
def line(actor: RayActor, setup: WorkerSetup) -> Line:
    return Line(actor, setup)


def test_a_call_that_is_done_twice_trains_once(line: Line) -> None:
    line.remote.submit(0, REQUEST)
    call = line.remote.next_call()
    first, again = line.send(call).result(SOON_S), line.send(call).result(SOON_S)
    assert first == again
    assert [m.step for _, m in line.remote.hear(first)] == [1]  # type: ignore[union-attr]
    assert list(line.remote.hear(again)) == []
    assert _steps_to_the_end(line) == [2, 3]


def test_a_lost_answer_is_given_again(line: Line) -> None:
    line.remote.submit(0, REQUEST)
    line.send().result(SOON_S)  # nobody hears it
    report = line.next_message()
    assert isinstance(report, Report)
    assert report.step == 1
    line.remote.reply(0, GO_ON)
    line.send().result(SOON_S)
    report = line.next_message()
    assert isinstance(report, Report)
    assert report.step == 2


def test_calls_may_overtake_each_other(line: Line) -> None:
    line.remote.submit(0, acting("hang", at=1))
    early = line.remote.next_call()
    line.remote.restart(0)
    line.remote.submit(0, REQUEST)
    late = line.send()
    assert line.messages(line.send(early)) == []
    messages = line.messages(late)
    report = messages[0] if messages else line.next_message()
    assert isinstance(report, Report)
    assert _steps_to_the_end(line) == [2, 3]


def test_a_later_call_ends_an_earlier_ones_wait(line: Line) -> None:
    waiting = line.send()
    line.remote.submit(0, REQUEST)
    later = line.send()
    assert line.messages(waiting) == []
    assert isinstance(line.messages(later)[0], Report)


def test_what_is_said_of_an_earlier_trial_is_old(line: Line) -> None:
    line.remote.submit(0, REQUEST)
    old = line.send().result(SOON_S)
    line.remote.restart(0)
    line.remote.submit(0, replace(REQUEST, params=REQUEST.params | {"x": 0.4}))
    assert list(line.remote.hear(old)) == []
    report = line.next_message()
    assert isinstance(report, Report)
    assert report.metrics["val_accuracy"] < 0.21


def test_a_reply_to_an_earlier_trial_is_left_out(line: Line) -> None:
    line.remote.submit(0, acting("crash", at=2))
    assert isinstance(line.next_message(), Report)
    line.remote.reply(0, GO_ON)
    assert line.next_message() == Lost(9)
    line.remote.reply(0, GO_ON)  # it knew of no loss yet
    line.remote.submit(0, REQUEST)
    assert isinstance(line.next_message(), Report)
    assert _steps_to_the_end(line) == [2, 3]


def test_a_trial_that_comes_while_its_process_starts_is_trained(line: Line) -> None:
    line.remote.restart(0)
    line.remote.submit(0, REQUEST)
    assert isinstance(line.next_message(), Report)


def test_a_trial_that_waits_for_its_process_is_forgotten_with_it(line: Line) -> None:
    line.remote.restart(0)
    line.remote.submit(0, REQUEST)
    line.remote.restart(0)
    line.send().result(SOON_S)
    line.remote.submit(0, replace(REQUEST, params=REQUEST.params | {"x": 0.4}))
    report = line.next_message()
    assert isinstance(report, Report)
    assert report.metrics["val_accuracy"] < 0.21
    assert _steps_to_the_end(line) == [2, 3]


def test_what_was_heard_is_not_said_again(line: Line) -> None:
    line.remote.submit(0, REQUEST)
    assert isinstance(line.next_message(), Report)
    line.remote.reply(0, GO_ON)
    heard = line.send().result(SOON_S)
    while not heard.messages:
        heard = line.send().result(SOON_S)
    assert [(heard.first, message.message.step) for message in heard.messages] == [(2, 2)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "reply", [Reply(stop=True, save_to="x"), Reply(stop=True, checkpoint=True)]
)
def test_a_reply_that_the_trial_acts_upon_is_sent_at_once(line: Line, reply: Reply) -> None:
    """The loop waits for what is said of it: the trial is not done yet."""
    line.remote.submit(0, REQUEST)
    assert isinstance(line.next_message(), Report)
    assert line.remote.reply(0, reply)
    assert line.remote.busy == {0}


def test_a_process_that_has_grown_is_replaced_after_its_last_trial(line: Line) -> None:
    remote = line.remote
    remote.submit(0, REQUEST)
    remote.submit(1, REQUEST)
    remote.next_call()
    grown = State(begun=True, opened=True, outgrown=True)
    [_] = remote.hear(Heard(3, 1, (Said(0, 1, Lost(9)),), grown))
    assert (remote.takes, remote.is_outgrown, remote.busy) == (False, False, {1})
    [_] = remote.hear(Heard(3, 2, (Said(1, 1, Lost(9)),), grown))
    assert (remote.takes, remote.is_outgrown) == (False, True)
    remote.recycle()
    assert not remote.is_outgrown


def test_what_a_process_may_use_is_that_of_its_actor(
    actor: RayActor, setup: WorkerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[WorkerSetup, tuple[int, ...]]] = []

    class Recorded(node_actor.LocalWorkers):
        def __init__(
            self,
            processes: int,
            entry: EntryPoint,
            setup: WorkerSetup,
            gpus: Any,
            *rest: Any,
            **others: Any,
        ) -> None:
            opened.append((setup, gpus))
            super().__init__(processes, entry, setup, (), *rest, **others)

    monkeypatch.setattr(node_actor, "LocalWorkers", Recorded)
    monkeypatch.setattr(node_actor, "gpus", lambda: (0, 1))
    monkeypatch.setattr(node_actor, "cores", lambda: 8.0)
    monkeypatch.setattr(node_actor, "data_budget_bytes", lambda workers: 800.0 / workers)
    for cpus, has_gpu, data_bytes in ((4.0, True, None), (0.5, False, None), (1.0, False, 7.0)):
        actor._cpus, actor._has_gpu = cpus, has_gpu
        actor._open(Open(setup, None, data_bytes))
        assert actor._workers is not None
        actor._workers.close()
    found = [(each.threads, each.budget_bytes, gpus) for each, gpus in opened]
    assert found == [(4, 400.0, (0, 1)), (1, 100.0, ()), (1, 7.0, ())]


def test_a_process_that_cannot_be_started_says_why(
    actor: RayActor, setup: WorkerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended with one line, instead of a traceback of Ray's."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(node_actor, "LocalWorkers", fail)
    remote = RemoteActor(0, actor)
    remote.open(Open(setup, None, None))
    heard = actor.exchange(remote.next_call())
    assert heard.problem is not None
    assert "Resource temporarily unavailable (on " in heard.problem
    assert str(actor._log) in heard.problem
    assert actor.exchange(remote.next_call()).problem == heard.problem


def test_a_trial_that_left_its_checkpoint_is_done(line: Line) -> None:
    remote = line.remote
    remote.submit(0, REQUEST)
    remote.next_call()
    assert list(remote.hear(Heard(2, 1, (Said(0, 1, Checkpointed()),), State(True, True)))) == [
        (0, Checkpointed())
    ]
    assert remote.busy == set()


def test_what_was_said_before_an_order_is_no_longer_so(line: Line) -> None:
    """The process is being ended: it takes no trial, whatever an older answer says."""
    remote, opened = line.remote, line.remote.state
    remote.restart(0)
    remote.next_call()
    assert list(remote.hear(Heard(1, 1, (), opened))) == []
    assert not remote.takes
    assert list(remote.hear(Heard(2, 1, (), opened))) == []
    assert remote.takes


def test_the_last_reply_goes_with_the_next_trial(line: Line) -> None:
    line.remote.submit(0, REQUEST)
    assert isinstance(line.next_message(), Report)
    assert not line.remote.reply(0, STOP)
    line.remote.submit(0, REQUEST)
    assert len(line.remote.next_call().orders) == 2


def test_closing_ends_a_wait(line: Line, actor: RayActor) -> None:
    waiting = line.send()
    closing = threading.Thread(target=actor.close)
    closing.start()
    assert line.messages(waiting) == []
    closing.join(SOON_S)
    assert not closing.is_alive()


def test_a_node_without_room_for_the_data_is_told(
    actor: RayActor, setup: WorkerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(folder: NodeFolder, data: SentData) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(NodeFolder, "unpack", unpack)
    remote = RemoteActor(0, actor)
    list(remote.hear(actor.exchange(remote.next_call())))
    remote.open(Open(setup, SentData(()), None))
    heard = actor.exchange(remote.next_call())
    assert "it cannot keep the data: [Errno 28] No space left" in heard.unfit
    assert list(remote.hear(heard)) == []
    assert (remote.state.unfit, remote.takes) == (True, False)


def _steps_to_the_end(line: Line) -> list[int]:
    """The reports from here on of a trial that goes on."""
    steps: list[int] = []
    while True:
        line.remote.reply(0, GO_ON)
        message = line.next_message()
        if isinstance(message, Ended):
            line.remote.reply(0, STOP)
            return steps
        assert isinstance(message, Report)
        steps.append(message.step)
