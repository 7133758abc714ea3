"""Who may see and change what: logins, sessions, roles, and the file of users."""

import json
import os
import re
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Request, Response
from web_client import ADDRESS, form_token, page_client, submit

from tuner.errors import UsageError
from tuner.web import application
from tuner.web.application import Pages
from tuner.web.page_rendering import redirect
from tuner.web.security import accounts as accounts_module
from tuner.web.security.accounts import Account, Accounts, Role
from tuner.web.security.login_limits import LoginLimits, client_address
from tuner.web.security.sessions import Sessions

TOKEN = "0123456789abcdef-token"
PASSWORD = "a good password"
SHIPPED_COST = dict(accounts_module._COST)


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "_COST", {"n": 16, "r": 8, "p": 1})


@pytest.fixture(autouse=True)
def changing_route(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A route that changes something; who has called it."""
    router = APIRouter()
    called: list[str] = []

    @router.post("/change")
    def change(request: Request) -> Response:
        called.append(request.state.visitor.name)
        return redirect(request, "/", "<b>changed</b>")

    monkeypatch.setattr(application, "ROUTERS", (*application.ROUTERS, Pages(router)))
    return called


@pytest.fixture
def users(tmp_path: Path) -> Accounts:
    made = Accounts(tmp_path / "users.json")
    made.put("ada", PASSWORD, Role.OPERATOR)
    made.put("bob", PASSWORD, Role.READER)
    return made


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/none.db"


def log_in(client: Any, name: str, password: str = PASSWORD, **fields: str) -> Any:
    data = {"name": name, "password": password} | fields
    return client.post("/login", data=data, follow_redirects=False)


def test_on_this_machine_no_login_is_asked_for(url: str, changing_route: list[str]) -> None:
    with page_client(url) as client:
        assert client.get("/").status_code == 200
        assert "Log out" not in client.get("/").text
        assert client.post("/change").status_code == 403  # without the form's token
        assert client.post("/change", data={"form_token": "x"}).status_code == 403
        assert changing_route == []
        done = submit(client, "/change")
        assert (done.status_code, done.headers["location"]) == (303, "/")
        assert changing_route == [""]
        shown = client.get("/").text
        assert "&lt;b&gt;changed&lt;/b&gt;" in shown and "<b>" not in shown
        assert "changed" not in client.get("/").text  # once


def test_who_has_not_logged_in_sees_nothing(url: str, users: Accounts) -> None:
    with page_client(url, accounts=users) as client:
        for path in ("/", "/studies/x", "/?a=b"):
            answer = client.get(path, follow_redirects=False)
            assert answer.status_code == 303 or path == "/studies/x"
            assert path == "/studies/x" or answer.headers["location"].startswith("/login?next=/")
        script = client.get("/", headers={"accept": "*/*"}, follow_redirects=False)
        assert script.status_code == 401
        assert client.post("/change").status_code == 401
        assert client.get("/static/page.css").status_code == 200
        assert client.get("/login").text.count("<input") == 3
        assert not client.cookies


def test_a_user_logs_in_and_out(url: str, users: Accounts, changing_route: list[str]) -> None:
    with page_client(url, accounts=users) as client:
        answer = log_in(client, "ada", next="/?x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/?x=1")
        setting = answer.headers["set-cookie"]
        assert all(part in setting for part in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="))
        assert "ada (operator)" in client.get("/").text
        assert submit(client, "/change").status_code == 303
        assert changing_route == ["ada"]
        cookies = dict(client.cookies)
        assert submit(client, "/logout").headers["location"] == "/login"
        assert client.get("/", follow_redirects=False).status_code == 303
        client.cookies.update(cookies)  # a copy of the cookie does not hold either
        assert client.get("/", follow_redirects=False).status_code == 303


def test_a_reader_changes_nothing(url: str, users: Accounts, changing_route: list[str]) -> None:
    with page_client(url, accounts=users) as client:
        log_in(client, "bob")
        assert client.get("/").status_code == 200
        refused = submit(client, "/change")
        assert refused.status_code == 403
        assert "readers may change nothing" in refused.text
        assert changing_route == []
        assert submit(client, "/logout").status_code == 303


def test_a_session_ends_with_its_password_and_its_user(url: str, users: Accounts) -> None:
    with page_client(url, accounts=users) as client:
        log_in(client, "ada")
        users.put("ada", "another password", Role.OPERATOR)
        assert client.get("/", follow_redirects=False).status_code == 303
        log_in(client, "ada", "another password")
        assert client.get("/", follow_redirects=False).status_code == 200
        users.put("ada", "another password", Role.READER)  # the hash has another salt
        assert client.get("/", follow_redirects=False).status_code == 303
        log_in(client, "bob")
        users.remove("bob")
        assert client.get("/", follow_redirects=False).status_code == 303
        users.remove("ada")
        assert log_in(client, "ada").status_code == 403  # without users nobody comes in


def test_wrong_logins_all_read_the_same(url: str, users: Accounts) -> None:
    with page_client(url, accounts=users, token=TOKEN) as client:
        tries = [("ada", "wrong password"), ("nobody", PASSWORD), ("", "wrong"), ("token", TOKEN)]
        texts = {
            log_in(client, *each).text.replace(f'value="{each[0]}"', "").replace(" autofocus", "")
            for each in tries
        }
        assert len(texts) == 1
        assert "the name, the password or the token is wrong" in texts.pop()
        assert not client.cookies
        assert log_in(client, "", TOKEN).status_code == 303


def test_logins_are_limited(url: str, users: Accounts) -> None:
    with page_client(url, accounts=users) as client:
        statuses = [log_in(client, "ada", f"wrong {number}").status_code for number in range(12)]
        assert statuses == [403] * 10 + [429] * 2
        assert log_in(client, "ada").status_code == 429  # the right one too
        assert "too many tries; wait" in log_in(client, "bob").text


def test_limits_are_for_each_address_and_each_name() -> None:
    now = [0.0]
    limits = LoginLimits(clock=lambda: now[0])
    assert [limits.try_again_after("a", "ada") for _ in range(10)] == [0.0] * 10
    assert limits.try_again_after("a", "bob") == 300.0
    assert limits.try_again_after("b", "ada") == 0.0
    assert [limits.try_again_after(f"c{n}", "ada") for n in range(19)] == [0.0] * 19
    assert limits.try_again_after("d", "ada") == 300.0
    now[0] = 301.0
    assert limits.try_again_after("a", "ada") == 0.0
    limits.forget("a", "ada")
    assert [limits.try_again_after("a", "ada") for _ in range(11)][-1] > 0


def test_one_machine_has_many_addresses_of_ipv6() -> None:
    def address(text: str) -> str:
        return client_address({"client": (text, 1)})

    assert address("2001:db8::1") == address("2001:db8::ffff:1") != address("2001:db8:1::1")
    assert address("::ffff:192.0.2.7") == address("192.0.2.7") == "192.0.2.7"
    assert address("testclient") == "testclient"


def test_a_script_reads_with_the_token(url: str, changing_route: list[str]) -> None:
    with page_client(url, token=TOKEN) as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        assert client.get("/").status_code == 200
        assert client.post("/change").status_code == 403
        assert changing_route == []
        codes = {client.get("/", follow_redirects=False).status_code for _ in range(12)}
        assert codes == {200}  # none of them counts as a failed try
        client.headers["authorization"] = "Bearer wrong"
        assert [client.get("/", follow_redirects=False).status_code for _ in range(12)] == [
            303
        ] * 12
        client.headers["authorization"] = f"Bearer {TOKEN}"  # too many wrong ones came from here
        assert client.get("/", follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "evil", ""],
)
def test_a_login_leads_nowhere_else(target: str, url: str) -> None:
    with page_client(url, token=TOKEN) as client:
        assert f'value="{target}"' not in client.get("/login", params={"next": target}).text
        assert log_in(client, "", TOKEN, next=target).headers["location"] == "/"
        assert (
            client.get("/login", params={"next": target}, follow_redirects=False).headers[
                "location"
            ]
            == "/"
        )


def test_a_script_may_change_nothing_in_a_tool_either() -> None:
    """What the proxy asks: a script has no form token, and the tools' pages need none."""
    script = Sessions(None, TOKEN).script(TOKEN)
    assert script is not None
    assert not script.may_change


def test_a_session_ends_after_half_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, began = Sessions(None, TOKEN), time.time()
    cookie = sessions.log_in("", TOKEN) or ""
    for hours, holds in ((11.9, True), (12.1, False)):
        monkeypatch.setattr(time, "time", lambda later_s=hours * 3600: began + later_s)
        assert (sessions.visitor(cookie) is not None) == holds


def test_a_password_costs_a_thief_memory_and_time() -> None:
    assert 128 * SHIPPED_COST["n"] * SHIPPED_COST["r"] >= 2**25


def test_sessions_of_another_server_do_not_hold(url: str) -> None:
    with page_client(url, token=TOKEN) as client:
        client.cookies.set("tuner-session-8080", Sessions(None, TOKEN).log_in("", TOKEN) or "")
        assert client.get("/", follow_redirects=False).status_code == 303


def test_a_form_of_another_session_does_not_hold(url: str, changing_route: list[str]) -> None:
    with page_client(url, token=TOKEN) as client:
        log_in(client, "", TOKEN)
        other = form_token(client)
        log_in(client, "", TOKEN)
        assert client.post("/change", data={"form_token": other}).status_code == 403
        assert changing_route == []


def test_under_tls_cookies_are_for_tls(url: str) -> None:
    with page_client(url, token=TOKEN, secure=True) as client:
        client.base_url = ADDRESS.replace("http:", "https:")
        setting = log_in(client, "", TOKEN).headers["set-cookie"]
        assert setting.startswith("__Host-tuner-session-8080=") and "Secure" in setting
        assert client.get("/").status_code == 200


def test_the_file_of_users(users: Accounts) -> None:
    assert stat.S_IMODE(users.file.stat().st_mode) == 0o600
    text = users.file.read_text()
    assert PASSWORD not in text
    hashes = re.findall(r'"hash": "(.+?)"', text)
    assert len(set(hashes)) == 2  # of one password: each user has a salt
    assert users.check("ada", PASSWORD) is not None
    assert users.check("ada", PASSWORD + "x") is None
    assert users.check("nobody", PASSWORD) is None
    assert users.put("ada", "another password", Role.READER) is False
    assert users.check("ada", PASSWORD) is None
    with pytest.raises(UsageError, match=r"has no user 'eve'; it has: ada, bob"):
        users.remove("eve")


def test_an_unknown_name_takes_as_long_as_a_wrong_password(
    users: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs: list[object] = []

    def noted(password: str, account: Account) -> str:
        costs.append(account.cost)
        return hashed(password, account)

    hashed = accounts_module._hash
    monkeypatch.setattr(accounts_module, "_hash", noted)
    for name in ("ada", "nobody"):
        assert users.check(name, "a wrong one") is None
    assert costs == [accounts_module._COST, SHIPPED_COST]


@pytest.mark.parametrize(
    ("owner", "mode", "is_private"),
    [
        (10001, 0o600, True), (10001, 0o640, False), (10001, 0o604, False),
        (0, 0o440, True), (0, 0o444, False), (0, 0o460, False), (0, 0o600, True),
        (7, 0o440, False),
    ],
)  # fmt: skip
def test_a_file_that_root_gives_to_a_service_is_private(
    owner: int, mode: int, is_private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes mounts a secret so: root's, for the group of the pod."""
    monkeypatch.setattr(os, "geteuid", lambda: 10001)
    status = os.stat_result((0o100000 | mode, 0, 0, 1, owner, 10001, 9, 0, 0, 0))
    assert accounts_module._is_private(status) is is_private


def test_users_files_that_are_refused(users: Accounts) -> None:
    for mode in (0o604, 0o640, 0o620):
        users.file.chmod(mode)
        with pytest.raises(UsageError, match=r"may be read by other users; run: chmod 600"):
            users.find("ada")
    good = json.loads(users.file.read_text())
    costly = good["users"]["ada"] | {"cost": {"n": 2**30, "r": 8, "p": 1}}
    for content in ("{", "[]", '{"users": {"ada": {}}}', json.dumps({"users": {"ada": costly}})):
        users.file.write_text(content)
        users.file.chmod(0o600)
        with pytest.raises(UsageError, match="is no users file, or is damaged"):
            Accounts(users.file).find("ada")


@pytest.mark.parametrize("name", ["", "a b", "-x", "a" * 65, "<script>", "ä", "a\n"])
def test_names_that_no_user_may_have(name: str, users: Accounts) -> None:
    with pytest.raises(UsageError, match="is no name for a user"):
        users.put(name, PASSWORD, Role.READER)
    with pytest.raises(UsageError, match="a password has from 8 to 1024 characters, got 7"):
        users.put("carl", "x" * 7, Role.READER)
