"""What a loop does with actors and nodes as they come and go, without Ray: actors are objects of
this process that answer when a test says so. On a real cluster: tests/ray."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conformance import GO_ON, REQUEST, STOP
from fake_ray import ActorDied, ActorUnavailable, FakeRay, TaskFailed, fake_ray

from tuner.errors import WorkerError
from tuner.study.ends import TrialEnd
from tuner.study.messages import Ended, Lost, Report, WorkerPlace, WorkerSetup
from tuner.workers.base import EntryPoint
from tuner.workers.ray import cluster_watch, ray_workers
from tuner.workers.ray.cluster_watch import (
    NodeWatch,
    RayQuiet,
    why_lost,
    why_no_cluster,
    why_not_begun,
)
from tuner.workers.ray.node_actor import ActorCall, Answer, Heard, Open, Said, State, Submit
from tuner.workers.ray.ray_workers import RayBackEnd, RayWorkers

__all__ = ["fake_ray"]
REPORT = Report(1, 1, True, {"val_accuracy": 0.5})
ENDED = Ended(TrialEnd.COMPLETE, 0.5, 1, 1, 9)
TRAINS = State(begun=True, opened=True)


@dataclass
class FakeActor:
    """`calls`: with the future of each one's answer."""

    number: int
    calls: list[tuple[ActorCall, "Future[Heard]"]] = field(default_factory=list)
    closed: bool = False

    @property
    def exchange(self) -> Any:
        return SimpleNamespace(remote=self._exchange)

    @property
    def close(self) -> Any:
        return SimpleNamespace(remote=self._close)

    def _exchange(self, call: ActorCall) -> Any:
        answer: Future[Heard] = Future()
        self.calls.append((call, answer))
        return SimpleNamespace(future=lambda: answer)

    def _close(self, ends_actor: bool) -> Any:
        self.closed = ends_actor
        answer: Future[None] = Future()
        answer.set_result(None)
        return SimpleNamespace(future=lambda: answer)

    def answer(self, *messages: Said, state: State = TRAINS, **others: Any) -> None:
        """To the latest call."""
        call, answer = self.calls[-1]
        done = call.first + len(call.orders) - 1
        place = WorkerPlace("host", f"node{self.number}")
        answer.set_result(Heard(done, call.received + 1, messages, state, place, **others))

    def fail(self, error: Exception) -> None:
        self.calls[-1][1].set_exception(error)

    @property
    def orders(self) -> list[type]:
        """Of the latest call."""
        return [type(order) for order in self.calls[-1][0].orders]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def wait_after(workers: RayWorkers, clock: Clock, seconds: float) -> list[tuple[int, Any]]:
    """The head has answered meanwhile."""
    clock.now += seconds
    workers._watch._answered_at = clock.now
    return workers.wait(0)


