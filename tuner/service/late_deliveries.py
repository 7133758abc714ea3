"""What daemons that ended have not sent to MLflow: the next daemon sends it while nothing trains.

A study that is done is searched no more, so no search would send it.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from tuner.errors import StudyError, TunerError
from tuner.manage.databases import is_settled
from tuner.service.study_search import SearchSetup
from tuner.storage import Store, leases
from tuner.storage.deliveries import count_delivered, searched_by_daemons
from tuner.storage.studies import load_study
from tuner.system.names import printable
from tuner.tracking.process import start_tracker

logger = logging.getLogger(__name__)
_DELIVERY_S = 120.0
# After a failure a study's trials are sent again no sooner than this.
_PAUSE_S = 600.0


class LateDeliveries:
    """Sends ended trials of studies that nobody searches. `takes`: whether a study of that name is
    the daemon's."""

    def __init__(self, setup: SearchSetup, takes: Callable[[str], bool]) -> None:
        self._setup, self._takes = setup, takes
        # When a study may be tried again after a failure, on the monotonic clock.
        self._not_before: dict[str, float] = {}

    def deliver(self, hurry: Callable[[], bool]) -> None:
        """Send what is missing, one study after another, until `hurry` is true."""
        try:
            with closing(self._setup.store.another()) as store:
                if is_settled(store):
                    self._deliver_all(store, hurry)
        except TunerError as error:
            logger.info("looking for what MLflow lacks: %s", error)

    def _deliver_all(self, store: Store, hurry: Callable[[], bool]) -> None:
        for uuid, name in self._due(searched_by_daemons(store)):
            if hurry():
                return
            self._deliver_study(store, uuid, name, hurry)

    def _due(self, studies: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        clock = time.monotonic()
        return [
            (uuid, name)
            for uuid, name in studies
            if self._takes(name) and clock >= self._not_before.get(uuid, clock)
        ]

    def _deliver_study(self, store: Store, uuid: str, name: str, hurry: Callable[[], bool]) -> None:
        try:
            study = load_study(store, name)
        except StudyError:
            return  # deleted meanwhile
        missing = count_delivered(store, study)[1]
        if study.uuid != uuid or not missing or leases.holders(store, study):
            return
        tracker = start_tracker(self._setup.settings, study)
        try:
            delivered = tracker.finish(_DELIVERY_S, hurry)
        finally:
            tracker.kill()
        if delivered.missing and not hurry():
            self._not_before[uuid] = time.monotonic() + _PAUSE_S
        if (sent := missing - delivered.missing) > 0:
            self._setup.tell(f"{printable(name)}: sent to MLflow what was left: {sent} trials")
