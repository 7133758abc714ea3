"""How a daemon shares the machine's processes between studies."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tuner.service.shares import TURN_S, Demand, ProcessShares, share_out

DEMANDS = st.lists(
    st.builds(
        lambda priority, most, holds, used: (priority, most, holds, used),
        st.integers(-1, 1),
        st.integers(0, 6),
        st.integers(0, 3),
        st.floats(0, 500),
    ),
    max_size=6,
).map(lambda rows: [Demand(f"s{number}", *row) for number, row in enumerate(rows)])


def shares(processes: int, *demands: Demand) -> list[int]:
    return list(share_out(processes, demands).values())


@given(st.integers(1, 8), DEMANDS)
def test_no_process_is_idle_while_a_study_could_use_it(
    processes: int, demands: list[Demand]
) -> None:
    shared = share_out(processes, demands)
    assert all(0 <= shared[demand.uuid] <= demand.most for demand in demands)
    assert sum(shared.values()) == min(processes, sum(demand.most for demand in demands))


@given(st.integers(1, 8), DEMANDS)
def test_priorities_come_first_and_equals_get_as_much(
    processes: int, demands: list[Demand]
) -> None:
    shared = share_out(processes, demands)
    for one in demands:
        for other in demands:
            is_short = shared[one.uuid] < one.most
            if is_short and other.priority < one.priority:
                assert shared[other.uuid] == 0
            if is_short and other.priority == one.priority:
                assert shared[other.uuid] <= shared[one.uuid] + 1


def test_what_one_cannot_use_goes_to_the_next() -> None:
    assert shares(8, Demand("a", 0, 1), Demand("b", 0, 9), Demand("c", 0, 9)) == [1, 4, 3]
    assert shares(4, Demand("a", 0, 9), Demand("b", 5, 3)) == [1, 3]


def test_more_studies_than_processes_take_turns() -> None:
    waiting, working = Demand("a", 0, 9, used_s=10.0), Demand("b", 0, 9, holds=1, used_s=20.0)
    assert shares(1, waiting, working) == [0, 1]
    later = Demand("b", 0, 9, holds=1, used_s=10.0 + TURN_S + 1)
    assert shares(1, waiting, later) == [1, 0]


def test_a_machine_is_shared_fairly_over_time() -> None:
    """Five equal studies on two processes, one of which comes late."""
    machine, clock, granted = ProcessShares(2), 0.0, Counter[str]()
    for step in range(10_000):
        names = ["a", "b", "c", "d"] + (["late"] if step >= 5000 else [])
        demands = [Demand(name, 0, 9, *machine.used(name)) for name in names]
        machine.set_targets(share_out(2, demands), clock)
        for name in names:
            machine.share(name)  # some give back first
        for name in names:
            share = machine.share(name)
            machine.runs(name, share)
            granted[name] += share
        clock += 1.0
    early = [granted[name] for name in "abcd"]
    assert max(early) - min(early) <= 2 * TURN_S
    assert abs(granted["late"] - 2 * 5000 / 5) <= 2 * TURN_S


def test_a_share_grows_only_by_what_nobody_holds() -> None:
    machine = ProcessShares(4)
    machine.set_targets({"a": 4}, 0.0)
    assert machine.share("a") == 4
    machine.runs("a", 4)
    machine.set_targets({"a": 1, "b": 3}, 1.0)
    assert (machine.share("a"), machine.share("b")) == (1, 0)  # three of its trials still run
    machine.runs("a", 2)
    assert (machine.share("a"), machine.share("b")) == (1, 2)
    machine.runs("a", 1)
    assert (machine.share("a"), machine.share("b")) == (1, 3)
    machine.leave("b")
    machine.set_targets({"a": 4}, 2.0)
    assert machine.share("a") == 4


def test_studies_that_are_gone_are_forgotten() -> None:
    machine = ProcessShares(4)
    machine.set_targets({"a": 2, "b": 2}, 0.0)
    assert (machine.share("a"), machine.share("b")) == (2, 2)
    machine.forget_all_but({"b"})
    machine.set_targets({"b": 4}, 1.0)
    assert (machine.share("a"), machine.share("b")) == (0, 4)


def test_an_unknown_study_has_no_share() -> None:
    assert ProcessShares(4).share("a") == 0