@dataclass(frozen=True)
class FakeBackEnd(RayBackEnd):
    actors: list[FakeActor] = field(default_factory=list)

    def make_actor(self, entry: EntryPoint, name: str, number: int) -> FakeActor:
        self.actors.append(FakeActor(number))
        return self.actors[-1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (ray_workers, cluster_watch):
        monkeypatch.setattr(module, "time", clock)
    return clock


@dataclass
class Search:
    """`share`: how many workers it needs."""

    actors: list[FakeActor]
    told: list[str]
    share: list[int]
    open: Callable[..., RayWorkers]


@pytest.fixture
def search(fake_ray: FakeRay, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    # The nodes are read when a test says so.
    monkeypatch.setattr(NodeWatch, "_watch", lambda self: None)
    opened: list[RayWorkers] = []

    def open_workers(processes: int | None, setup: WorkerSetup | None = None) -> RayWorkers:
        workers = RayWorkers(
            back_end, EntryPoint("toy", ()), setup or WorkerSetup(None), processes,
            tell=search.told.append, share=lambda: search.share[0],
        )  # fmt: skip
        opened.append(workers)
        return workers

    back_end = FakeBackEnd()
    search = Search(back_end.actors, [], [9], open_workers)
    yield search
    for workers in opened:
        workers.close()


def train(workers: RayWorkers, actors: list[FakeActor]) -> None:
    """Have the processes of actors take trials."""
    workers.start()
    for actor in actors:
        actor.answer()
    assert workers.wait(0) == []


@pytest.mark.parametrize(
    ("cpus", "gpus", "nodes", "room"),
    [
        (1.0, 0.0, [{"CPU": 2.0}, {"CPU": 3.0}, {"GPU": 1.0}], 5),
        (0.1, 0.0, [{"CPU": 0.7}], 7),
        (2.0, 0.0, [{"CPU": 3.0}, {"CPU": 3.0}], 2),
        (1.0, 0.25, [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}, {"CPU": 9.0}], 6),
    ],
)
def test_room(cpus: float, gpus: float, nodes: list[dict[str, float]], room: int) -> None:
    """Workers do not spread over nodes."""
    assert RayBackEnd(cpus, gpus).room(nodes) == room


def test_actors_are_made_as_they_are_needed_and_let_go_later(
    search: Search, fake_ray: FakeRay, clock: Clock
) -> None:
    search.share[0] = 1
    workers = search.open(3)
    assert (workers.count, len(search.actors)) == (3, 1)
    train(workers, search.actors)
    search.share[0] = 3
    workers.wait(0)
    assert [workers.takes(each) for each in range(3)] == [True, False, False]
    for actor in search.actors[1:]:
        assert actor.orders == [Open]
        actor.answer()
    workers.wait(0)
    workers.submit(2, REQUEST)
    search.share[0] = 1
    wait_after(workers, clock, 60)
    assert workers.takes(2)  # it trains
    search.actors[2].answer(Said(0, 1, Lost(9)))
    assert workers.wait(0) == [(2, Lost(9))]
    assert wait_after(workers, clock, 0) == []
    assert (workers.takes(1), workers.takes(2)) == (True, False)
    assert workers.place(2) is None
    assert wait_after(workers, clock, 0) == []
    assert not workers.takes(1)


def test_an_actor_that_is_surplus_is_ended(search: Search, fake_ray: FakeRay, clock: Clock) -> None:
    workers = search.open(2)
    train(workers, search.actors)
    search.share[0] = 1
    workers.wait(0)
    wait_after(workers, clock, 14)
    assert workers.takes(1)  # it may be needed again soon
    wait_after(workers, clock, 2)
    assert workers.takes(0)
    assert not workers.takes(1)
    assert workers.place(1) is None
    workers.reply(1, STOP)  # the loop may answer what it said last
    search.actors[1].fail(ActorDied("killed"))  # its waiting call is no loss
    assert workers.wait(0) == []


def test_the_last_reply_goes_with_the_next_wait_and_others_at_once(search: Search) -> None:
    workers = search.open(1)
    train(workers, search.actors)
    [actor] = search.actors
    workers.submit(0, REQUEST)
    actor.answer(Said(0, 1, REPORT))
    assert workers.wait(0) == [(0, REPORT)]
    workers.reply(0, GO_ON)
    assert actor.orders == [Answer]
    actor.answer(Said(0, 1, ENDED))
    workers.wait(0)
    workers.wait(0)
    calls = len(actor.calls)
    workers.reply(0, STOP)
    assert len(actor.calls) == calls
    workers.wait(0)
    assert len(actor.calls) == calls + 1
    assert actor.orders == [Answer]
    workers.wait(0)
    assert len(actor.calls) == calls + 1  # one call waits


def test_workers_of_a_process_are_numbered_in_a_row(search: Search) -> None:
    workers = search.open(2, WorkerSetup(None, lanes=2))
    assert (workers.count, len(search.actors)) == (4, 2)
    train(workers, search.actors)
    workers.submit(3, REQUEST)
    [order] = search.actors[1].calls[-1][0].orders
    assert order == Submit(1, 1, REQUEST)
    search.actors[1].answer(Said(1, 1, REPORT))
    assert workers.wait(0) == [(3, REPORT)]
    workers.wait(0)
    workers.submit(2, REQUEST)
    search.actors[1].fail(ActorDied("killed"))
    assert workers.wait(0) == [(2, Lost(None, beside=1)), (3, Lost(None, beside=1))]


def test_a_cluster_without_room_has_one_worker_that_waits(
    search: Search, fake_ray: FakeRay
) -> None:
    fake_ray.living = [{"CPU": 0.5}]
    assert search.open(None).count == 1


def test_it_grows_with_the_cluster_unless_the_user_said_how_many(
    search: Search, fake_ray: FakeRay
) -> None:
    growing, fixed = search.open(None), search.open(2)
    assert (growing.count, fixed.count) == (1, 2)
    for workers in (growing, fixed):
        workers._watch.resources = [{"CPU": 1.0}, {"CPU": 3.0}]
        workers.wait(0)
    assert (growing.count, fixed.count) == (4, 2)
    assert search.told == ["the cluster has grown: room for 4 workers"]


def test_workers_without_a_place_are_told_once(search: Search, clock: Clock) -> None:
    workers = search.open(1)
    workers.start()
    workers.wait(0)
    for _ in range(3):
        wait_after(workers, clock, 10)
    [line] = search.told
    assert line.startswith("no worker has begun yet: no node has 1 CPU, 0 GPUs free for one")
    assert line.endswith("the cluster has 1 node")
    search.actors[0].answer()
    wait_after(workers, clock, 0)
    wait_after(workers, clock, 0)  # it is called again
    search.actors[0].fail(ActorDied("its node has died"))
    wait_after(workers, clock, 0)
    wait_after(workers, clock, 14)
    assert len(search.told) == 1
    wait_after(workers, clock, 2)
    assert len(search.told) == 2


def test_a_lost_actor_has_a_successor_and_its_trial_is_told_of(search: Search) -> None:
    workers = search.open(1)
    train(workers, search.actors)
    workers.submit(0, REQUEST)
    assert search.actors[0].orders == [Submit]
    search.actors[0].fail(ActorDied("The actor died because its node has died."))
    assert workers.wait(0) == [(0, Lost(None))]
    assert not workers.takes(0)
    [_, second] = search.actors
    assert second.orders == [Open]
    second.answer()
    workers.wait(0)
    assert workers.takes(0)
    assert workers.place(0) == WorkerPlace("host", "node0")


def test_a_call_that_fails_on_its_way_is_sent_again(search: Search, clock: Clock) -> None:
    workers = search.open(1)
    train(workers, search.actors)
    [actor] = search.actors
    workers.submit(0, REQUEST)
    sent = len(actor.calls)
    actor.fail(ActorUnavailable("the network is away"))
    assert workers.wait(0) == []
    workers.wait(0)
    assert len(actor.calls) == sent  # not at once
    clock.now += 1
    workers.wait(0)
    assert len(actor.calls) == sent + 1
    assert actor.orders == [Submit]
    actor.answer(Said(0, 1, REPORT))
    assert workers.wait(0) == [(0, REPORT)]


def test_actors_that_end_as_they_start_end_the_search(search: Search) -> None:
    workers = search.open(1)
    workers.start()
    search.actors[0].fail(ActorDied("killed"))
    workers.wait(0)
    search.actors[1].answer()  # it has begun: what was before is no sign
    workers.wait(0)
    workers.wait(0)
    search.actors[1].fail(ActorDied("killed"))
    workers.wait(0)
    del search.actors[:2]
    for number in range(2):
        search.actors[number].fail(ActorDied("worker\ndied: \x1b[31mno such module\x1b[0m"))
        workers.wait(0)
    search.actors[2].fail(ActorDied("its node has died"))  # that is no fault of theirs
    workers.wait(0)
    search.actors[3].fail(ActorDied("worker\ndied: \x1b[31mno such module\x1b[0m"))
    with pytest.raises(WorkerError) as raised:
        workers.wait(0)
    assert str(raised.value) == "workers end as they start: died: no such module"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (TaskFailed("Traceback:\n  ...\nOSError: disk full"), "training cannot start: OSError: d"),
        (RuntimeError("the channel is closed"), "the Ray cluster is gone (the channel is closed)"),
    ],
)
def test_what_ends_a_search_is_a_line(search: Search, error: Exception, line: str) -> None:
    workers = search.open(1)
    workers.start()
    search.actors[0].fail(error)
    with pytest.raises(WorkerError) as raised:
        workers.wait(0)
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


