"""What daemons that ended have not sent to MLflow: the next daemon sends it while nothing trains.

A study that is done is searched no more, so no search would send it.
"""

import logging
import time
from collections.abc import Callable
from contextlib import closing

from tuner.errors import StudyError, TunerError
from tuner.manage.databases import is_settled
from tuner.service.study_search import SearchSetup
from tuner.storage import Store, leases
from tuner.storage.deliveries import SearchedStudy, count_delivered, searched_by_daemons
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
        # By uuid, the latest search whose trials MLflow has all: to count them anew takes a while.
        self._sent_up_to: dict[str, float] = {}

    def deliver(self, hurry: Callable[[], bool]) -> None:
        """Send what is missing, one study after another, until `hurry` is true."""
        try:
            with closing(self._setup.store.another()) as store:
                if is_settled(store):
                    self._deliver_all(store, hurry)
        except TunerError as error:
            logger.info("looking for what MLflow lacks: %s", error)

    def _deliver_all(self, store: Store, hurry: Callable[[], bool]) -> None:
        for searched in searched_by_daemons(store):
            if hurry():
                return
            if self._is_due(searched):
                self._deliver_study(store, searched, hurry)

    def _is_due(self, searched: SearchedStudy) -> bool:
        has_all = self._sent_up_to.get(searched.uuid) == searched.searched_at
        is_early = time.monotonic() < self._not_before.get(searched.uuid, 0.0)
        return self._takes(searched.name) and not has_all and not is_early

    def _deliver_study(
        self, store: Store, searched: SearchedStudy, hurry: Callable[[], bool]
    ) -> None:
        uuid, name = searched.uuid, searched.name
        try:
            study = load_study(store, name)
        except StudyError:
            return  # deleted meanwhile
        if study.uuid != uuid or leases.holders(store, study):
            return
        missing = count_delivered(store, study)[1]
        if not missing:
            self._sent_up_to[uuid] = searched.searched_at
            return
        tracker = start_tracker(self._setup.settings, study)
        try:
            delivered = tracker.finish(_DELIVERY_S, hurry)
        finally:
            tracker.kill()
        if delivered.missing and not hurry():
            self._not_before[uuid] = time.monotonic() + _PAUSE_S
        if (sent := missing - delivered.missing) > 0:
            left = f", {delivered.missing} more are to follow" if delivered.missing else ""
            self._setup.tell(
                f"{printable(name)}: sent to MLflow what was left: {sent} trials{left}"
            )
