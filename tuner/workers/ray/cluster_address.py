"""Which Ray cluster `--on` names, whether one answers there, and whether its token is ours.

A cluster is asked by one bare gRPC call before Ray itself connects: Ray tries for 20 to 80 seconds
where a call says within milliseconds that nobody listens or that the token is wrong.
"""

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tuner.errors import UsageError, WorkerError
from tuner.settings import RayLogin
from tuner.system.names import as_option, install_command
from tuner.values import shown

# A few seconds: an address that swallows packets answers nothing at all.
_ANSWER_S = 4.0
_LISTENING = "ray://HOST:10001 or HOST:6379"
_PLACES = f"ray, {_LISTENING}"
_ADDRESS = re.compile(
    r"(?P<client>ray://)?(?P<host>[^\s/:\[\]]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})"
)
# What each kind of server answers without having been given anything.
_CLIENT_CALL = "/ray.rpc.RayletDriver/ClusterInfo"
_HEAD_CALL = "/ray.rpc.NodeInfoGcsService/GetClusterId"
# As Ray connects: a proxy for the web does not reach a private network, and would see the token.
_CHANNEL = (("grpc.enable_http_proxy", 0),)
NO_RAY = f"Ray is not installed here: {install_command('ray[client]')}"


@dataclass(frozen=True)
class RayAddress:
    """`text`: as Ray takes it; "local" for a cluster that is started for the search and ends with
    it. `server`: HOST:PORT of what answers there; "" for "local"."""

    text: str
    server: str = ""

    @property
    def is_client(self) -> bool:
        """Whether the search only speaks to the cluster's head, by Ray Client."""
        return self.text.startswith("ray://")


def check_address(on: object, name: str = as_option("on"), among: str = _PLACES) -> None:
    """`name`: as the user wrote the option. `among`: what it may be, in words. Raises UsageError
    for what names no cluster."""
    if on == "ray" and among == _PLACES:
        return
    named = _ADDRESS.fullmatch(on) if isinstance(on, str) else None
    if named is None or not 0 < int(named["port"]) < 65536:
        raise UsageError(f"{name} must be {among}, got {shown(on)}")


def find_address(on: str, login: RayLogin) -> RayAddress:
    """The cluster that `on` names: "ray" for that of RAY_ADDRESS, else one that runs on this
    machine, else one of its own. Raises UsageError and WorkerError."""
    if find_spec("ray") is None:
        raise WorkerError(NO_RAY)
    if on != "ray":
        check_address(on)
        return _address(on)
    if login.address == "local":
        return RayAddress("local")
    if login.address not in ("", "auto"):
        check_address(login.address, "RAY_ADDRESS", among=_LISTENING)
        return _address(login.address)
    running = _running_here(login.folder)
    if running is None and login.address:
        raise WorkerError(
            "RAY_ADDRESS is auto, and no Ray cluster runs on this machine: start one with `ray "
            "start --head`, or unset the variable to have one for this search"
        )
    return running or RayAddress("local")


def _address(text: str) -> RayAddress:
    return RayAddress(text, text.removeprefix("ray://"))


def _running_here(folder: Path) -> RayAddress | None:
    """The cluster that `ray start` began last on this machine, if it answers. What another user
    has written there is not followed: a search sends its token, its code and its data."""
    file = folder / "ray_current_cluster"
    try:
        if file.stat().st_uid not in (0, os.getuid()):
            return None
        address = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        return None
    if not _ADDRESS.fullmatch(address):
        return None
    try:
        _answers(_address(address), token=None)
    except WorkerError:  # it ended without tidying up
        return None
    return _address(address)


# What to do about it.
TOKEN_ADVICE = "start its head and nodes with RAY_AUTH_MODE=token"


def describe_open_cluster(address: RayAddress) -> str:
    """Of a cluster that asks for no token."""
    return (
        f"the cluster at {address.text} asks for no token: everybody who can reach it can run code "
        "on its machines"
    )


def check_cluster(address: RayAddress, login: RayLogin) -> bool:
    """Whether the cluster asks for a token, which is then ours. Raises WorkerError, within a few
    seconds, where no cluster answers or the token is another one."""
    if _answers(address, token=None):
        return False
    if login.token is None:
        raise WorkerError(
            f"the cluster at {address.text} asks for a token: set RAY_AUTH_TOKEN, or write it to "
            f"{login.token_file}"
        )
    if not _answers(address, login.token):
        raise WorkerError(
            f"the cluster at {address.text} refuses the token of {login.source}: use the one that "
            "its head was started with"
        )
    return True


def _answers(address: RayAddress, token: str | None) -> bool:
    """Whether the cluster answers to this token; None: without one."""
    import grpc

    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    call = _CLIENT_CALL if address.is_client else _HEAD_CALL
    with grpc.insecure_channel(address.server, _CHANNEL) as channel:
        try:
            channel.unary_unary(call)(b"", timeout=_ANSWER_S, metadata=metadata)
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.UNAUTHENTICATED:
                return False
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise WorkerError(_nobody(address)) from error
            if code is grpc.StatusCode.UNIMPLEMENTED:
                raise WorkerError(_other_port(address)) from error
    return True


def _nobody(address: RayAddress) -> str:
    return (
        f"no Ray cluster answers at {address.text}: is it running, and can this machine reach the "
        "port? (ray start --head prints its addresses)"
    )


def _other_port(address: RayAddress) -> str:
    if address.is_client:
        return (
            f"what answers at {address.server} is not Ray Client, whose port is 10001 by default: "
            "use ray://HOST:PORT of it"
        )
    return (
        f"what answers at {address.server} is not the head of a Ray cluster, whose port is 6379 by "
        "default; the port of Ray Client is used by ray://HOST:PORT"
    )
