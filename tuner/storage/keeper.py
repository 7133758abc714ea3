"""Renewing a loop's lease while the loop itself is busy: from a thread, with its own connection."""

import contextlib
import threading
import time
from types import TracebackType

from tuner.errors import TunerError
from tuner.storage import leases
from tuner.storage.leases import Lease
from tuner.storage.store import Store

_LONGEST_SILENCE_S = 1800.0
_JOIN_S = 5.0


class LeaseKeeper:
    """Renews a lease four times while it lasts, as long as it is entered: a sampler may take longer
    for one trial than a lease lasts. A loop that has given no sign of life for half an hour hangs,
    and loses its lease. A renewal that fails is not repeated: the loop's own say what is wrong."""

    def __init__(self, store: Store, lease: Lease, silence_s: float = _LONGEST_SILENCE_S) -> None:
        self._store, self._lease, self._silence_s = store, lease, silence_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._heard_at = time.monotonic()

    def __enter__(self) -> "LeaseKeeper":
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._thread.join(_JOIN_S)  # it may be about to return its connection

    def hear(self) -> None:
        """The loop lives."""
        self._heard_at = time.monotonic()

    def stop(self) -> None:
        """Nothing is renewed any more once this returns."""
        self._stopped.set()

    def _renew(self) -> None:
        while not self._stopped.wait(self._lease.lasts_s / 4):
            if time.monotonic() - self._heard_at <= self._silence_s:
                with contextlib.suppress(TunerError):
                    leases.renew_unless(self._store, self._lease, self._stopped.is_set)
