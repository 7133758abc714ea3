"""A trial goes to the worker that has its program."""

from tuner.optimize.affinity import Affinity


def test_a_program_is_found_again() -> None:
    affinity = Affinity(3)
    affinity.gave(1, "a")
    affinity.gave(2, "b")
    assert affinity.choose([0, 1, 2], "a") == 1
    assert affinity.choose([0, 1, 2], "b") == 2
    assert affinity.choose([0, 2], "a") == 0  # worker 1 is busy: the one with the fewest


def test_first_trials_spread_their_programs() -> None:
    affinity, given = Affinity(2), []
    for key in ("a", "b", "a", "b"):
        given.append(affinity.choose([0, 1], key))
        affinity.gave(given[-1], key)
    assert given == [0, 1, 0, 1]


def test_of_two_that_have_it_the_one_that_used_it_last() -> None:
    affinity = Affinity(2)
    for worker, key in ((0, "a"), (0, "b"), (1, "a")):
        affinity.gave(worker, key)
    assert affinity.choose([0, 1], "a") == 1
    affinity.gave(1, "c")
    affinity.gave(0, "a")
    assert affinity.choose([0, 1], "a") == 0


def test_a_fresh_worker_has_nothing() -> None:
    affinity = Affinity(2)
    affinity.gave(1, "a")
    affinity.forget(1)
    assert affinity.choose([0, 1], "a") == 0
    affinity.gave(1, "b")
    affinity.gave(1, "a", fresh=True)
    assert affinity.choose([0, 1], "b") == 0


def test_trials_without_a_shared_program_stay_in_order() -> None:
    affinity = Affinity(2)
    affinity.gave(0, "")
    assert affinity.choose([0, 1], "") == 0
