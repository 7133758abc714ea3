"""Which programs a worker keeps."""

from dataclasses import dataclass

import pytest

from tuner.study.messages import KEPT_PROGRAMS
from tuner.training.engines.cache import PROGRAMS_A_TRIAL, ProgramCache

pytestmark = pytest.mark.tensorflow  # by what tuner.networks imports


@dataclass
class Sized:
    nbytes: int


@pytest.fixture
def cache() -> ProgramCache:
    return ProgramCache(most_bytes=100, most_programs=4)


def ask(cache: ProgramCache, *sizes: int) -> list[int]:
    """Ask for programs named by their size; those that are kept then."""
    for size in sizes:
        assert cache.get_or_make(size, lambda size=size: Sized(size)).nbytes == size  # type: ignore[misc]
    return sorted(cache.keys(), key=str)  # type: ignore[return-value]


def test_a_kept_program_is_given_again(cache: ProgramCache) -> None:
    first = cache.get_or_make("a", lambda: Sized(1))
    assert cache.get_or_make("a", lambda: Sized(2)) is first


def test_the_programs_used_last_are_kept(cache: ProgramCache) -> None:
    assert ask(cache, 1, 2, 3, 4, 1, 5) == [1, 3, 4, 5]


def test_as_many_are_kept_as_the_loop_counts_on() -> None:
    most = KEPT_PROGRAMS * PROGRAMS_A_TRIAL
    sizes = range(1, most + 3)
    assert ask(ProgramCache(), *sizes) == sorted(sizes[2:], key=str)


def test_older_ones_go_if_they_take_too_much(cache: ProgramCache) -> None:
    assert ask(cache, 60, 30, 40, 5) == [30, 40, 5]


def test_a_program_above_the_budget_stays_alone_until_the_next(cache: ProgramCache) -> None:
    assert ask(cache, 1, 101) == [101]
    assert ask(cache, 2) == [2]


def test_what_has_grown_since_it_was_asked_for_is_measured_again(cache: ProgramCache) -> None:
    ask(cache, 20)
    graph = cache.get_or_make("graph", lambda: Sized(0))
    ask(cache, 30)
    graph.nbytes = 60
    ask(cache, 5)
    assert set(cache.keys()) == {"graph", 30, 5}


def test_room_is_made_before_the_next_program(cache: ProgramCache) -> None:
    ask(cache, 1, 2, 3, 4)
    kept_meanwhile = []

    def make() -> Sized:
        kept_meanwhile.extend(cache.keys())
        return Sized(5)

    cache.get_or_make(5, make)
    assert kept_meanwhile == [2, 3, 4]