def test_an_actors_problem_ends_the_search(search: Search) -> None:
    workers = search.open(1)
    workers.start()
    search.actors[0].answer(problem="no space left on device (on host)")
    with pytest.raises(WorkerError, match=r"^no space left on device \(on host\)$"):
        workers.wait(0)


UNFIT = {"state": State(begun=True, unfit=True), "unfit": "numpy 1.0 there, 2.0 here"}
LEFT_OUT = "is left out: numpy 1.0 there, 2.0 here"


def test_a_node_that_may_not_train_is_told_of_once(search: Search, fake_ray: FakeRay) -> None:
    """Others take the places of its workers."""
    fake_ray.living.append({"CPU": 1.0})
    workers = search.open(2)
    workers.start()
    for actor in search.actors:
        actor.number = 7  # both are on one node
        actor.answer(**UNFIT)
    workers.wait(0)
    assert search.told == [f"node host/node7 {LEFT_OUT}"]
    assert not workers.takes(0)
    assert workers.count == 4
    workers.wait(0)
    assert len(search.actors) == 4
    search.actors[-1].answer()
    workers.wait(0)
    assert workers.takes(3)


@pytest.mark.parametrize("has_orders", [True, False])
def test_no_node_may_train(search: Search, has_orders: bool) -> None:
    workers = search.open(1)
    if has_orders:  # which it has not had as it answers
        search.actors[0].answer(**UNFIT)
    workers.start()
    if not has_orders:
        search.actors[0].answer(**UNFIT)
    with pytest.raises(WorkerError, match=f"^no node can train: node host/node0 {LEFT_OUT}$"):
        workers.wait(0)


