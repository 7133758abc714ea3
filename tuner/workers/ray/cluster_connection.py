"""The Ray cluster of a search: connected, checked, and left as it was.

`open_cluster` is all that others call. Every check is done before the search changes anything: the
address and its token (cluster_address.py), then the nodes (node_checks.py).
"""

import contextlib
import logging
import re
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import UsageError, WorkerError
from tuner.settings import RayLogin, ray_environment, ray_login
from tuner.study.artifacts import Artifacts
from tuner.system.secret_masking import without_secrets
from tuner.workers.ray.cluster_address import (
    TOKEN_ADVICE,
    RayAddress,
    check_cluster,
    describe_open_cluster,
    find_address,
)
from tuner.workers.ray.node_checks import checked_nodes, describe_differences, own_versions
from tuner.workers.ray.ray_workers import RayBackEnd

__all__ = ["open_cluster"]

logger = logging.getLogger(__name__)
_NOT_STARTED = "Starting Ray client server failed"
# Each version stands in a line of its own, the cluster's first: "    Ray: 2.60.0".
_VERSION_LINE = re.compile(r"\b(Ray|Python): (\d[\w.+-]*)")


@contextmanager
def open_cluster(
    on: str,
    *,
    trial_cpus: float = 1.0,
    trial_gpus: float = 0.0,
    artifacts: Artifacts | None = None,
    stage: Callable[[str], None] = lambda line: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[RayBackEnd]:
    """The cluster that `on` names (see cluster_address.py), while the context lasts. `trial_cpus`,
    `trial_gpus`: what a worker process takes of its node. `artifacts`: what every node must reach;
    None for nothing. `stage` gets lines on what happens, `tell` what the user should know. A
    cluster that Ray started for this search ends with it. Raises UsageError and WorkerError, in one
    line each."""
    with (
        _connection(on, stage, tell),
        checked_nodes(trial_cpus, trial_gpus, artifacts) as expected,
    ):
        yield RayBackEnd(trial_cpus, trial_gpus, expected)


@dataclass
class _Shared:
    """The connection of this process' searches; Ray allows one a process. `searches`: how many use
    it."""

    on: str
    searches: int
    closing: contextlib.ExitStack


_shared: _Shared | None = None
_sharing = threading.Lock()


@contextmanager
def _connection(
    on: str, stage: Callable[[str], None], tell: Callable[[str], None]
) -> Iterator[None]:
    """A connection to the cluster, which searches in other threads share. One that the caller's own
    code has made serves "ray", and stays open. Raises UsageError and WorkerError."""
    global _shared
    with _sharing:
        if _shared is None and _is_callers_own(on):
            _shared = _Shared(on, 0, contextlib.ExitStack())
        if _shared is None:
            login = ray_login()
            closing = contextlib.ExitStack()
            closing.enter_context(_connected(find_address(on, login), login, stage, tell))
            _shared = _Shared(on, 0, closing)
        elif _shared.on != on:
            raise UsageError(
                f"this process trains on {_shared.on} already, and can use one cluster at a time"
            )
        shared = _shared
        shared.searches += 1
    try:
        yield
    finally:
        with _sharing:
            shared.searches -= 1
            if not shared.searches:
                _shared = None
                shared.closing.close()


def _is_callers_own(on: str) -> bool:
    """Whether the code that calls tuner has connected Ray itself. Raises UsageError where it did
    so to use another cluster than this one."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return False
    if on != "ray":
        raise UsageError(
            "this process has connected Ray itself: give on='ray' to train there, or call "
            "ray.shutdown() first"
        )
    return True


@contextmanager
def _connected(
    address: RayAddress,
    login: RayLogin,
    stage: Callable[[str], None],
    tell: Callable[[str], None],
) -> Iterator[None]:
    token = login.token
    if not address.server:
        stage("starting Ray on this machine")
        token = secrets.token_hex(32)
    else:
        stage(f"connecting to the Ray cluster at {address.text}")
        if not login.uses_tls and not check_cluster(address, login):
            token = None
            tell(f"{describe_open_cluster(address)}; {TOKEN_ADVICE}")
    with ray_environment(token):
        connected = connect(address)
        import ray

        try:
            yield
        finally:
            with contextlib.suppress(Exception):  # the cluster may be gone
                ray.shutdown()
            if not address.server:
                _remove_session(Path(connected.address_info["session_dir"]))


def _remove_session(folder: Path) -> None:
    """What Ray has written of a cluster that has ended. It keeps that of each one for ever."""
    latest = folder.parent / "session_latest"
    with contextlib.suppress(OSError):
        if latest.resolve() == folder.resolve():
            latest.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def connect(address: RayAddress) -> Any:
    """What `ray.init` says of the connection. Raises WorkerError."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address.server:  # nobody else reaches it
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        with _signals_kept(), _command_line_kept():
            return _init_patiently(address, options)
    except Exception as error:
        raise WorkerError(why_not_connected(address, error)) from error


def _init_patiently(address: RayAddress, options: Mapping[str, Any]) -> Any:
    """Ray Client starts a process for each that connects, which now and then dies as it is forked
    (Ray 2.60, on a busy machine)."""
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)  # its import sets it
    _read_login_again()
    try:
        return ray.init(address=address.text, **options)
    except ConnectionAbortedError as error:
        if _NOT_STARTED not in str(error):
            raise
    logger.warning("the server of Ray Client did not start, and is asked again")
    return ray.init(address=address.text, **options)


def _read_login_again() -> None:
    """Ray reads once whether there is a token, and which: perhaps as the user's own code imported
    it, or for another cluster."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _command_line_kept() -> Iterator[None]:
    """Ray shows a job's command line to all of the cluster; it may name an address for notices,
    which is a secret."""
    from ray._private import utils

    before = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: "tuner"
    try:
        yield
    finally:
        utils.get_entrypoint_name = before


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if is_main and before is not None:
            signal.signal(signal.SIGTERM, before)


def why_not_connected(address: RayAddress, error: Exception) -> str:
    """One line, also of what Ray says in many."""
    text = without_secrets(str(error))
    versions = [(name.lower(), version) for name, version in _VERSION_LINE.findall(text)]
    theirs = dict(reversed(versions))  # of two, the first is the cluster's
    if theirs and isinstance(error, RuntimeError):
        differences = describe_differences(theirs, own_versions())
        if differences:
            return f"the cluster at {address.text} has other versions: {differences}"
    what = "Ray cannot start here" if not address.server else f"no connection to {address.text}"
    return f"{what}: {' '.join(text.split())[:300]}"
