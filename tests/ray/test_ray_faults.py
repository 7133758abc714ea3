"""Nodes, loops and connections that are lost while a study trains on a Ray cluster."""

import signal

import pytest
from fault_table import OUTCOMES, Check
from faults import victims
from faults.audit import ends, repeated
from faults.victims import finish
from ray_cluster import RayNodes
from toy_study import Bench, any_of
from waiting import wait_until

pytestmark = pytest.mark.timeout(600)
SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
IN_A_SOAK = pytest.mark.skipif("not config.getoption('--soak')", reason="it is done in a soak only")
SQLITE_AND_IN_A_SOAK_POSTGRESQL = pytest.mark.parametrize(
    "store", ["sqlite", pytest.param("postgresql", marks=IN_A_SOAK)], indirect=True
)
SLOWLY = {"epochs": 120, "patience": 120, "pace": 0.25}
OFTEN = {"checkpoint_every_s": 0.0}
# The machine may be busy with other tests.
SOON_S = 200.0


class Held:
    """Trials of six epochs that wait in their fourth, each with a checkpoint, until they are let
    go: however far apart their workers start, all train at once."""

    def __init__(self, bench: Bench) -> None:
        self._gone = bench.folder / "go"
        self.parameters = {"epochs": 6, "act": "wait", "at": 4, "until": str(self._gone)}

    def let_go(self) -> None:
        self._gone.touch()


def is_training(bench: Bench, workers: int) -> bool:
    """Whether so many trials are trained, each with a checkpoint."""
    running = [t for t in bench.trials if t.state == "RUNNING" and t.end is None]
    return len(running) == workers and all(len(bench.curve(trial)) >= 2 for trial in running)


def nodes_of_running(bench: Bench) -> dict[str | None, int]:
    """The numbers of the trials that are trained now, by their nodes."""
    return {t.attempts[-1].node: t.number for t in bench.trials if t.state == "RUNNING"}


def nodes_used(bench: Bench) -> set[str | None]:
    return {attempt.node for trial in bench.trials for attempt in trial.attempts}


def last_line(said: str) -> str:
    return (said.strip().splitlines() or [""])[-1]


def ended_well(said: str) -> bool:
    return last_line(said).startswith("None done_here=")


@SQLITE_AND_IN_A_SOAK_POSTGRESQL
@pytest.mark.times(1, 30)
def test_a_node_killed(ray_bench: Bench, ray_nodes: RayNodes, times: int, check: Check) -> None:
    bench, held = ray_bench, Held(ray_bench)
    bench.create(held.parameters)
    trials = 3 + times
    loop = bench.start(trials, workers=3, asked=OFTEN)
    moved: list[tuple[int, int, str]] = []
    for done in range(1, times + 1):
        wait_until(lambda: is_training(bench, 3), SOON_S)
        killed, number = next(iter(nodes_of_running(bench).items()))
        assert killed is not None
        moved.append((number, len(bench.trials[number].attempts), killed))
        ray_nodes.kill(killed)
        wait_until(lambda done=done: ends(bench)["worker_lost"] == done, SOON_S)  # type: ignore[misc]
        if done < times:
            ray_nodes.add()
    held.let_go()
    said = finish(loop, SOON_S)
    assert ended_well(said), said
    name = bench.store.url.get_backend_name()
    check(bench, trials, f"a node of a Ray cluster killed ({name})", times)
    assert repeated(bench) == []
    for number, attempt, killed in moved:
        first, second = bench.trials[number].attempts[attempt - 1 : attempt + 1]
        assert (first.end, first.node) == ("worker_lost", killed)
        assert second.node not in (None, killed)
        assert second.resumed_epoch == 3