def test_the_user_is_told_what_is_sent(search: Search, fake_ray: FakeRay, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"x" * 2000)
    fake_ray.living = [{"CPU": 2.0}, {"CPU": 0.5}, {"CPU": 1.0}]
    workers = search.open(None, WorkerSetup(tmp_path))
    assert workers.count == 3
    workers.start()
    assert search.told == ["sending 2.0 KiB of data to 2 nodes"]
    [order] = search.actors[0].calls[-1][0].orders
    assert isinstance(order, Open)
    assert order.data is not None and order.data.size == 2000


def test_actors_end_with_the_search(search: Search, fake_ray: FakeRay) -> None:
    workers = search.open(2)
    workers.start()
    search.actors[0].answer()
    workers.wait(0)
    workers.close()
    assert [actor.closed for actor in search.actors] == [True, False]  # the second has not begun
    assert fake_ray.called("kill") == search.actors


def test_the_head_is_gone_after_a_long_silence(search: Search, clock: Clock) -> None:
    workers = search.open(1)
    for seconds in (19, 2, 2):
        clock.now += seconds
        workers.wait(0)
    clock.now += 2
    with pytest.raises(WorkerError, match=r"cluster is gone \(its head does not answer"):
        workers.wait(0)


def test_a_search_that_was_stopped_for_a_while_waits_for_an_answer(
    search: Search, clock: Clock
) -> None:
    workers = search.open(1)
    clock.now += 3600  # this machine slept
    assert workers.wait(0) == []
    workers._watch._answered_at = clock.now
    clock.now += 10
    assert workers.wait(0) == []
    clock.now += 11
    assert workers.wait(0) == []  # silent, since just now


def test_dead_nodes_have_no_room(fake_ray: FakeRay) -> None:
    fake_ray.living = [{"CPU": 4.0}]
    watch = NodeWatch()
    watch.end()
    assert watch.resources == [{"CPU": 4.0}]


def test_what_ray_prints_is_logged_until_the_last_search_ends(
    fake_ray: FakeRay, caplog: pytest.LogCaptureFixture
) -> None:
    worker = vars(fake_ray)["_private"].worker
    worker.print_to_stdstream = print
    first, second = RayQuiet(), RayQuiet()
    first.end()
    first.end()
    with caplog.at_level("INFO"):
        worker.print_to_stdstream({"lines": ["a node died\nand more"]})
    assert caplog.messages == ["Ray: a node died"]
    second.end()
    assert worker.print_to_stdstream is print


PLACE = WorkerPlace("n3", "1f2e3d4c5b6a")


@pytest.mark.parametrize(
    ("error", "place", "line"),
    [
        ("its node has died", PLACE, "was lost with its node n3/1f2e3d4c"),
        ("node was terminated", None, "was lost with the node that it was to start on"),
        (
            "low on memory",
            PLACE,
            "was ended by Ray, because its node n3/1f2e3d4c ran out of memory",
        ),
        ("SIGKILL", PLACE, "was lost on its node n3/1f2e3d4c: the process of its Ray actor has en"),
    ],
)
def test_what_became_of_a_worker(error: str, place: WorkerPlace | None, line: str) -> None:
    assert why_lost(ActorDied(error), place).startswith(line)


def test_reasons_without_words_are_named() -> None:
    assert why_not_begun(ValueError()) == "ValueError"
    assert "tuner optimize" in (line := why_no_cluster("digits", "gone"))
    assert "digits" in line
