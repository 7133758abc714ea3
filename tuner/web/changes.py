"""`GET /changes`: tells open pages that something has changed, as server-sent events.

One task asks the database once a second, however many pages listen, and none does while nobody
does. An event carries the marks alone (storage/change_marks.py): pages then fetch what they show.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass, field

from fastapi import APIRouter, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from tuner.errors import TunerError
from tuner.storage.change_marks import ChangeMark, read_mark
from tuner.storage.studies import StudyRow
from tuner.web.web_setup import Site, opened_store, opened_study, site_of

_POLL_S = 1.0
# A comment that often keeps proxies from closing a silent stream.
_SILENCE_S = 15.0
# A page then connects anew: who was logged out meanwhile is told to log in.
_LONGEST_STREAM_S = 600.0
_NO_ANSWER = {"problem": "The database does not answer. What is shown may be old."}

router = APIRouter()
log = logging.getLogger(__name__)

Key = str
Event = dict[str, str]


@dataclass
class _Topic:
    """What pages listen to: a study's changes, or those of all. `event`: the latest one."""

    read: Callable[[], ChangeMark]
    listeners: int = 0
    event: Event | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, event: Event) -> None:
        if event != self.event:
            self.event = event
            self.changed.set()
            self.changed = asyncio.Event()


class ChangeFeed:
    """The topics that somebody listens to, and the task that asks for their marks."""

    def __init__(self, poll_s: float = _POLL_S) -> None:
        self._poll_s = poll_s
        self._topics: dict[Key, _Topic] = {}
        self._task: asyncio.Task[None] | None = None

    async def listen(
        self, key: Key, read: Callable[[], ChangeMark]
    ) -> AsyncGenerator[Event | None, None]:
        """The topic's event as it is now, then each new one; None after a silence."""
        topic = self._topics.setdefault(key, _Topic(read))
        topic.listeners += 1
        try:
            self._ensure_task()
            shown: Event | None = None
            while True:
                waiter = topic.changed
                if topic.event is not None and topic.event != shown:
                    shown = topic.event
                    yield shown
                    continue
                try:
                    await asyncio.wait_for(waiter.wait(), _SILENCE_S)
                except TimeoutError:
                    yield None
        finally:
            topic.listeners -= 1
            if not topic.listeners:
                self._topics.pop(key, None)

    def _ensure_task(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._poll())

    async def _poll(self) -> None:
        while self._topics:
            for topic in list(self._topics.values()):
                topic.tell(await run_in_threadpool(_event, topic.read))
            await asyncio.sleep(self._poll_s)


def _event(read: Callable[[], ChangeMark]) -> Event:
    try:
        mark = asdict(read())
    except TunerError:
        log.debug("reading what has changed failed", exc_info=True)
        return _NO_ANSWER
    except Exception:  # the task must go on: it serves all pages
        log.exception("reading what has changed failed")
        return _NO_ANSWER
    return {name: mark[name] for name in ("trials", "reports")}


def feed_of(app: FastAPI) -> ChangeFeed:
    """The application's feed."""
    if not hasattr(app.state, "change_feed"):
        app.state.change_feed = ChangeFeed()
    feed: ChangeFeed = app.state.change_feed
    return feed


@router.get("/changes")
async def stream_changes(request: Request, study: str = "") -> StreamingResponse:
    """An event once the study of this uuid, or any study, has changed."""
    row: StudyRow | None = None
    if study:
        _, row = await run_in_threadpool(opened_study, study, request)
    else:
        await run_in_threadpool(opened_store, request)
    site = site_of(request)
    events = feed_of(request.app).listen(study, lambda: _mark(site, row))
    headers = {"x-accel-buffering": "no"}
    return StreamingResponse(_texts(events), media_type="text/event-stream", headers=headers)


def _mark(site: Site, study: StudyRow | None) -> ChangeMark:
    store = site.store()
    return ChangeMark("", "") if store is None else read_mark(store, study)


async def _texts(events: AsyncGenerator[Event | None, None]) -> AsyncGenerator[str, None]:
    """The events as the text of a stream, which ends after a while."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + _LONGEST_STREAM_S
    yield "retry: 2000\n\n"
    async with aclosing(events):
        async for event in events:
            yield ": still here\n\n" if event is None else f"data: {json.dumps(event)}\n\n"
            if loop.time() > ends_at:
                return
