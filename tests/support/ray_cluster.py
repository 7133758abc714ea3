"""A Ray cluster of several nodes on this machine, as tests want it: with a token, and with nodes
that are killed. It runs in a process of its own, so that the tests' process imports no Ray.

It costs 2 CPU seconds and is up in 6 s on an idle machine; a node that is added costs 0.3 s. What
Ray starts besides (dashboard, statistics, log monitor, autoscaler, metrics) is left out.
"""

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest
from fork_server import Forked, start

_SERVE = "import ray_cluster; ray_cluster.serve()"
# The machine may be busy with other tests.
_START_S = 150.0
NODES = 3
# A node that is killed is dead to the others after 2 s, one that is frozen after 20 s: with Ray's
# own values it would be 15 s and 75 s. A busy machine lets a node wait for seconds: with 2 s an
# answer it was taken for dead. Without their head, nodes end after 45 s, not 60 s.
_SYSTEM = {
    "gcs_rpc_server_reconnect_timeout_s": 45,
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 6000,
    "health_check_failure_threshold": 3,
}
_NODE = {
    "object_store_memory": 80 * 2**20,
    "include_dashboard": False,
    "include_log_monitor": False,
}


class RayNodes:
    """A head without CPUs and `NODES` nodes with one CPU each."""

    def __init__(self) -> None:
        # Short: Ray's sockets lie in it, and their paths have at most 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="tr-", dir="/tmp"))
        token = self.folder / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(16))
        # What a process needs to join: for `environment` of a test's own processes.
        self.joining = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_TMPDIR": str(self.folder),
        }
        # Of its nodes, for the files of searches.
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self._begin()

    def _begin(self) -> None:
        self._is_headless = False
        self._ours, theirs = socket.socketpair()
        self._process = self._start(theirs.fileno())
        theirs.close()
        self._answers = self._ours.makefile("r")
        try:
            self.address = str(self._ask("start"))
        except BaseException:
            self.close()
            raise

    def _start(self, number: int) -> Forked:
        settings = self.joining | {
            "TMPDIR": str(self.temporary),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_agent_register_timeout_ms": str(int(1000 * _START_S)),
            "RAY_DISABLE_IMPORT_WARNING": "1",
            "RAY_enable_metrics_collection": "0",
            "RAY_enable_open_telemetry": "0",
            "RAY_task_events_report_interval_ms": "0",
            # What an actor's process finds beside the installed packages: the toys.
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
            ),
        }
        environment = dict(os.environ) | settings
        with (self.folder / "cluster.txt").open("wb") as printed:
            streams = (number, printed.fileno(), printed.fileno())
            return start(_SERVE, [], self.folder, streams, environment)

    def _ask(self, what: str, **given: Any) -> Any:
        self._ours.settimeout(2 * _START_S)
        self._ours.sendall(json.dumps({"what": what, "given": given}).encode() + b"\n")
        line = self._answers.readline()
        if not line:
            raise AssertionError("the cluster has ended: " + self.printed())
        answer = json.loads(line)
        assert answer["error"] is None, f"{answer['error']}\n{self.printed()[-2000:]}"
        return answer["answer"]

    def printed(self) -> str:
        return (self.folder / "cluster.txt").read_text()

    @property
    def node_ids(self) -> list[str]:
        """Of the nodes with CPUs that have not been killed."""
        return list(self._ask("node_ids"))

    def add(self, num_cpus: int = 1, environment: Mapping[str, str] = MappingProxyType({})) -> str:
        """Another node, once all know of it; its id. `environment`: what differs in its own."""
        return str(self._ask("add", num_cpus=num_cpus, environment=dict(environment)))

    def kill(self, *node_ids: str) -> None:
        """Kill the raylets at once, as the kernel would. What they have started ends by itself."""
        self._ask("kill", node_ids=node_ids)

    def raylet(self, node_id: str) -> psutil.Process:
        """For signals."""
        return psutil.Process(self._ask("pids")[node_id])

    def actors(self) -> list[psutil.Process]:
        """The actors of searches."""
        raylets = [psutil.Process(pid) for pid in self._ask("pids").values()]
        workers = [child for raylet in raylets for child in raylet.children()]
        return [worker for worker in workers if "RayActor" in worker.cmdline()[0]]

    def servers(self) -> list[psutil.Process]:
        """What actors have started, such as fork servers."""
        return [child for actor in self.actors() for child in actor.children()]

    def trainers(self) -> list[psutil.Process]:
        """The processes that train, which the fork servers have forked."""
        return [child for server in self.servers() for child in server.children()]

    def jobs(self) -> list[str]:
        """What the cluster calls those that have connected: by default, their command lines."""
        return list(self._ask("jobs"))

    def restore(self) -> None:
        """Have a head and `NODES` living nodes."""
        if self._is_headless:
            self._end()
            self._begin()
        for _ in range(NODES - len(self.node_ids)):
            self.add()

    def open_client(self) -> str:
        """The address of a Ray Client server, which is started for the first who asks."""
        return str(self._ask("client"))

    def stop_head(self) -> None:
        """Kill the head's processes; the nodes are left alone, and notice it."""
        self._is_headless = True
        self._ask("stop_head")

    def processes(self) -> list[psutil.Process]:
        """All that belongs to this cluster: it lives by its folder."""
        return [p for p in psutil.process_iter() if _mentions(p, str(self.folder))]

    def close(self) -> None:
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> None:
        with _ignored():
            self._ours.shutdown(socket.SHUT_RDWR)
        self._answers.close()
        self._ours.close()
        with _ignored():
            self._process.wait(20)
        for process in self.processes():
            with _ignored():
                process.kill()


