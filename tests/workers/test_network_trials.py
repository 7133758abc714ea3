"""The process that tries a user's own network: whatever it does ends in one line."""

import re
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tuner.errors import NetworkError
from tuner.training.trial_builds import TrialBuilds, Tried
from tuner.workers import network_trials
from tuner.workers.network_trials import BuildLimits, try_network


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(network_trials, "MODULE", "stubborn_network")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "support"))

    def run(deed: str) -> Tried:
        nothing: Any = None
        code = ("net.py", "build", "")
        request = TrialBuilds(code, nothing, 9, deed, [], [], [], [], [], nothing, 0, Path())
        # On a busy machine the others need longer than that for a step.
        silent_s = 1.0 if deed == "hangs" else 20.0
        return try_network(request, BuildLimits(silent_s, memory_bytes=400 * 2**20))

    return run


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        ("hangs", r"net.py:build: did not end within 1 s while tuner waits for \d+"),
        ("eats", "net.py:build: took more than 0.4 GiB of memory while tuner builds with units=8"),
        ("crashes", r"net.py:build: ended its process \(signal SIGSEGV\) while tuner builds with"),
        ("exits", r"net.py:build: ended its process \(exit code 3\) while tuner builds with units"),
        ("asks", "net.py:build: read ''"),
    ],
)
def test_what_a_network_may_do_ends_in_a_line(attempt: Any, deed: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message) as refused:
        attempt(deed)
    assert "\n" not in str(refused.value)
    if deed == "hangs":  # what it has started ends with it
        child = int(re.findall(r"waits for (\d+)", str(refused.value))[0])
        until = time.monotonic() + 10
        while psutil.pid_exists(child) and psutil.Process(child).status() != "zombie":
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_process_without_a_complaint(attempt: Any) -> None:
    assert attempt("nothing") == Tried(1)
