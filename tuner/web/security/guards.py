"""Who may call a route. Routes are closed unless their entry in `ROUTERS` says otherwise: reading
needs a login, and every other method the operator's role and the form's token."""

from enum import Enum
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.params import Depends as Dependency

from tuner.web.security.sessions import Sessions, Visitor

FORM_TOKEN = "form_token"
_FORM_HEADER = "x-form-token"
_READING = frozenset({"GET", "HEAD"})


def visitor_of(request: Request) -> Visitor | None:
    """Who sends the request; None for who must log in."""
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    return visitor


def reader(request: Request) -> Visitor:
    """Raises 401 for who has not logged in."""
    if (visitor := visitor_of(request)) is None:
        raise HTTPException(401, "log in to see this page")
    return visitor


def operator(visitor: Annotated[Visitor, Depends(reader)]) -> Visitor:
    """Raises 403 for a reader."""
    if not visitor.may_change:
        raise HTTPException(403, "readers may change nothing; ask for the role operator")
    return visitor


async def form_checked(request: Request, visitor: Annotated[Visitor, Depends(reader)]) -> None:
    """Raises 403 unless the form, or the header x-form-token, carries the session's token."""
    sessions: Sessions = request.app.state.site.sessions
    token = request.headers.get(_FORM_HEADER) or (await request.form()).get(FORM_TOKEN)
    if not isinstance(token, str) or not sessions.is_form_token(visitor, token):
        raise HTTPException(
            403, "this form is from an earlier session or another page: load the page again"
        )


async def guarded(request: Request, visitor: Annotated[Visitor, Depends(reader)]) -> None:
    """The guard of our own routes."""
    if request.method not in _READING:
        operator(visitor)
        await form_checked(request, visitor)


class Guard(Enum):
    """Who may call the routes of a router."""

    # Whoever has logged in may read; an operator may change, with the form's token.
    OURS = "ours"
    # Whoever has logged in; the router decides by the role what may be changed. For other
    # programs' pages, which know nothing of form tokens: the check of Origin holds for them.
    LOGIN = "login"
    # Everybody who can reach the server.
    PUBLIC = "public"

    @property
    def dependencies(self) -> list[Dependency]:
        return {
            Guard.OURS: [Depends(guarded)],
            Guard.LOGIN: [Depends(reader)],
            Guard.PUBLIC: [],
        }[self]