def _mentions(process: psutil.Process, folder: str) -> bool:
    try:
        words = [*process.cmdline(), process.environ().get("RAY_TMPDIR", "")]
    except psutil.Error:
        return False
    return any(folder in word for word in words)


def _ignored() -> contextlib.suppress:
    return contextlib.suppress(OSError, psutil.Error, subprocess.TimeoutExpired)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayNodes]:
    """The cluster of a process that runs tests."""
    if importlib.util.find_spec("ray") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Ray is not installed; install the extra `ray`")
        pytest.skip("Ray is not installed")
    nodes = RayNodes()
    yield nodes
    nodes.close()


@pytest.fixture
def ray_nodes(ray_cluster: RayNodes) -> RayNodes:
    """The cluster with as many nodes as it had at first, whatever an earlier test has done."""
    ray_cluster.restore()
    return ray_cluster


class _Server:
    """What the cluster's process does for its `RayNodes`: a method for each order."""

    def start(self) -> str:
        from ray._private import services
        from ray._private.node import Node
        from ray.cluster_utils import Cluster

        head = _NODE | {"num_cpus": 0, "no_monitor": True, "_system_config": _SYSTEM}
        services.get_node = _patient(services.get_node)
        # A process that sends statistics: 1 s of CPU time.
        Node.start_api_server = lambda *_, **__: None
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes: dict[str, Any] = {}
        for _ in range(NODES):
            self.add(1, wait=False)
        self.cluster.wait_for_nodes(timeout=_START_S)
        # Not Ray's own, which may hang. What was started ends with its parent, by the kernel.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return str(self.cluster.address)

    def add(
        self, num_cpus: int, wait: bool = True, environment: dict[str, str] | None = None
    ) -> str:
        node = self.cluster.add_node(
            wait=wait, num_cpus=num_cpus, env_vars=environment or None, **_NODE
        )
        self.nodes[node.node_id] = node
        return str(node.node_id)

    def kill(self, node_ids: Sequence[str]) -> None:
        killed = [self.nodes.pop(node_id) for node_id in node_ids]
        for node in killed:
            os.kill(_raylet(node).pid, signal.SIGKILL)
        for node in killed:
            _raylet(node).wait()
            self.cluster.worker_nodes.discard(node)

    def node_ids(self) -> list[str]:
        return list(self.nodes)

    def pids(self) -> dict[str, int]:
        return {node_id: _raylet(node).pid for node_id, node in self.nodes.items()}

    def jobs(self) -> list[str]:
        from ray._raylet import GcsClient

        jobs = GcsClient(address=self.cluster.address).get_all_job_info()
        return [job.entrypoint for job in jobs.values()]

    def client(self) -> str:
        head = self.cluster.head_node
        if head._ray_params.ray_client_server_port is None:
            head._ray_params.ray_client_server_port = _free_port()
            head.start_ray_client_server()
            _wait_for_port(head._ray_params.ray_client_server_port)
        return f"ray://127.0.0.1:{head._ray_params.ray_client_server_port}"

    def stop_head(self) -> None:
        self.cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)


def _patient(get_node: Callable[..., Any]) -> Callable[..., Any]:
    """Ray gives a node up that is not there after 30 s: two Python processes start before it, and
    this machine may be busy."""

    def get(*given: Any, **named: Any) -> Any:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                return get_node(*given, **named)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    return get


def _raylet(node: Any) -> "subprocess.Popen[bytes]":
    return node.all_processes["raylet"][0].process


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def serve() -> None:
    """The cluster's process: orders come as lines on its standard input, a socket. At its end, or
    that of who gives them, all that it has started is ended."""
    orders, server = socket.socket(fileno=os.dup(0)), _Server()
    for line in orders.makefile("r"):
        order = json.loads(line)
        answer: dict[str, Any] = {"answer": None, "error": None}
        try:
            answer["answer"] = getattr(server, order["what"])(**order["given"])
        except Exception as error:
            traceback.print_exc()
            answer["error"] = repr(error)
        orders.sendall(json.dumps(answer).encode() + b"\n")
    os._exit(0)
