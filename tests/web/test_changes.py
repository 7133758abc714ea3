"""Server-sent events, and what is kept for all who look."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from web_client import page_client

from tuner.errors import StorageError
from tuner.storage import Store
from tuner.storage.change_marks import ChangeMark
from tuner.web import changes
from tuner.web.changes import ChangeFeed
from tuner.web.kept_results import KeptResults

POLL_S = 0.005


class Database:
    """Marks that a test changes, and how often they were read."""

    def __init__(self) -> None:
        self.reads = 0
        self.number = 0
        self.is_down = False
        self.error: Exception = StorageError("down")

    def read(self) -> ChangeMark:
        self.reads += 1
        if self.is_down:
            raise self.error
        return ChangeMark(str(self.number), str(self.number))


def event(number: int) -> dict[str, str]:
    return {"trials": str(number), "reports": str(number)}


def test_many_listeners_cost_one_reading() -> None:
    async def run() -> None:
        database, feed = Database(), ChangeFeed(POLL_S)
        listeners = [feed.listen("study", database.read) for _ in range(20)]
        assert [await anext(each) for each in listeners] == [event(0)] * 20
        # Others would have read 20 times by now.
        assert database.reads < 20
        database.number = 1
        assert [await anext(each) for each in listeners] == [event(1)] * 20
        for each in listeners:
            await each.aclose()
        assert feed._task is not None
        await feed._task  # Nobody listens: it ends.
        read_before = database.reads
        async with aclosing(feed.listen("study", database.read)) as again:
            assert await anext(again) == event(1)
        assert database.reads > read_before

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize("error", [StorageError("down"), ZeroDivisionError("unforeseen")])
def test_a_database_that_is_down_is_told_and_waited_for(error: Exception) -> None:
    async def run() -> None:
        database, feed = Database(), ChangeFeed(POLL_S)
        database.error = error
        async with aclosing(feed.listen("study", database.read)) as listener:
            assert await anext(listener) == event(0)
            database.is_down = True
            told = await anext(listener)
            assert told is not None
            assert "does not answer" in told["problem"]
            database.is_down = False
            assert await anext(listener) == event(0)

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_silent_stream_is_kept_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_SILENCE_S", 0.01)
    database, feed = Database(), ChangeFeed(POLL_S)
    awaited = {"retry: 2000\n\n", 'data: {"trials": "0", "reports": "0"}\n\n', ": still here\n\n"}

    async def run() -> None:
        async with aclosing(changes._texts(feed.listen("study", database.read))) as texts:
            while awaited:
                awaited.discard(await anext(texts))

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_stream_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_LONGEST_STREAM_S", -1.0)
    database, feed = Database(), ChangeFeed(POLL_S)

    async def run() -> list[str]:
        return [text async for text in changes._texts(feed.listen("study", database.read))]

    assert len(asyncio.run(asyncio.wait_for(run(), 30))) == 2


def test_the_stream_of_a_study(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ends_at_once(events: AsyncGenerator[Any, None]) -> AsyncGenerator[str, None]:
        async with aclosing(events):
            yield f"data: {sorted(await anext(events))}\n\n"

    monkeypatch.setattr(changes, "_texts", ends_at_once)
    with page_client(store) as client:
        assert client.get("/changes", params={"study": "0" * 32}).status_code == 404
        answer = client.get("/changes")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.text == "data: ['reports', 'trials']\n\n"


def test_a_result_is_kept_until_its_mark_changes_and_longer_while_trials_train() -> None:
    clock = [0.0]
    kept = KeptResults(lambda: clock[0])
    computed = []

    def compute() -> int:
        clock[0] += 0.5
        computed.append(clock[0])
        return len(computed)

    assert kept.get("a", "m1", True, compute) == ("m1", 1)
    assert kept.get("a", "m1", False, compute) == ("m1", 1)
    # It took 0.5 s, and serves for 200 s while trials train.
    clock[0] += 199.0
    assert kept.get("a", "m2", True, compute) == ("m1", 1)
    clock[0] += 2.0
    assert kept.get("a", "m2", True, compute) == ("m2", 2)
    # Nobody trains: it costs nobody anything.
    assert kept.get("a", "m3", False, compute) == ("m3", 3)
    assert kept.get("b", "m1", True, compute) == ("m1", 4)


def test_a_failure_is_not_kept() -> None:
    kept = KeptResults()

    def fail() -> int:
        raise StorageError("down")

    with pytest.raises(StorageError):
        kept.get("a", "m", True, fail)
    assert kept.get("a", "m", True, lambda: 1) == ("m", 1)
