"""What no browser sends by itself: each answer is a page's, never an error of the server's."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tried_trials import tried_study
from web_client import page_client, submit

from tuner.storage import Store
from tuner.storage.studies import StudyRow

NUL = "\0"
# Texts that databases, processes or headers may refuse.
ODD = [
    NUL,
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    "\r\nSet-Cookie: a=b",
    "𝕏" * 300,
]


@pytest.fixture
def client(store: Store) -> Iterator[Any]:
    with page_client(store) as client:
        yield client


def test_odd_texts_are_answered(store: Store, client: Any) -> None:
    study = tried_study(store, 3)
    for text in ODD:
        check_text(client, study, text)


def check_text(client: Any, study: StudyRow, text: str) -> None:
    base, odd = f"/studies/{study.uuid}", quote(text)
    for path in (
        f"/studies/{odd}",
        f"/?find={odd}",
        f"/changes?study={odd}",
        f"{base}/figures/{odd}",
        f"{base}/figures/history?have={odd}",
        f"{base}/trials?sort={odd}",
        f"{base}/trials?filter=state%3D%22{odd}%22",
        f"{base}/trials?filter=end%3D%22{odd}%22",
        f"{base}/trials?filter=x%3D%22{odd}%22",
        f"{base}/trials?filter=act%3D%22{odd}%22",
        f"{base}/trials?filter=act!%3D%22{odd}%22",
        f"/login?next={odd}",
    ):
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code < 500, path
        assert "a=b" not in answer.headers.get("set-cookie", "")
    for path, field in (
        ("/enqueue", "x"),
        ("/enqueue", text),
        ("/actions/add", "more"),
        ("/actions/priority", "priority"),
    ):
        assert submit(client, base + path, **{field: text}).status_code in (303, 400)


def test_numbers_that_no_column_holds(store: Store, client: Any) -> None:
    study = tried_study(store, 3)
    for number in (2**31, 2**63, 10**30):
        check_number(client, study, number)


def check_number(client: Any, study: StudyRow, number: int) -> None:
    base = f"/studies/{study.uuid}"
    for path in (
        f"{base}/trials?filter=trial%3D{number}",
        f"{base}/trials?filter=trial%3C{number}",
        f"{base}/trials?filter=score%3C{number}",
        f"{base}/trials?filter=epochs%3D{number}",
        f"{base}/trials?filter=x%3D{number}",
        f"{base}/trials?page={number}",
        f"/?page={number}",
        f"{base}/compare?trial=0&trial={number}",
        f"{base}/enqueue?like={number}",
    ):
        assert client.get(path).status_code < 500, path
    submit(client, f"{base}/enqueue", x=number)
