"""`tuner optimize --on`: what it refuses before it begins, and what it shows of places."""

import contextlib
import json
import os
import signal
import sqlite3
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
from command_line import Command
from fork_server import COMMAND, Forked, start
from node_folders import OWN
from ray_cluster import RayNodes
from waiting import wait_until

OWN_CODE = "def train(params, trial):\n    trial.report(1, val_loss=params['x'])\n"
CREATE = ("study", "create", "own", "--network", "own.py:train", "--metric", "val_loss")
PRINTED = "printed.txt"
IN_A_SOAK = pytest.mark.skipif("not config.getoption('--soak')", reason="it is done in a soak only")
ON_LOOPBACK = "127.0.0.1:1"  # nobody listens on it


@pytest.fixture
def own_study(tuner: Command, tmp_path: Path) -> Command:
    """A study of a function that needs no TensorFlow."""
    (tmp_path / "own.py").write_text(OWN_CODE)
    done = tuner(*CREATE, "--set", "x=0.5", "--epochs", "1")
    assert done.code == 0, done.err
    return tuner


def begin(code: str, *words: str, folder: Path, environment: Mapping[str, str]) -> Forked:
    """A process, whose output goes to a file: the tests' own connects to no cluster."""
    with (folder / PRINTED).open("wb") as printed, Path(os.devnull).open() as nothing:
        streams = (nothing.fileno(), printed.fileno(), printed.fileno())
        return start(code, words, folder, streams, {**os.environ, **environment})


