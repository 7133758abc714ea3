"""What the page lets through to MLflow and to the Optuna dashboard, and what of their answers it
lets a browser do.

Reading is allowed, by GET and HEAD, and by those POSTs that only read. An operator may also make
the changes listed here: what MLflow's pages offer for runs, experiments and models, and notes in
the dashboard. Everything else is refused, also what later versions of these programs add: MLflow's
assistant runs commands, its gateway and webhooks send requests, and a new experiment may lie in any
folder; a study that the dashboard deletes or renames leaves its slots, networks and runs behind.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tuner.system.names import command

READING = frozenset({"GET", "HEAD"})
_MLFLOW_API = re.compile(r"/(?:ajax-)?api/\d+\.\d+/mlflow/(.*)")
_MUTATION = re.compile(r"\bmutation\b", re.IGNORECASE)
_ELSEWHERE = "may not be done through this page; use MLflow's own client"
_BY_COMMANDS = (
    "studies are created, renamed and deleted by tuner's commands, which keep their networks and "
    "MLflow's runs in step: "
)

# POST, below /ajax-api/2.0/mlflow/: they are searches.
MLFLOW_READS = (
    "POST experiments/search",
    "POST experiments/search-datasets",
    "POST runs/search",
    "POST logged-models/search",
    "POST registered-models/get-latest-versions",
    "POST traces/search",
    "POST traces/batchGetInfos",
    "POST traces/metrics",
    "POST traces/calculate-filter-correlation",
    "POST datasets/search",
    "POST issues/search",
)
# What MLflow's pages change. * is one part of a path.
MLFLOW_WRITES = (
    "POST experiments/update",
    "POST experiments/delete",
    "POST experiments/restore",
    "POST experiments/set-experiment-tag",
    "POST experiments/delete-experiment-tag",
    "POST runs/update",
    "POST runs/delete",
    "POST runs/restore",
    "POST runs/set-tag",
    "POST runs/delete-tag",
    "PATCH logged-models/*/tags",
    "DELETE logged-models/*/tags/*",
    "DELETE logged-models/*",
    "POST registered-models/create",
    "POST registered-models/rename",
    "PATCH registered-models/update",
    "DELETE registered-models/delete",
    "POST registered-models/set-tag",
    "DELETE registered-models/delete-tag",
    "POST registered-models/alias",
    "DELETE registered-models/alias",
    "POST model-versions/create",
    "PATCH model-versions/update",
    "DELETE model-versions/delete",
    "POST model-versions/transition-stage",
    "POST model-versions/set-tag",
    "DELETE model-versions/delete-tag",
)
# Not even read: the accounts, the assistant and the outgoing requests of MLflow's server.
_MLFLOW_CLOSED = re.compile(r"(assistant|users|roles|webhooks|gateway-proxy)(/|$)")
# Of those, what each page of MLflow asks for: there is none, and browsers show no errors.
MLFLOW_NONE: dict[str, dict[str, Any]] = {
    "GET users/current": {},
    "GET assistant/config": {"providers": {}, "projects": {}, "remote_access_allowed": False},
    "GET assistant/providers": {"providers": []},
    "GET gateway-proxy": {"endpoints": []},
}
DASHBOARD_WRITES = ("PUT /api/studies/*/note", "PUT /api/studies/*/*/note")


def _pattern(entries: Iterable[str]) -> re.Pattern[str]:
    written = (re.escape(entry).replace(r"\*", "[^/]+") for entry in entries)
    return re.compile("|".join(written))


_MLFLOW_READS = _pattern(MLFLOW_READS)
_MLFLOW_WRITES = _pattern(MLFLOW_WRITES)
_DASHBOARD_WRITES = _pattern(DASHBOARD_WRITES)


@dataclass(frozen=True)
class ToolRequest:
    """A request for a tool. `path`: decoded, below the tool's root. `body`: of GraphQL alone."""

    method: str
    path: str
    may_change: bool
    body: bytes = b""


def has_odd_path(path: str) -> bool:
    """Whether servers may read the path in different ways: no rule would hold for all of them."""
    return (
        "\\" in path
        or "//" in path
        or any(part in (".", "..") for part in path.split("/"))
        or any(ord(character) < 0x20 or character == "\x7f" for character in path)
    )


def is_graphql(path: str) -> bool:
    return path == "/graphql"


def _below_api(path: str) -> str:
    match = _MLFLOW_API.fullmatch(path)
    return match[1] if match else ""


def answer_of_none(method: str, path: str) -> dict[str, Any] | None:
    """What is answered in place of MLflow: that there is none of what its page asks for."""
    return MLFLOW_NONE.get(f"{method} {_below_api(path)}")


def mlflow_refusal(request: ToolRequest) -> str | None:
    """Why MLflow is not asked; None if it may be."""
    below = _below_api(request.path)
    if _MLFLOW_CLOSED.match(below) or request.path.startswith("/gateway/"):
        return f"this part of MLflow {_ELSEWHERE}"
    call = f"{request.method} {below}"
    if request.method in READING or _MLFLOW_READS.fullmatch(call):
        return None
    if is_graphql(request.path) and request.method == "POST":
        return None if _only_reads(request.body) else f"this change {_ELSEWHERE}"
    if not _MLFLOW_WRITES.fullmatch(call):
        return f"this change {_ELSEWHERE}"
    return None if request.may_change else _readers_only("MLflow")


def _only_reads(body: bytes) -> bool:
    """Whether a GraphQL request holds no mutation."""
    try:
        query = json.loads(body)["query"]
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(query, str) and not _MUTATION.search(query)


def dashboard_refusal(request: ToolRequest) -> str | None:
    """Why the Optuna dashboard is not asked; None if it may be."""
    if request.method in READING:
        return None
    if not _DASHBOARD_WRITES.fullmatch(f"{request.method} {request.path}"):
        return _BY_COMMANDS + command("study", "delete", "NAME")
    return None if request.may_change else _readers_only("the dashboard")


def _readers_only(tool: str) -> str:
    return f"readers may change nothing in {tool}; ask for the role operator"


# A page of a tool: its scripts are its own. Its styles and plots need what ours do without.
APP_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
# All else a tool serves may be a user's file. Opened as a page it is of no site and runs nothing.
FILE_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_SCRIPT = re.compile(r"(?i)\s*(text|application)/(x-)?(java|ecma|live|j)script")


def safe_type(content_type: str) -> str:
    """The content type of a user's file: scripts are text, so that no page can load them."""
    return "text/plain; charset=utf-8" if _SCRIPT.match(content_type) else content_type


def is_mlflow_app(path: str) -> bool:
    return path == "/" or path.startswith("/static-files/")


def is_dashboard_app(path: str) -> bool:
    return path == "/dashboard" or path.startswith(("/dashboard/", "/static/"))
