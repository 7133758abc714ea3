"""How often somebody may try to log in: from one address, and under one name."""

import ipaddress
import threading
import time
from collections.abc import Callable

from cachetools import TTLCache
from starlette.types import Scope

WINDOW_S = 300.0
# Tries within the window. A name gets more: else anybody could lock its user out.
_FROM_ADDRESS = 10
_UNDER_NAME = 30
_MOST_KEYS = 20_000


class LoginLimits:
    """Counts failed tries. Each counts before the password is looked at, so that many at once get
    no further."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tries: TTLCache[str, list[float]] = TTLCache(_MOST_KEYS, WINDOW_S, timer=clock)

    def try_again_after(self, address: str, name: str) -> float:
        """Count a try, and return 0, if one is allowed now; else the seconds until then."""
        with self._lock:
            keys = _keys(address, name)
            wait_s = max(self._wait(key, most) for key, most in keys)
            if wait_s <= 0:
                for key, _ in keys:
                    self._tries[key] = [*self._recent(key), self._clock()]
            return wait_s

    def forget(self, address: str, name: str) -> None:
        """After a right password: none of its earlier tries counts."""
        with self._lock:
            for key, _ in _keys(address, name):
                self._tries.pop(key, None)

    def _wait(self, key: str, most: int) -> float:
        recent = self._recent(key)
        return 0.0 if len(recent) < most else recent[-most] + WINDOW_S - self._clock()

    def _recent(self, key: str) -> list[float]:
        since = self._clock() - WINDOW_S
        return [moment for moment in self._tries.get(key, []) if moment > since]


def _keys(address: str, name: str) -> tuple[tuple[str, int], tuple[str, int]]:
    return (f"address {address}", _FROM_ADDRESS), (f"name {name[:64]}", _UNDER_NAME)


def client_address(scope: Scope) -> str:
    """Where a request comes from. Of IPv6 the network: one machine has all of its addresses."""
    address = str((scope.get("client") or ("",))[0])
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)
