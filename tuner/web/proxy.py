"""MLflow's pages and the Optuna dashboard under the page's own address and behind its login.

Requests and answers pass in both directions as they come, in pieces. Only the headers listed here
pass: no cookie and no login of the page reaches a tool, no cookie or login question of a tool
reaches a browser.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import anyio
import httpx
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.responses import StreamingResponse

from tuner.system.secret_masking import without_secrets
from tuner.web import tool_rules
from tuner.web.error_pages import wants_page
from tuner.web.page_rendering import page
from tuner.web.security.guards import visitor_of
from tuner.web.tool_rules import ToolRequest
from tuner.web.tool_servers import NotReady, ToolServer, ToolServers

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
# How long a request that a page of a tool sends waits for a server that starts.
_PATIENCE_S = 60.0
_MOST_QUERY_BYTES = 2**20
_TO_TOOL = (
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "x-mlflow-workspace",
    "x-requested-with",
)
_OF_BODY = ("content-encoding", "content-length", "content-type")
_TO_BROWSER = (
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "etag",
    "expires",
    "last-modified",
    "retry-after",
    "vary",
    "x-content-type-options",
    "x-frame-options",
)


@dataclass(frozen=True)
class Tool:
    """A program whose pages are shown under `prefix`. `name`: in a sentence. `refusal`, `is_app`:
    of tool_rules.py."""

    name: str
    title: str
    prefix: str
    refusal: Callable[[ToolRequest], str | None]
    is_app: Callable[[str], bool]


MLFLOW = Tool("MLflow", "MLflow", "/mlflow", tool_rules.mlflow_refusal, tool_rules.is_mlflow_app)
DASHBOARD = Tool(
    "the Optuna dashboard",
    "Optuna dashboard",
    "",
    tool_rules.dashboard_refusal,
    tool_rules.is_dashboard_app,
)


@asynccontextmanager
async def _tool_servers(app: FastAPI) -> AsyncIterator[None]:
    app.state.tools = tools = ToolServers(app.state.site.setup.settings)
    try:
        yield
    finally:
        await tools.close()


router = APIRouter(lifespan=_tool_servers)


def mlflow_server(request: Request) -> ToolServer:
    tools: ToolServers = request.app.state.tools
    return tools.mlflow


@router.get("/mlflow")
def show_mlflow(request: Request) -> Response:
    return RedirectResponse("/mlflow/", 307)


@router.api_route("/mlflow/{path:path}", methods=_METHODS)
async def ask_mlflow(request: Request) -> Response:
    path = request.scope["path"].removeprefix(MLFLOW.prefix)
    if (none := tool_rules.answer_of_none(request.method, path)) is not None:
        return JSONResponse(none)
    return await _answer(request, MLFLOW, mlflow_server(request))


@router.get("/favicon.ico")
def show_icon() -> Response:
    """The dashboard's pages name none, so browsers ask for this one."""
    return RedirectResponse("/static/icon.svg", 307)


# What the dashboard's pages ask for, from the root.
@router.api_route("/dashboard", methods=_METHODS)
@router.api_route("/dashboard/{path:path}", methods=_METHODS)
@router.api_route("/api/{path:path}", methods=_METHODS)
@router.api_route("/artifacts/{path:path}", methods=_METHODS)
@router.api_route("/csv/{path:path}", methods=_METHODS)
@router.api_route("/static/bundle.js", methods=_METHODS)
async def ask_dashboard(request: Request) -> Response:
    return await _answer(request, DASHBOARD, request.app.state.tools.dashboard)


async def _answer(request: Request, tool: Tool, server: ToolServer) -> Response:
    path = request.scope["path"].removeprefix(tool.prefix)
    is_as_checked = _raw_path(request).startswith(f"{tool.prefix}/".encode())
    if not is_as_checked or tool_rules.has_odd_path(path):
        return refused(request, tool, 400, "this address may be read in several ways")
    visitor = visitor_of(request)
    body = b""
    if tool_rules.is_graphql(path):
        body = await _small_body(request)
    may_change = visitor is not None and visitor.may_change
    refusal = tool.refusal(ToolRequest(request.method, path, may_change, body))
    if refusal is not None:
        return refused(request, tool, 403, refusal)
    client = await ready_client(request, server)
    if isinstance(client, NotReady):
        return not_ready(request, tool, client)
    try:
        reply = await client.send(_forwarded(request, tool, server, client, body), stream=True)
    except httpx.HTTPError as error:
        return not_ready(request, tool, NotReady(unreachable(tool.name, server, error)))
    return await _passed_on(request, tool, server, reply, path)


