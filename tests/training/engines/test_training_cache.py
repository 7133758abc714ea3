"""Which programs a worker keeps."""

import pytest

from tuner.study.messages import KEPT_PROGRAMS
from tuner.training.engines.cache import LRUCache


def asked(kept: LRUCache[list[int]], *sizes: int) -> list[int]:
    for size in sizes:
        kept.get(size, lambda size=size: [size])  # type: ignore[misc]
    return [one for (one,) in kept]


@pytest.fixture
def kept() -> LRUCache[list[int]]:
    """Each is a list of its size in bytes; 100 of them have room. The unit 99 is needed."""
    return LRUCache(lambda one: one[0], needed=lambda one: one == [99], most_bytes=100)


def test_what_is_kept_is_found_again(kept: LRUCache[list[int]]) -> None:
    first = kept.get("a", lambda: [1])
    assert kept.get("a", lambda: [2]) is first


def test_so_many_are_kept_those_used_last(kept: LRUCache[list[int]]) -> None:
    numbers = range(1, KEPT_PROGRAMS + 1)
    assert asked(kept, *numbers, 1, 10) == [*numbers[2:], 1, 10]


def test_older_ones_go_where_they_take_too_much(kept: LRUCache[list[int]]) -> None:
    assert asked(kept, 60, 30, 40, 5) == [30, 40, 5]
    # What is used now is not counted: it is there in any case.
    assert asked(kept, 101) == [30, 40, 5, 101]
    assert asked(kept, 1) == [1]


def test_what_is_needed_stays(kept: LRUCache[list[int]]) -> None:
    assert asked(kept, 99, 50, 2) == [99, 2]
