"""What the page is served with, and what its routes share."""

import logging
import threading
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from tuner.errors import StudyError
from tuner.manage.databases import settle_residence
from tuner.service.prometheus_metrics import PageMetrics
from tuner.settings import Settings
from tuner.storage import Store, exists, open_store
from tuner.storage.studies import StudyRow, how_to_create, study_with_uuid
from tuner.storage.trials import TrialRow, find_trial
from tuner.web.kept_results import KeptResults
from tuner.web.security.accounts import Accounts
from tuner.web.security.sessions import CookieNames, Sessions

log = logging.getLogger(__name__)

# A reader waits no longer for a database that is gone: the page then says so.
_RETRY_S = 3.0
# No database has a larger number of a trial, and most take none.
LARGEST_NUMBER = 10**9


@dataclass(frozen=True)
class WebSetup:
    """What `tuner ui` serves, and for whom. `accounts`, `token`: who may log in; without both,
    everybody who can reach `host` is let in. `names`: further names of this server, as in a Host
    header. `secure`: whether it speaks TLS."""

    settings: Settings
    host: str = "127.0.0.1"
    port: int = 8080
    accounts: Accounts | None = None
    token: str | None = None
    names: tuple[str, ...] = ()
    secure: bool = False

    @property
    def scheme(self) -> str:
        return "https" if self.secure else "http"


class Site:
    """What all routes share: `request.app.state.site`."""

    def __init__(self, setup: WebSetup) -> None:
        self.setup = setup
        self.sessions = Sessions(setup.accounts, setup.token)
        self.cookies = CookieNames(setup.port, setup.secure)
        self.metrics = PageMetrics(self.store)
        self.results = KeptResults()
        self._store: Store | None = None
        self._lock = threading.Lock()

    def store(self) -> Store | None:
        """The database; None until there is one. Raises StorageUnavailable."""
        with self._lock:
            if self._store is None and exists(self.setup.settings.storage):
                store = open_store(self.setup.settings.storage, may_only_read=True)
                store.retry_policy.set(_RETRY_S, lambda: False)
                settle_residence(store, tell=log.warning, ask=lambda store, where: None)
                self._store = store
            return self._store

    def close(self) -> None:
        with self._lock:
            store, self._store = self._store, None
        if store is not None:
            store.close()


def site_of(request: Request) -> Site:
    """What the routes share."""
    site: Site = request.app.state.site
    return site


def opened_store(request: Request) -> Store:
    """The database of the page. Raises 404 where there is none yet."""
    store = site_of(request).store()
    if store is None:
        raise HTTPException(404, f"there is no study yet; {how_to_create()}")
    return store


def opened_study(uuid: str, request: Request) -> tuple[Store, StudyRow]:
    """The database and the study of the address; its definition may be damaged. Raises 404."""
    store = opened_store(request)
    study = study_with_uuid(store, uuid)
    if study is None:
        raise HTTPException(404, "there is no such study: it may have been deleted")
    return store, study


OpenedStudy = Annotated[tuple[Store, StudyRow], Depends(opened_study)]


def opened_trial(store: Store, study: StudyRow, number: int) -> TrialRow:
    """The trial of that number. Raises 404."""
    try:
        if 0 <= number <= LARGEST_NUMBER:
            return find_trial(store, study, number)
    except StudyError as error:
        raise HTTPException(404, str(error)) from error
    raise HTTPException(404, f"study {study.name!r} has no trial {number}")