def run(code: str, *words: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Its exit code, and what it printed."""
    process = begin(code, *words, folder=folder, environment=environment)
    return process.wait(90), (folder / PRINTED).read_text()


def slots(folder: Path) -> int:
    with sqlite3.connect(folder / "tuner.db") as database:
        return int(database.execute("SELECT count(*) FROM tuner_places").fetchone()[0])


@pytest.mark.parametrize("form", ["ray://{}", "{}"])
def test_no_cluster_at_the_address(own_study: Command, tmp_path: Path, form: str) -> None:
    on = form.format(ON_LOOPBACK)
    done = own_study("optimize", "--trials", "2", "--on", on)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"no Ray cluster answers at {on}" in done.err
    assert slots(tmp_path) == 0


def test_a_missing_and_a_wrong_token(
    own_study: Command, ray_nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    on = ray_nodes.address
    done = own_study("optimize", "--trials", "2", "--on", on)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"the cluster at {on} asks for a token" in done.err
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another-token-0123456789")
    done = own_study("optimize", "--trials", "2", "--on", on)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"the cluster at {on} refuses the token of RAY_AUTH_TOKEN" in done.err
    assert "another-token" not in done.err
    assert slots(tmp_path) == 0


def test_another_port_of_the_cluster(own_study: Command, ray_nodes: RayNodes) -> None:
    done = own_study("optimize", "--trials", "2", "--on", f"ray://{ray_nodes.address}")
    assert done.code == 1
    assert "is not Ray Client" in done.err


def test_no_node_has_room(own_study: Command, ray_nodes: RayNodes, tmp_path: Path) -> None:
    words = ("optimize", "--trials", "2", "--on", ray_nodes.address, "--trial-cpus", "2")
    code, printed = run(COMMAND, *words, folder=tmp_path, environment=ray_nodes.joining)
    assert code == 1, printed
    problem = printed.splitlines()[-1]
    assert "no node of the cluster has room for a worker, which takes 2 CPUs, 0 GPUs" in problem
    assert problem.count("has 1 CPU, 0 GPUs") == 3
    assert slots(tmp_path) == 0


@pytest.fixture
def other_numpy(tmp_path: Path) -> dict[str, str]:
    """The environment of a node with another NumPy."""
    other = tmp_path / "packages" / "numpy-1.0.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0.0\n")
    paths = [str(other.parent), str(Path(__file__).parents[1] / "support")]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def test_nodes_that_differ(
    ray_nodes: RayNodes, tmp_path: Path, other_numpy: dict[str, str]
) -> None:
    """One with another NumPy, and one that does not share the folder of networks."""
    added = [
        ray_nodes.add(environment=other_numpy),
        ray_nodes.add(environment={OWN: "own"}),
    ]
    code = "import sys, node_folders; node_folders.open_with(*sys.argv[1:])"
    words = (ray_nodes.address, str(tmp_path / "store"))
    try:
        _, printed = run(code, *words, folder=tmp_path, environment=ray_nodes.joining)
    finally:
        ray_nodes.kill(*added)
    problem = printed.splitlines()[-1]
    assert problem.count("node ") == 2
    assert f"numpy 1.0.0 there, {version('numpy')} here" in problem
    assert f"it does not reach the networks and checkpoints in {tmp_path / 'store'}" in problem
    assert "set TUNER_CHECKPOINTS to a folder that all machines share" in problem
    assert not any((tmp_path / "store").iterdir())


def test_places_are_kept_and_shown(own_study: Command, ray_nodes: RayNodes, tmp_path: Path) -> None:
    words = ("optimize", "--trials", "6", "--on", ray_nodes.address, "--no-tracking")
    code, printed = run(COMMAND, *words, folder=tmp_path, environment=ray_nodes.joining)
    assert code == 0, printed
    assert f"connecting to the Ray cluster at {ray_nodes.address}" in printed
    assert "6 complete" in printed
    shown = json.loads(own_study("trial", "show", "0", "--study", "own", "--json").out)
    [attempt] = shown["attempts"]
    assert attempt["host"] == os.uname().nodename
    assert attempt["node"] in ray_nodes.node_ids
    assert shown["trained_on"] == f"{attempt['host']}/{attempt['node'][:8]}"
    assert shown["trained_on"] in own_study("trial", "show", "0", "--study", "own").out
    # A command line may hold secrets, and Ray's dashboard shows those of all jobs.
    jobs = ray_nodes.jobs()
    assert "tuner" in jobs
    assert not any("--no-tracking" in job for job in jobs)


NOTEBOOK = """
import os, ray, sys  # before a token is asked for: Ray looks once
import tuner
study = tuner.load_study("own")
study.optimize(trials=1, on=sys.argv[1], tracking=False)
assert not ray.is_initialized()
os.environ["RAY_AUTH_MODE"] = "token"
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
study.optimize(trials=2, on="ray", tracking=False)
assert ray.is_initialized()
"""


@IN_A_SOAK
def test_searches_of_a_notebook(own_study: Command, ray_nodes: RayNodes, tmp_path: Path) -> None:
    """Ray is imported before; in the end it is connected by the notebook itself."""
    environment = {k: v for k, v in ray_nodes.joining.items() if k != "RAY_AUTH_MODE"}
    words = (ray_nodes.address,)
    code, printed = run(NOTEBOOK, *words, folder=tmp_path, environment=environment)
    assert code == 0, printed
    assert slots(tmp_path) == 2


@IN_A_SOAK
def test_a_node_that_joins_with_other_versions(
    tuner: Command, ray_nodes: RayNodes, tmp_path: Path, other_numpy: dict[str, str]
) -> None:
    """It is left out, and the search goes on."""
    (tmp_path / "own.py").write_text(f"import time\n{OWN_CODE}    time.sleep(0.3)\n")
    assert tuner(*CREATE, "--set", "x=0.5", "--epochs", "1").code == 0
    words = ("optimize", "--trials", "400", "--on", ray_nodes.address, "--no-tracking")
    process = begin(COMMAND, *words, folder=tmp_path, environment=ray_nodes.joining)
    printed = tmp_path / PRINTED
    try:
        wait_until(lambda: "1/400" in printed.read_text(), 60)
        added = ray_nodes.add(environment=other_numpy)
        wait_until(lambda: "is left out" in printed.read_text(), 60)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
    text = printed.read_text()
    ray_nodes.kill(added)
    assert code == 130, text
    [line] = [line for line in text.splitlines() if "is left out" in line]
    assert f"/{added[:8]} is left out: numpy 1.0.0 there, {version('numpy')} here" in line
    with sqlite3.connect(tmp_path / "tuner.db") as database:
        nodes = {row[0] for row in database.execute("SELECT node FROM tuner_attempts")}
    assert nodes == {*ray_nodes.node_ids}


@IN_A_SOAK
def test_a_cluster_of_its_own_ends_with_the_search(own_study: Command) -> None:
    """`--on ray` where no cluster runs: nothing is left of it, neither processes nor files."""
    with tempfile.TemporaryDirectory(prefix="tr-", dir="/tmp") as folder:
        words = ("optimize", "--trials", "3", "--on", "ray", "--no-tracking")
        environment = {"RAY_TMPDIR": folder, "TMPDIR": folder}
        code, printed = run(COMMAND, *words, folder=Path.cwd(), environment=environment)
        assert code == 0, printed
        assert "starting Ray on this machine" in printed
        assert "3 complete" in printed
        wait_until(lambda: not processes_of(folder))
        assert not list(Path(folder).glob("tuner-ray-*"))
    shown = json.loads(own_study("trial", "show", "0", "--study", "own", "--json").out)
    assert shown["attempts"][0]["host"] == os.uname().nodename


def processes_of(folder: str) -> list[str]:
    """What runs with its files there."""
    found: list[str] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(folder in word for word in process.cmdline()):
                found.append(" ".join(process.cmdline()))
    return found
