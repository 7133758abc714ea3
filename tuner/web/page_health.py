"""`GET /health`: whether the page can show anything, for programs that watch it."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from tuner.errors import TunerError
from tuner.storage.store import is_reachable
from tuner.web.web_setup import site_of

router = APIRouter()


@router.get("/health")
def show_health(request: Request) -> Response:
    """200 while the database answers, and before there is one; else 503. Needs no login, and says
    no more than that."""
    try:
        store = site_of(request).store()
        answers = store is None or is_reachable(store)
    except TunerError:
        answers = False
    return JSONResponse({"database": "ok" if answers else "unreachable"}, 200 if answers else 503)
