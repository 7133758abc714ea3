"""Checks of what `tuner optimize --on` needs."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from tuner.doctor.findings import Finding, failure, fine, warning
from tuner.errors import TunerError
from tuner.settings import ray_login
from tuner.system.names import command
from tuner.workers.ray.cluster_address import (
    TOKEN_ADVICE,
    check_cluster,
    describe_open_cluster,
    find_address,
)


def check_ray() -> Iterator[Finding]:
    """Whether `--on ray` would find a cluster. Nothing is started, and Ray is not imported."""
    try:
        installed = f"Ray {version('ray')}"
    except PackageNotFoundError:
        yield fine("ray", f"not installed; only {command('optimize', '--on')} needs it")
        return
    login = ray_login()
    try:
        address = find_address("ray", login)
        if not address.server:
            yield fine("ray", f"{installed}; no cluster runs here: --on ray starts one")
        elif login.uses_tls:
            yield fine("ray", f"{installed}; {address.text}, by TLS, which was not tried")
        elif check_cluster(address, login):
            yield fine("ray", f"{installed}; the cluster at {address.text} accepts our token")
        else:
            yield warning("ray", describe_open_cluster(address), TOKEN_ADVICE)
    except TunerError as error:
        # Who has not named a cluster may have no use for one.
        tell = failure if login.address else warning
        yield tell("ray", str(error), "RAY_ADDRESS says which cluster --on ray uses")
