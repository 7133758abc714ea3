"""Pages and fragments from templates, and the one-line messages that a page shows once.

Every value is escaped. A template gets, besides its own values: `visitor`, `may_change` (whether
to show buttons), `csrf()` (for each POST form), `navigation` and, on a whole page, `message`. Texts
that may hold a URL, such as errors, go through the filter `masked`, and names of studies, which may
hold control characters, through `printable`.
"""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tuner.settings import tuner_version
from tuner.system.names import printable
from tuner.system.secret_masking import without_secrets
from tuner.values import format_duration, format_number
from tuner.web.security.guards import FORM_TOKEN, visitor_of
from tuner.web.web_setup import site_of

TEMPLATES = Path(__file__).parent / "templates"
_MESSAGE_S = 60


class Link(NamedTuple):
    """An entry of every page's navigation."""

    text: str
    path: str


NAVIGATION = (
    Link("Studies", "/"),
    Link("MLflow", "/mlflow/"),
    Link("Optuna dashboard", "/dashboard"),
)


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page: a template that extends base.html."""
    site = site_of(request)
    cookie = request.cookies.get(site.cookies.message)
    message = site.sessions.signed(cookie) if cookie else None
    response = fragment(request, template, status, message=message, **values)
    if cookie:
        removal = site.cookies.setting(site.cookies.message, "")
        response.headers.append("set-cookie", removal)
    return response


def fragment(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A part of a page, which its script puts in the place of the one shown."""
    visitor = visitor_of(request)
    shared = {
        "visitor": visitor,
        "may_change": visitor is not None and visitor.may_change,
        "csrf": lambda: _form_token(request),
        "navigation": NAVIGATION,
        "path": request.url.path,
        "version": tuner_version(),
    }
    text = environment().get_template(template).render(shared | values)
    return HTMLResponse(text, status)


def redirect(
    request: Request, path: str, message: str = "", is_error: bool = False
) -> RedirectResponse:
    """After a POST: show the page of this path, with a line about what was done, or why not."""
    response = RedirectResponse(path, 303)
    if message:
        site = site_of(request)
        signed = site.sessions.sign([without_secrets(message)[:1000], is_error])
        setting = site.cookies.setting(site.cookies.message, signed, _MESSAGE_S)
        response.headers.append("set-cookie", setting)
    return response


def _form_token(request: Request) -> Markup:
    visitor = visitor_of(request)
    token = site_of(request).sessions.form_token(visitor) if visitor else ""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FORM_TOKEN, token)


@cache
def environment() -> Environment:
    """The templates. A name that a template does not get is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": format_number,
        "duration": format_duration,
        "moment": moment,
        "masked": without_secrets,
        "printable": printable,
    }
    return made


def moment(value: datetime | float | None) -> Markup | str:
    """A time as a <time> element: UTC, which the page's script puts into the reader's time zone;
    a dash for None. Seconds since 1970 are taken too."""
    if value is None:
        return "–"
    at = value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
    at = at.astimezone(UTC)
    text = Markup('<time datetime="{}">{} UTC</time>')
    return text.format(at.isoformat(timespec="seconds"), at.strftime("%Y-%m-%d %H:%M"))
