"""Old names of options go on working, with one warning, and are not in the help."""

import re
from dataclasses import replace
from typing import Any

import pytest

from tuner.cli.optimize_command import _current_engine, _current_lanes
from tuner.errors import UsageError
from tuner.runner import Outcome, RunStatus


@pytest.fixture
def request_of(tuner: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `tuner optimize` up to the search; gives the request that it makes, and stderr."""
    requests: list[Any] = []

    def search(settings: Any, store: Any, study: Any, request: Any, *_: Any, **__: Any) -> Any:
        requests.append(request)
        return Outcome(None, RunStatus(1), 0), None

    monkeypatch.setattr("tuner.manage.searching.optimize", search)
    assert tuner("study", "create", "s", "--data", "iris").code == 0

    def run(*words: str) -> tuple[Any, str]:
        done = tuner("optimize", "s", "--trials", "1", *words)
        assert done.code == 0, done.err
        return requests[-1], done.err

    return run


def test_old_and_new_names_ask_for_the_same(request_of: Any) -> None:
    plain, err = request_of()
    assert err == ""
    lanes, err = request_of("--lanes", "8")
    assert (lanes, err) == (replace(plain, lanes=8), "")
    population, err = request_of("--population", "8")
    assert population == lanes
    assert err == "tuner: --population is now called --lanes; the old name still works\n"
    keras, err = request_of("--engine", "keras")
    assert keras.engine != plain.engine
    assert err == ""
    exact, err = request_of("--engine", "exact")
    assert exact == keras
    assert err == "tuner: --engine exact is now called --engine keras; the old name still works\n"


def test_the_help_names_the_new_ones_alone(tuner: Any) -> None:
    text = tuner("optimize", "--help").out
    assert "--lanes" in text
    assert "auto|keras" in text
    assert "--population" not in text
    assert re.search(r"\bexact\b", text) is None


def test_lanes_of_either_name() -> None:
    assert _current_lanes(4, None) == 4
    assert _current_lanes(1, 8) == 8
    with pytest.raises(UsageError, match="not both"):
        _current_lanes(4, 8)
    assert _current_engine("auto") == "auto"
