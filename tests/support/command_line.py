"""A command line inside the test's process, in an empty folder."""

import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture(scope="session", autouse=True)
def command_tree() -> Iterator[None]:
    """Typer builds it for each command line that is run: a third of what a short one takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.main.get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture
def tuner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """tuner("study", "list") runs the command as the shell would, in tmp_path."""
    from tuner.cli import main

    monkeypatch.chdir(tmp_path)
    for variable in ("TUNER_STORAGE", "MLFLOW_TRACKING_URI", "TUNER_CHECKPOINTS"):
        monkeypatch.delenv(variable, raising=False)

    def run(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["tuner", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return Done(int(end.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Own networks are believed: trying them takes seconds, and a toy's is no network."""
    monkeypatch.setattr(
        "tuner.manage.own_networks.try_own_network", lambda *_: "net.py:build is given all it needs"
    )
