"""The page as an ASGI application.

A new group of pages is a module with a `router`, and one line in `ROUTERS`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, FastAPI
from starlette.staticfiles import StaticFiles

from tuner.web import (
    actions,
    changes,
    enqueue_page,
    figures,
    page_health,
    promotions,
    proxy,
    start_page,
    study_page,
    tool_links,
    trial_page,
    trial_table,
)
from tuner.web.error_pages import handle_errors
from tuner.web.security import login_page
from tuner.web.security.guards import Guard
from tuner.web.security.request_checks import CheckRequests, HostRule
from tuner.web.security.sessions import SessionMiddleware
from tuner.web.web_setup import Site, WebSetup

STATIC = Path(__file__).parent / "static"


class Pages(NamedTuple):
    """A module's routes, and who may call them. A router's `lifespan` runs with the server: what it
    starts, it ends."""

    router: APIRouter
    guard: Guard = Guard.OURS


ROUTERS = (
    Pages(login_page.router, Guard.PUBLIC),
    Pages(page_health.router, Guard.PUBLIC),
    Pages(page_health.closed_router),
    Pages(start_page.router),
    Pages(study_page.router),
    Pages(figures.router),
    Pages(changes.router),
    Pages(trial_table.router),
    Pages(trial_page.router),
    Pages(actions.router),
    Pages(enqueue_page.router),
    Pages(promotions.router),
    Pages(tool_links.router),
    Pages(proxy.router, Guard.LOGIN),
)


class _StaticFiles(StaticFiles):
    """Our files. A browser asks each time whether they have changed: an upgrade shows at once."""

    def file_response(self, *arguments: object, **options: object):  # type: ignore[no-untyped-def]
        response = super().file_response(*arguments, **options)  # type: ignore[arg-type]
        response.headers["cache-control"] = "no-cache"
        return response


def make_application(setup: WebSetup) -> FastAPI:
    """The application that serves the page. It opens the database with its first request, and
    closes it when its lifespan ends."""
    app = FastAPI(title="tuner", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_running)
    app.state.site = site = Site(setup)
    for router, guard in ROUTERS:
        app.include_router(router, dependencies=guard.dependencies)
    app.mount("/static", _StaticFiles(directory=STATIC))
    handle_errors(app)
    # The last one added sees a request first.
    app.add_middleware(SessionMiddleware, sessions=site.sessions, cookie=site.cookies)
    hosts = HostRule(setup.host, setup.port, setup.scheme, setup.names)
    app.add_middleware(CheckRequests, hosts=hosts, answered=site.metrics.answered)
    return app


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    try:
        yield
    finally:
        app.state.site.close()
