"""Every route of the page is closed, whoever wrote it: by login, role and the form's token."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from web_client import form_token, page_client

from tuner.web.application import ROUTERS
from tuner.web.security import accounts as accounts_module
from tuner.web.security.accounts import Accounts, Role
from tuner.web.security.guards import Guard

PASSWORD = "a good password"
# What whoever can reach the server may see, and do.
OPEN = {"GET /login", "POST /login", "GET /health", "HEAD /health", "GET /alive", "HEAD /alive"}
READING = {"GET", "HEAD"}


class Route(NamedTuple):
    guard: Guard
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes() -> Iterator[Route]:
    for pages in ROUTERS:
        for route in pages.router.routes:
            filled = re.sub(r"\{uuid\}", "0" * 32, getattr(route, "path", ""))
            filled = re.sub(r"\{\w+(:path)?\}", "1", filled)
            for method in sorted(getattr(route, "methods", None) or ()):
                yield Route(pages.guard, method, filled)


ROUTES = list(routes())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("closed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts_module, "_COST", {"n": 16, "r": 8, "p": 1})
        users = Accounts(folder / "users.json")
        users.put("ada", PASSWORD, Role.OPERATOR)
        users.put("bob", PASSWORD, Role.READER)
        with page_client(f"sqlite:///{folder}/none.db", accounts=users) as made:
            made.headers["accept"] = "*/*"
            yield made


def as_user(client: Any, name: str) -> dict[str, str]:
    """Logs in; the form's token of the session."""
    client.cookies.clear()
    client.post("/login", data={"name": name, "password": PASSWORD}, follow_redirects=False)
    return {"form_token": form_token(client)}


def status(client: Any, route: Route, data: dict[str, str] | None = None) -> int:
    answer = client.request(route.method, route.path, data=data, follow_redirects=False)
    return int(answer.status_code)


def test_what_is_open_to_everybody() -> None:
    assert len(ROUTES) > 30
    assert {str(route) for route in ROUTES if route.guard is Guard.PUBLIC} == OPEN | {
        "POST /logout"  # which asks for the session itself
    }


def test_without_a_login_nothing_answers(client: Any) -> None:
    client.cookies.clear()
    for route in ROUTES:
        if str(route) not in OPEN:
            assert status(client, route) == 401, route


def test_a_reader_changes_nothing_of_ours(client: Any) -> None:
    token = as_user(client, "bob")
    changing = [route for route in ROUTES if route.guard is Guard.OURS]
    changing = [route for route in changing if route.method not in READING]
    assert len(changing) >= 4
    for route in changing:
        assert status(client, route, token) == 403, route


def test_an_operator_needs_the_token_of_the_form(client: Any) -> None:
    as_user(client, "ada")
    for route in ROUTES:
        if route.guard is Guard.OURS and route.method not in READING:
            for data in (None, {"form_token": ""}, {"form_token": "0" * 64}):
                assert status(client, route, data) == 403, route
