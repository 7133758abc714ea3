"""Parts of a page that live.js fetches again when something has changed.

Without a script, the address of a part is a page of its own.
"""

from typing import Any

from fastapi import Request, Response

from tuner.web.page_rendering import fragment, page

# live.js sends it with each of its requests.
_HEADER = "x-part"


def is_part(request: Request) -> bool:
    """Whether the page's script asks, which puts the answer into the page that is shown."""
    return _HEADER in request.headers


def part(
    request: Request, template: str, heading: str, status: int = 200, **values: Any
) -> Response:
    """The fragment that a template makes; for a browser that opens its address, a whole page with
    this heading around it."""
    if is_part(request):
        return fragment(request, template, status, **values)
    return page(request, "part.html", status, part=template, heading=heading, **values)
