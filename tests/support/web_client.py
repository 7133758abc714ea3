"""The page of `tuner ui` for a test, without a server: requests as a browser sends them."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from tuner.settings import load_settings
from tuner.storage import Store
from tuner.web.application import make_application
from tuner.web.web_setup import WebSetup

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about a later version of its HTTP client
    from starlette.testclient import TestClient

ADDRESS = "http://127.0.0.1:8080"
_AS_A_PAGE = {"accept": "text/html"}


@contextlib.contextmanager
def page_client(storage: Store | str, **setup: Any) -> Iterator[TestClient]:
    """A browser at the page of a database. `setup`: further fields of WebSetup."""
    url = storage if isinstance(storage, str) else storage.url.render_as_string(False)
    settings = load_settings(url, setup.pop("tracking_uri", None))
    app = make_application(WebSetup(settings, **setup))
    with TestClient(app, base_url=ADDRESS, headers=_AS_A_PAGE) as client:
        yield client


def form_token(client: TestClient) -> str:
    """What each form of this browser's session carries."""
    site = client.app.state.site  # type: ignore[attr-defined]
    if site.cookies.session not in client.cookies:
        client.get("/")
    visitor = site.sessions.visitor(client.cookies[site.cookies.session])
    assert visitor is not None, "nobody has logged in"
    return str(site.sessions.form_token(visitor))


def submit(client: TestClient, path: str, **fields: Any) -> Any:
    """The answer to a form that is sent to `path`; a redirect is not followed."""
    data = {"form_token": form_token(client)} | fields
    return client.post(path, data=data, follow_redirects=False)