@SQLITE
@pytest.mark.times(0, 10)
def test_all_nodes_killed(ray_bench: Bench, ray_nodes: RayNodes, times: int, check: Check) -> None:
    """Two at once, then the last one: the search waits until there is a node again."""
    bench, held = ray_bench, Held(ray_bench)
    bench.create(held.parameters)
    trials = 3 + times
    loop = bench.start(trials, workers=3, asked=OFTEN)
    wait_until(lambda: is_training(bench, 3), SOON_S)
    first, second, third = ray_nodes.node_ids
    ray_nodes.kill(first, second)
    wait_until(lambda: ends(bench)["worker_lost"] == 2, SOON_S)
    ray_nodes.kill(third)
    wait_until(lambda: ends(bench)["worker_lost"] >= 3, SOON_S)
    added = ray_nodes.add()
    held.let_go()
    said = finish(loop)
    assert ended_well(said), said
    check(bench, trials, "all nodes of a Ray cluster killed, then one added", times)
    assert repeated(bench) == []
    # Before they were killed, all may have ended a trial; none goes on where it cannot.
    assert added in {trial.attempts[-1].node for trial in bench.trials}
    later = {attempt.node for trial in bench.trials for attempt in trial.attempts[1:]}
    assert later <= {third, added}


@SQLITE
@pytest.mark.times(1, 10)
def test_a_node_added(ray_bench: Bench, ray_nodes: RayNodes, times: int, check: Check) -> None:
    """Without `--workers`, a search uses what the cluster has, also later."""
    bench, held = ray_bench, Held(ray_bench)
    bench.create(held.parameters)
    before = ray_nodes.node_ids
    loop = bench.start(8, workers=None, asked=OFTEN)
    wait_until(lambda: is_training(bench, 3), SOON_S)
    added = ray_nodes.add()
    wait_until(lambda: is_training(bench, 4), SOON_S)
    held.let_go()
    said = finish(loop)
    assert ended_well(said), said
    check(bench, 8, "a node added to a Ray cluster", times)
    assert nodes_used(bench) == {*before, added}


@SQLITE
@pytest.mark.times(0, 30)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_loop_ended(
    ray_bench: Bench, ray_nodes: RayNodes, times: int, check: Check, number: signal.Signals
) -> None:
    bench, trials = ray_bench, 3 + times
    bench.create(SLOWLY)
    for _ in range(times):
        loop = bench.start(trials, workers=3, asked=OFTEN | {"lease_s": 2.0})
        wait_until(lambda: is_training(bench, 3), SOON_S)
        left = ray_nodes.actors() + ray_nodes.servers() + ray_nodes.trainers()
        assert len(left) >= 9
        loop.send_signal(number)
        said = finish(loop, 20)
        assert loop.returncode == (-9 if number == signal.SIGKILL else 130), said
        wait_until(lambda left=left: victims.gone(left))  # type: ignore[misc]
        if number != signal.SIGKILL:
            assert victims.running(bench) == 0
            assert "claimed" not in bench.slots
            assert repeated(bench) == []
    heir = bench.start(trials, workers=3, asked=OFTEN)
    said = finish(heir)
    assert ended_well(said), said
    check(bench, trials, f"{number.name} to a loop on a Ray cluster", times)
    assert repeated(bench) == []
    assert not list(ray_nodes.temporary.glob("tuner-ray-*"))


@SQLITE
@pytest.mark.times(0, 5)
def test_every_way_a_trial_goes_wrong(ray_bench: Bench, times: int, check: Check) -> None:
    bench = ray_bench
    acts = ["crash", "learn", "raise", "learn", "grow", "hang", "nan", "learn"] * times
    parameters = {"act": any_of(*OUTCOMES), "epochs": 5, "patience": 5, "at": 4, "pace": 0.02}
    bench.create(parameters, [{"act": act, "x": 0.8} for act in acts])
    trials = len(acts) - acts.count("raise")
    loop = bench.start(
        trials, workers=3, asked={"trial_memory_bytes": 400 * 2**20}, trial_timeout_s=20.0
    )
    said = finish(loop)
    assert ended_well(said), said
    check(bench, trials, "trials that go wrong on a Ray cluster", times)
    assert [(t.state, t.end) for t in bench.trials] == [OUTCOMES[act] for act in acts]
    assert ends(bench)["worker_lost"] == 3 * times


