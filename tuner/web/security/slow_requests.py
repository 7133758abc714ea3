"""Requests that come too slowly: each would hold one of the server's places for as long as it
likes, also one without a login."""

import asyncio
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# A request has at most 1 MiB.
REQUEST_S = 60.0


class PunctualProtocol(H11Protocol):
    """Closes a connection whose request has not come as a whole in time. An answer may take any
    time."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Begin to count the time while some of a request is missing."""
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._forget()
        elif self._timer is None:
            loop = cast(Any, self).loop
            self._timer = loop.call_later(REQUEST_S, self.transport.close)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
