"""The start page: all studies, and who works on them."""

from fastapi import APIRouter, Request, Response

from tuner.storage.studies import how_to_create, list_studies
from tuner.web.page_rendering import page
from tuner.web.web_setup import site_of

router = APIRouter()


@router.get("/")
def show_start(request: Request) -> Response:
    """The studies, newest first."""
    store = site_of(request).store()
    studies = [] if store is None else list_studies(store)
    return page(request, "start.html", studies=studies, how_to_create=how_to_create())
