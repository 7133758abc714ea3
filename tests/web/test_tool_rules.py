"""What may be asked of MLflow and of the Optuna dashboard through the page."""

import json

import pytest

from tuner.web import tool_rules
from tuner.web.tool_rules import ToolRequest, dashboard_refusal, mlflow_refusal

API = "/ajax-api/2.0/mlflow/"


def of_mlflow(method: str, path: str, may_change: bool = False, body: bytes = b"") -> str | None:
    return mlflow_refusal(ToolRequest(method, path, may_change, body))


def of_dashboard(method: str, path: str, may_change: bool = False) -> str | None:
    return dashboard_refusal(ToolRequest(method, path, may_change))


@pytest.mark.parametrize("entry", tool_rules.MLFLOW_WRITES)
def test_a_reader_changes_nothing_in_mlflow(entry: str) -> None:
    method, path = entry.replace("*", "m-1").split()
    for prefix in (API, "/api/2.0/mlflow/", "/ajax-api/3.0/mlflow/"):
        assert "role operator" in str(of_mlflow(method, prefix + path))
        assert of_mlflow(method, prefix + path, may_change=True) is None
        assert of_mlflow(method, f"{prefix}{path}-all", may_change=True) is not None or "*" in entry
        assert of_mlflow(method, f"{prefix}{path}/more", may_change=True) is not None


@pytest.mark.parametrize("entry", tool_rules.MLFLOW_READS)
def test_searches_are_reading(entry: str) -> None:
    method, path = entry.split()
    assert of_mlflow(method, API + path) is None
    assert of_mlflow("PUT", API + path, may_change=True) is not None
    assert of_mlflow(method, f"{API}{path}/more", may_change=True) is not None
    assert of_mlflow(method, f"/x{API}{path}", may_change=True) is not None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", API + "experiments/create"),  # its folder may be any
        ("POST", API + "gateway-proxy"),
        ("GET", API + "gateway-proxy"),
        ("POST", "/gateway/e/mlflow/invocations"),
        ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
        ("GET", "/ajax-api/3.0/mlflow/assistant/sessions/1/stream"),
        ("PATCH", API + "users/update-password"),
        ("GET", API + "users/list"),
        ("POST", API + "webhooks"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/x.html"),
        ("POST", API + "an/endpoint/of/later/versions"),
        ("POST", "/"),
    ],
)
def test_an_operator_neither(method: str, path: str) -> None:
    assert of_mlflow(method, path, may_change=True) is not None


def test_graphql_reads_alone() -> None:
    def asked(content: object) -> str | None:
        return of_mlflow("POST", "/graphql", True, json.dumps(content).encode())

    assert (
        asked({"query": "query GetRun($data: X!) { mlflowGetRun(input: $data) { run } }"}) is None
    )
    assert asked({"query": "mutation M { testMutation(inputString: 1) { output } }"}) is not None
    assert asked({"query": "query A { a }\nMUTATION B { b }", "operationName": "B"}) is not None
    assert asked([{"query": "query A { a }"}]) is not None
    assert of_mlflow("POST", "/graphql", True, b"{") is not None
    assert of_mlflow("DELETE", "/graphql", True) is not None


def test_of_the_dashboard_notes_are_written() -> None:
    for path in ("/api/studies/1/note", "/api/studies/1/7/note"):
        assert "role operator" in str(of_dashboard("PUT", path))
        assert of_dashboard("PUT", path, may_change=True) is None
    for call in (
        ("DELETE", "/api/studies/1"),
        ("POST", "/api/studies"),
        ("POST", "/api/studies/1/rename"),
        ("POST", "/api/trials/1/tell"),
        ("POST", "/api/trials/1/user-attrs"),
        ("PUT", "/api/studies/1/2/3/note"),
    ):
        assert "tuner study delete" in str(of_dashboard(*call, may_change=True))
    assert of_dashboard("GET", "/api/studies") is None


@pytest.mark.parametrize(
    "path", ["/a/../b", "/..", "/a//b", "/a/./b", "/a\\b", "/a\nb", "/\x00", "/a/.."]
)
def test_paths_that_servers_read_differently(path: str) -> None:
    assert tool_rules.has_odd_path(path)


@pytest.mark.parametrize("path", ["/", "/a..b/c", "/a/b.html", "/ä/%2F", "/.hidden"])
def test_paths_that_all_read_alike(path: str) -> None:
    assert not tool_rules.has_odd_path(path)


def test_a_script_of_a_user_is_text() -> None:
    for name in ("text/javascript", "application/x-javascript; charset=utf-8", "text/ECMAScript"):
        assert tool_rules.safe_type(name).startswith("text/plain")
    assert tool_rules.safe_type("image/svg+xml") == "image/svg+xml"