@SQLITE_AND_IN_A_SOAK_POSTGRESQL
@pytest.mark.times(0, 10)
def test_loops_side_by_side(ray_bench: Bench, times: int, check: Check) -> None:
    """Three loops on one cluster, and a daemon on its own machine, do one study."""
    bench, trials = ray_bench, 30 * times
    bench.create({"pace": 0.05})
    loops = [bench.start(trials) for _ in range(3)]
    daemon = bench.start_daemon()
    said = [finish(loop) for loop in loops]
    daemon.send_signal(signal.SIGTERM)
    finish(daemon)
    assert all(map(ended_well, said)), "\n".join(said)
    name = bench.store.url.get_backend_name()
    check(bench, trials, f"three loops on Ray beside a daemon ({name})", times)


@SQLITE
@pytest.mark.times(0, 10)
def test_a_node_frozen(ray_bench: Bench, ray_nodes: RayNodes, times: int, check: Check) -> None:
    """For longer than a cluster waits: it is dead to the others, also once it wakes."""
    bench, held = ray_bench, Held(ray_bench)
    bench.create(held.parameters)
    loop = bench.start(2, workers=2, asked=OFTEN)
    wait_until(lambda: is_training(bench, 2), SOON_S)
    node, number = next(iter(nodes_of_running(bench).items()))
    assert node is not None
    frozen = ray_nodes.raylet(node)
    frozen.send_signal(signal.SIGSTOP)
    wait_until(lambda: ends(bench)["worker_lost"] == 1, SOON_S)
    frozen.send_signal(signal.SIGCONT)
    held.let_go()
    said = finish(loop)
    assert ended_well(said), said
    assert bench.trials[number].attempts[1].node != node
    check(bench, 2, "a node of a Ray cluster frozen, then thawed", times)
    assert repeated(bench) == []


@SQLITE
@pytest.mark.times(1, 10)
def test_through_ray_client(
    ray_bench: Bench, ray_nodes: RayNodes, times: int, check: Check
) -> None:
    """A driver elsewhere, which reaches nothing but the head's port for clients."""
    bench, held = ray_bench, Held(ray_bench)
    bench.on = ray_nodes.open_client()
    bench.create(held.parameters)
    loop = bench.start(4, workers=3, asked=OFTEN)
    wait_until(lambda: is_training(bench, 3), SOON_S)
    ray_nodes.kill(ray_nodes.node_ids[0])
    wait_until(lambda: ends(bench)["worker_lost"] == 1, SOON_S)
    held.let_go()
    said = finish(loop, SOON_S)
    assert ended_well(said), said
    check(bench, 4, "a node killed under a search through Ray Client", times)
    assert repeated(bench) == []
    assert ends(bench)["worker_lost"] == 1


@SQLITE
@pytest.mark.times(1, 1)
def test_the_head_gone(ray_bench: Bench, ray_nodes: RayNodes, times: int, check: Check) -> None:
    lose_head(ray_bench, ray_nodes, check, through_client=False)


@SQLITE
@pytest.mark.times(0, 1)
def test_the_head_gone_through_ray_client(
    ray_bench: Bench, ray_nodes: RayNodes, times: int, check: Check
) -> None:
    lose_head(ray_bench, ray_nodes, check, through_client=True)


def lose_head(bench: Bench, ray_nodes: RayNodes, check: Check, *, through_client: bool) -> None:
    """The search ends with one line; the next one, without the cluster, goes on."""
    if through_client:
        bench.on = ray_nodes.open_client()
    held = Held(bench)
    bench.create(held.parameters)
    loop = bench.start(1, asked=OFTEN)
    wait_until(lambda: is_training(bench, 1), SOON_S)
    trainers = ray_nodes.trainers()
    assert trainers
    ray_nodes.stop_head()
    said = finish(loop, 60)
    assert loop.returncode == 1, said
    assert last_line(said).startswith("Error: "), said
    assert "Traceback" not in said
    assert victims.running(bench) == 0
    if not through_client:  # which reaches its actors through the head alone
        wait_until(lambda: victims.gone(trainers), 10)
    held.let_go()
    said = finish(Bench(bench.folder, bench.store).start(1, asked=OFTEN))
    assert ended_well(said), said
    check(bench, 1, "the head of a Ray cluster killed", 1)
    assert repeated(bench) == []