async def _small_body(request: Request) -> bytes:
    """The body of a GraphQL request; empty, which is refused, if it is too large."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_QUERY_BYTES:
            return b""
    return body


async def ready_client(request: Request, server: ToolServer) -> httpx.AsyncClient | NotReady:
    """The client of a server. A person sees at once that it starts; what a page of a tool asks for
    waits for it."""
    deadline = anyio.current_time() + (0.0 if wants_page(request) else _PATIENCE_S)
    while True:
        client = await anyio.to_thread.run_sync(server.open)
        is_starting = isinstance(client, NotReady) and client.is_starting
        if not is_starting or anyio.current_time() >= deadline:
            return client
        await anyio.sleep(0.1)


def _forwarded(
    request: Request, tool: Tool, server: ToolServer, client: httpx.AsyncClient, body: bytes
) -> httpx.Request:
    """The same request for the tool's server, with the headers that pass. The path is sent as it
    came: to decode and quote it may make it another one. What only reads has no body: MLflow would
    also take a change from one."""
    raw_path = _raw_path(request).removeprefix(tool.prefix.encode())
    query: bytes = request.scope["query_string"]
    target = server.base.raw_path.rstrip(b"/") + raw_path + (b"?" + query if query else b"")
    has_body = request.method not in tool_rules.READING and (
        "content-length" in request.headers or "transfer-encoding" in request.headers
    )
    passing = [name for name in _TO_TOOL if has_body or name not in _OF_BODY]
    headers = [
        (name, value) for name, value in request.headers.raw if name.decode("latin-1") in passing
    ]
    content = (body or request.stream()) if has_body else None
    url = server.base.copy_with(raw_path=target)
    return client.build_request(request.method, url, headers=headers, content=content)


def _raw_path(request: Request) -> bytes:
    """The path as it came, not decoded."""
    raw_path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw_path.partition(b"?")[0]


async def _passed_on(
    request: Request, tool: Tool, server: ToolServer, reply: httpx.Response, path: str
) -> Response:
    location, problem = None, _login_problem(tool, reply)
    if reply.has_redirect_location:
        location = own_location(tool, server, reply.headers["location"])
        if location is None:
            problem = f"{tool.name} sends this page to another server, which is not followed"
    if problem is not None:
        await reply.aclose()
        return refused(request, tool, 502, problem)
    response = StreamingResponse(_pieces(reply), reply.status_code)
    # In place of the content type that the response has made up.
    response.raw_headers = [
        (name.lower(), value)
        for name, value in reply.headers.raw
        if name.lower().decode("latin-1") in _TO_BROWSER
    ]
    _make_safe(response, tool.is_app(path))
    if location is not None:
        response.headers["location"] = location
    return response


def _login_problem(tool: Tool, reply: httpx.Response) -> str | None:
    """A browser that is asked for a login would send the tool's to this page."""
    if reply.status_code != HTTPStatus.UNAUTHORIZED:
        return None
    return (
        f"{tool.name} asks for a login, or refuses it: set MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD where this page is served"
    )


async def _pieces(reply: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it comes, still compressed."""
    try:
        async for piece in reply.aiter_raw():
            yield piece
    finally:
        with anyio.CancelScope(shield=True):
            await reply.aclose()


def _make_safe(response: Response, is_app: bool) -> None:
    """Only a tool's own files may run as scripts."""
    headers = response.headers
    if is_app:
        headers.setdefault("content-security-policy", tool_rules.APP_POLICY)
        headers.setdefault("cache-control", "no-cache")  # the browser asks whether it has changed
        headers.setdefault("x-frame-options", "SAMEORIGIN")
        return
    headers["content-security-policy"] = tool_rules.FILE_POLICY
    if "content-type" in headers:
        headers["content-type"] = tool_rules.safe_type(headers["content-type"])


def own_location(tool: Tool, server: ToolServer, location: str) -> str | None:
    """Where a redirect of a tool leads on this page; None for another host."""
    target = urlsplit(str(location))
    own = urlsplit(str(server.base))
    if "\\" in location:
        return None  # browsers read it as a slash
    if (target.scheme or target.netloc) and (target.scheme, target.netloc) != (
        own.scheme,
        own.netloc,
    ):
        return None
    path = target.path
    if path.startswith("/"):
        below = own.path.rstrip("/")
        if below and not path.startswith(f"{below}/"):
            return None
        # Two slashes at its beginning would name another host.
        path = tool.prefix + "/" + path.removeprefix(below).lstrip("/")
    query = f"?{target.query}" if target.query else ""
    return path + query + (f"#{target.fragment}" if target.fragment else "")


def unreachable(name: str, server: ToolServer, error: httpx.HTTPError) -> str:
    """One line about a server that does not answer."""
    if isinstance(error, httpx.TimeoutException):
        reason = "no reply in time"
    else:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return without_secrets(f"{name} at {server.base} does not answer ({reason})")


def refused(request: Request, tool: Tool, status: int, line: str) -> Response:
    """One line in place of a tool's page, or for the page's script that asked."""
    if wants_page(request):
        return page(request, "tool.html", status, title=tool.title, text=line)
    # The names under which MLflow's and the dashboard's scripts look for it.
    content = {"error_code": "PERMISSION_DENIED", "message": line, "reason": line}
    return JSONResponse(content, status)


def not_ready(request: Request, tool: Tool, problem: NotReady) -> Response:
    """The same of a server that cannot answer; a page is loaded again while it starts."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    if wants_page(request) and (problem.is_starting or problem.is_empty):
        status = HTTPStatus.ACCEPTED  # to a browser's console, any other would be an error
    response = refused(request, tool, status, problem.line)
    if problem.is_starting:
        response.headers["refresh"] = "1"
        response.headers["retry-after"] = "1"
    return response
