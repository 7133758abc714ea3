"""static/live.js and figures.js in a browser whose requests the test answers: no server runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

import tuner.web

STATIC = Path(tuner.web.__file__).parent / "static"
HOST = "http://127.0.0.1:9"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:"
)
PAGE = """<!doctype html><title>t</title><link rel="icon" href="data:,">
<script src="/static/live.js" defer></script>
<script src="/static/figures.js" defer data-plotly="/static/library.js"></script>
<div data-changes="/changes?study=s" data-trials="1" data-reports="1">
<p data-live hidden></p>
<div data-part="/list" data-links data-later></div>
<div data-part="/slow" data-follows="trials" data-later></div>
<details id="folded"><summary>Fold</summary><div data-part="/folded" data-later></div></details>
<figure data-figure="/figure" data-follows="trials"></figure>
</div>"""
# In place of Plotly, whose 5 MB take a browser a second.
LIBRARY = """window.Plotly = {
  react: async (place, data, layout, config) => {
    window.config = config;
    place.textContent = `${data[0].name} ${data[0].line.color} ${layout.height}`;
  },
  purge: () => {},
};"""


class Answers:
    """What the server would answer. `marks`: of the next event; `rows`: of the list."""

    def __init__(self) -> None:
        self.marks = {"trials": "1", "reports": "1"}
        self.rows = ["one", "two"]
        self.asked: list[str] = []
        self.figure: dict[str, Any] = {"mark": "a", "panels": [self.panel("first")]}

    @staticmethod
    def panel(name: str) -> dict[str, Any]:
        trace = {"name": name, "meta": {"colour": 0}, "line": {}}
        return {"label": f"a line: {name}", "data": [trace], "layout": {"height": 200}}

    def route(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        self.asked.append(address.path)
        if address.path.startswith("/static/") and address.path != "/static/library.js":
            route.fulfill(path=STATIC / Path(address.path).name)
            return
        makers: dict[str, Callable[[], dict[str, Any]]] = {
            "/": lambda: {"body": PAGE, "content_type": "text/html"},
            "/static/library.js": lambda: {"body": LIBRARY, "content_type": "text/javascript"},
            "/changes": self._event,
            "/list": lambda: self._fragment(self._list(address.query)),
            "/figure": lambda: {"body": json.dumps(self.figure)},
        }
        made = makers.get(address.path, lambda: self._fragment(f"<p>{address.path}</p>"))()
        headers = {"content-security-policy": POLICY, "cache-control": "no-store"}
        kind = made.pop("content_type", "application/json")
        route.fulfill(**made, headers=headers | {"content-type": kind})

    def _event(self) -> dict[str, Any]:
        text = f"retry: 50\n\ndata: {json.dumps(self.marks)}\n\n"
        return {"body": text, "content_type": "text/event-stream"}

    @staticmethod
    def _fragment(html: str) -> dict[str, Any]:
        return {"body": html, "content_type": "text/html"}

    def _list(self, query: str) -> str:
        rows = "".join(f'<li data-key="{row}">{row}</li>' for row in self.rows)
        return (
            f'<p id="query">{query}</p><ul id="rows">{rows}</ul>'
            '<form action="/list"><input id="text" name="filter" value=""></form>'
            '<details id="more"><summary>More</summary><p>text</p></details>'
            '<a id="next" href="/list?page=2">next</a>'
        )


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def page(open_page: Callable[..., Page], answers: Answers) -> Page:
    page = open_page()
    page.route("**/*", answers.route)
    page.goto(HOST)
    expect(page.locator("#rows li")).to_have_text(["one", "two"])
    return page


def test_a_change_keeps_what_the_reader_has_done(page: Page, answers: Answers) -> None:
    page.click("#more summary")
    page.fill("#text", "typed")
    page.evaluate("window.row = document.querySelector('[data-key=two]')")
    expect(page.locator("figure .panel")).to_contain_text("first #0072b2 200")
    answers.rows = ["zero", "two", "three"]
    answers.figure = {"mark": "b", "panels": [answers.panel("second")]}
    answers.marks = {"trials": "1", "reports": "2"}
    expect(page.locator("#rows li")).to_have_text(["zero", "two", "three"])
    assert page.evaluate("window.row === document.querySelector('[data-key=two]')")
    assert page.evaluate("document.activeElement.id") == "text"
    assert page.input_value("#text") == "typed"
    assert page.evaluate("document.getElementById('more').open")
    assert page.evaluate("[config.showSendToCloud, config.plotlyServerURL]") == [False, ""]
    # These follow the trials, and nobody has opened that.
    assert answers.asked.count("/slow") == 1
    assert "/folded" not in answers.asked
    assert answers.asked.count("/figure") == 1
    answers.marks = {"trials": "2", "reports": "3"}
    expect(page.locator("figure .panel")).to_contain_text("second")
    expect(page.locator("figure .panel")).to_have_attribute("aria-label", "a line: second")
    page.click("#folded summary")
    expect(page.locator("#folded p")).to_have_text("/folded")


def test_links_and_forms_of_a_part_load_into_it(page: Page, answers: Answers) -> None:
    page.click("#next")
    expect(page.locator("#query")).to_have_text("page=2")
    page.fill("#text", "lr<0.1")
    page.press("#text", "Enter")
    expect(page.locator("#query")).to_have_text("filter=lr%3C0.1")
    assert page.url == f"{HOST}/"
    # A change asks for what is shown now.
    answers.rows = ["three"]
    answers.marks = {"trials": "2", "reports": "2"}
    expect(page.locator("#rows li")).to_have_text(["three"])
    expect(page.locator("#query")).to_have_text("filter=lr%3C0.1")


def test_it_says_when_the_database_does_not_answer(page: Page, answers: Answers) -> None:
    answers.marks = {"problem": "The database does not answer."}
    expect(page.locator("[data-live]")).to_have_text("The database does not answer.")
    answers.marks = {"trials": "1", "reports": "1"}
    expect(page.locator("[data-live]")).to_be_hidden()
    answers.figure = {"mark": "b", "note": "no trial has finished <b>yet</b>"}
    answers.marks = {"trials": "2", "reports": "2"}
    expect(page.locator("figure")).to_contain_text("no trial has finished <b>yet</b>")


def test_a_part_that_was_not_answered_is_asked_for_again(page: Page, answers: Answers) -> None:
    page.evaluate(
        """() => {
            const fetched = window.fetch;
            window.fetch = () => {
                window.fetch = fetched;
                return Promise.reject(new TypeError("no network"));
            };
        }"""
    )
    answers.rows = ["three"]
    answers.marks = {"trials": "1", "reports": "2"}
    expect(page.locator("#rows li")).to_have_text(["three"])
    expect(page.locator("[data-live]")).to_be_hidden()


STREAM = """window.EventSource = class extends EventTarget {
  constructor() {
    super();
    window.stream = this;
  }
  close() {}
};
EventSource.CLOSED = 2;"""


def test_a_server_that_is_down_is_told_and_another_one_is_asked_for_all(
    open_page: Callable[..., Page], answers: Answers
) -> None:
    page = open_page()
    page.clock.install()
    page.add_init_script(STREAM)
    page.route("**/*", answers.route)
    page.goto(HOST)
    expect(page.locator("#rows li")).to_have_text(["one", "two"])
    for _ in range(4):  # at each of its tries the browser says so
        page.evaluate("stream.dispatchEvent(new Event('error'))")
        page.clock.run_for(2000)
    expect(page.locator("[data-live]")).to_contain_text("does not answer")
    answers.rows = ["of another server"]
    page.evaluate("stream.dispatchEvent(new Event('open'))")
    data = json.dumps(json.dumps(answers.marks))
    page.evaluate(f"stream.dispatchEvent(new MessageEvent('message', {{data: {data}}}))")
    page.clock.run_for(5000)
    expect(page.locator("[data-live]")).to_be_hidden()
    expect(page.locator("#rows li")).to_have_text(["of another server"])
