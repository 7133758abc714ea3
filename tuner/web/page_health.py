"""For programs that watch the page: whether it can show anything, and its figures."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from tuner.errors import TunerError
from tuner.storage.store import is_reachable
from tuner.web.web_setup import site_of

router = APIRouter()
closed_router = APIRouter()


@router.api_route("/health", methods=["GET", "HEAD"])
def show_health(request: Request) -> Response:
    """200 while the database answers, and before there is one; else 503. Needs no login, and says
    no more than that."""
    try:
        store = site_of(request).store()
        answers = store is None or is_reachable(store)
    except TunerError:
        answers = False
    return JSONResponse({"database": "ok" if answers else "unreachable"}, 200 if answers else 503)


@router.api_route("/alive", methods=["GET", "HEAD"])
def show_alive() -> Response:
    """200 while the server answers at all: for what restarts it, which would not help a database
    that is away. Needs no login."""
    return JSONResponse({"alive": True})


@closed_router.get("/metrics")
def show_metrics(request: Request) -> Response:
    """What Prometheus reads, with the token in its header."""
    text, content_type = site_of(request).metrics.page()
    return Response(text, media_type=content_type)
