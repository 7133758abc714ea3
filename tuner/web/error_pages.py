"""What went wrong, as a page for people and as one line for programs."""

from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, RedirectResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from tuner.errors import StorageError, StorageUnavailable, TunerError, UsageError
from tuner.system.secret_masking import without_secrets
from tuner.web.page_rendering import page

# Of our errors that a route does not handle itself, the first that fits.
_STATUS: tuple[tuple[type[TunerError], int], ...] = (
    (StorageUnavailable, 503),
    (StorageError, 503),
    (UsageError, 409),
    (TunerError, 500),
)


def handle_errors(app: FastAPI) -> None:
    """Have the application answer errors by these pages."""
    app.add_exception_handler(AnyHTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(TunerError, _on_our_error)


def error_page(request: Request, status: int, text: str) -> Response:
    """One line on a page, or as plain text for a program."""
    line = without_secrets(text)
    if not wants_page(request):
        return PlainTextResponse(f"{status}: {line}\n", status)
    title = HTTPStatus(status).phrase
    return page(request, "error.html", status, title=title, text=line)


def wants_page(request: Request) -> bool:
    """Whether a browser is about to show the answer as a page."""
    destination = request.headers.get("sec-fetch-dest")
    if destination is not None:
        return destination == "document"
    return "text/html" in request.headers.get("accept", "")


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    if error.status_code == 401 and wants_page(request) and request.method == "GET":
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/login?next={quote(request.url.path + query)}", 303)
    own_text = isinstance(error, HTTPException) or error.detail
    text = {404: "there is no such page", 405: "this page takes no such request"}
    standard = HTTPStatus(error.status_code).phrase
    line = error.detail if own_text and error.detail != standard else None
    response = error_page(request, error.status_code, line or text.get(error.status_code, standard))
    response.headers.update(error.headers or {})
    return response


def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"][1:])
    return error_page(request, 400, f"{where}: {first['msg']}".strip(": "))


def _on_our_error(request: Request, error: Exception) -> Response:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    return error_page(request, status, str(error))
