"""Files of the current folder are never imported in place of libraries."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest
from conformance import REQUEST, run_trial
from toy_training import TOY

from tuner.errors import WorkerError
from tuner.settings import libraries_first
from tuner.study.messages import Ended, WorkerSetup
from tuner.system.start_up import ordered_path
from tuner.workers import EntryPoint
from tuner.workers.local import LocalWorkers

LIBRARIES = ("numpy", "pandas", "psutil", "keras", "tensorflow", "mlflow", "optuna", "sqlalchemy")


@pytest.fixture(autouse=True)
def fresh_server() -> Iterator[None]:
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file for each module of Python and of the libraries. Each says in
    `ran` that it was imported."""
    for name in (*sorted(sys.stdlib_module_names), *LIBRARIES):
        text = (
            f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + ' ')\nraise OSError('mine')\n"
        )
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(project: Path) -> str:
    return (project / "ran").read_text() if (project / "ran").exists() else ""


@pytest.mark.parametrize("started_in", ["elsewhere", "the folder", "PYTHONPATH"])
def test_workers_import_libraries(
    started_in: str, setup: WorkerSetup, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.pathsep.join(
        [str(Path(__file__).parents[1] / "support"), os.environ.get("PYTHONPATH", "")]
    )
    if started_in == "the folder":  # as `python -c` or `python -m` has it
        monkeypatch.setattr(sys, "path", ["", *sys.path])
    if started_in == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", f"{path}{os.pathsep}{project}{os.pathsep}.")
    before = sys.path.copy(), dict(os.environ)
    workers = LocalWorkers(1, TOY, setup, log=project / "log" / "workers.log")
    workers.start()
    try:
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)
    finally:
        workers.close()
    assert ran(project) == ""
    assert (sys.path, dict(os.environ)) == before


def test_a_folder_of_the_users_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    library = str(Path(os.__file__).parent)
    path = ["", "/elsewhere", library, str(tmp_path), "/site-packages"]
    assert ordered_path(path) == ["/elsewhere", library, "/site-packages", str(tmp_path)]
    monkeypatch.chdir(library)
    assert ordered_path([library, "/site-packages"]) == [library, "/site-packages"]


def test_an_empty_entry_of_pythonpath_is_dropped(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}/elsewhere{os.pathsep}")
    with libraries_first():
        command = [sys.executable, "-c", "import random, sys; print(sys.path)"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "/elsewhere" in done.stdout
    assert (str(project) in done.stdout, ran(project)) == (False, "")


@pytest.fixture
def broken_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EntryPoint:
    """An entry point whose import ends the fork server."""
    (tmp_path / "ill_library.py").write_text("raise OSError('libfoo is ill')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return replace(TOY, preload=("ill_library",))


def test_a_fork_server_that_ends_is_told_with_its_reason(
    setup: WorkerSetup, broken_library: EntryPoint, tmp_path: Path
) -> None:
    log = tmp_path / "workers.log"
    workers = LocalWorkers(1, broken_library, setup, log=log)
    with pytest.raises(WorkerError) as caught:
        workers.start()
    workers.close()
    assert str(caught.value) == (
        f"the process that starts the workers has ended: OSError: libfoo is ill; see {log}"
    )


def test_a_fork_server_that_is_killed_is_started_again(setup: WorkerSetup) -> None:
    workers = LocalWorkers(1, TOY, setup)
    workers.start()
    try:
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)
        server = psutil.Process(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]
        server.kill()
        workers.restart(0)
        assert isinstance(run_trial(workers, REQUEST)[-1], Ended)
    finally:
        workers.close()
