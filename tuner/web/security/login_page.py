"""The routes for logging in and out."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from tuner.web.page_rendering import page, redirect
from tuner.web.security.guards import form_checked, reader, visitor_of
from tuner.web.security.login_limits import client_address
from tuner.web.security.sessions import SESSION_S, TOKEN_NAME, Sessions, Visitor
from tuner.web.web_setup import site_of

router = APIRouter()

# A path of ours: no address elsewhere, and nothing that browsers read as one.
_OWN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20]*")


@router.get("/login")
def show_login(request: Request, next: str = "/") -> Response:
    """The form; for who needs none, the page that was asked for."""
    if visitor_of(request) is not None:
        return redirect(request, _own_path(next))
    return _form(request, next)


@router.post("/login")
def log_in(
    request: Request,
    password: Annotated[str, Form(max_length=4096)],
    name: Annotated[str, Form(max_length=256)] = "",
    next: Annotated[str, Form(max_length=4096)] = "/",
) -> Response:
    """Begin a session. Says the same whether the name or the password is wrong."""
    site = site_of(request)
    sessions = site.sessions
    if sessions.is_open:
        return redirect(request, _own_path(next))
    address, tried_name = client_address(request.scope), name or TOKEN_NAME
    if (seconds := sessions.limits.try_again_after(address, tried_name)) > 0:
        problem = f"too many tries; wait {seconds:.0f} seconds"
        return _form(request, next, problem, 429, name)
    cookie = sessions.log_in(name, password)
    if cookie is None:
        return _form(request, next, f"{_what_is_asked(sessions)} is wrong", 403, name)
    sessions.limits.forget(address, tried_name)
    response = redirect(request, _own_path(next))
    setting = site.cookies.setting(site.cookies.session, cookie, SESSION_S)
    response.headers.append("set-cookie", setting)
    return response


@router.post("/logout", dependencies=[Depends(form_checked)])
def log_out(request: Request, visitor: Annotated[Visitor, Depends(reader)]) -> Response:
    """End the session, everywhere."""
    site = site_of(request)
    site.sessions.end(visitor)
    response = redirect(request, "/login")
    removal = site.cookies.setting(site.cookies.session, "")
    response.headers.append("set-cookie", removal)
    return response


def _what_is_asked(sessions: Sessions) -> str:
    if sessions.accounts is None:
        return "the token"
    if sessions.takes_token:
        return "the name, the password or the token"
    return "the name or the password"


def _form(
    request: Request, next: str, problem: str = "", status: int = 200, name: str = ""
) -> Response:
    sessions = site_of(request).sessions
    return page(
        request,
        "login.html",
        status,
        next=_own_path(next),
        problem=problem,
        name=name,
        has_users=sessions.accounts is not None,
        takes_token=sessions.takes_token,
    )


def _own_path(path: str) -> str:
    return path if _OWN_PATH.fullmatch(path) else "/"
