"""Faults of a search on one machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_table import bench, check, measured, pytest_terminal_summary, times
from toy_study import Bench

from tuner.storage import open_store
from tuner.tracking.client import open_client

__all__ = ["bench", "check", "measured", "pytest_terminal_summary", "times"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked `daemons` are run with daemons too, in place of foreground searches; in a soak,
    all those that may."""
    if "by_daemon" in metafunc.fixturenames:
        also = metafunc.definition.get_closest_marker("daemons") is not None
        soaks = metafunc.config.getoption("--soak")
        choices = [False, True] if also or soaks else [False]
        metafunc.parametrize(
            "by_daemon", choices, indirect=True, ids=["", "daemon"][: len(choices)]
        )


@pytest.fixture
def by_daemon(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether daemons search in place of foreground searches."""
    monkeypatch.setattr(Bench, "by_daemon", request.param)
    return bool(request.param)


@pytest.fixture
def tracked_bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench on files of its own, with an MLflow beside it, which has its tables."""
    open_client(f"sqlite:///{tmp_path}/mlflow.db")
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield Bench(tmp_path, store, f"sqlite:///{tmp_path}/mlflow.db")
    store.close()
