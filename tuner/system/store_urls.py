"""URLs of stores of networks and checkpoints that many machines reach."""

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tuner.errors import UsageError
from tuner.system.secret_masking import without_secrets


class Scheme(NamedTuple):
    """A kind of store. `protocol`: fsspec's. `package`: what brings its client. `options`: of the
    client. `tries`: how often the client itself makes a request; None for as often as it likes."""

    protocol: str
    package: str
    options: dict[str, Any]
    tries: int | None = None


# A server that cannot be connected to is given up after 2 x 5 s, one that falls silent after
# 2 x 20 s. s3fs would make each of its requests 5 times: silence would last for minutes.
_S3_TIMES = {
    "connect_timeout": 5,
    "read_timeout": 20,
    "retries": {"mode": "standard", "total_max_attempts": 2},
}
SCHEMES = {
    "s3": Scheme("s3", "s3fs", {"config_kwargs": _S3_TIMES}, tries=1),
    "gs": Scheme("gs", "gcsfs", {}),
    "az": Scheme("az", "adlfs", {}),
}


def check_store_url(url: str, variable: str) -> str:
    """The URL of a store, without a slash at its end. `variable`: where it stands, for messages.
    Raises UsageError."""
    text, address = without_secrets(url), urlsplit(url)
    if "@" in address.netloc:
        raise UsageError(
            f"{variable} must hold no credentials: they come from each machine's own environment, "
            "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from ~/.aws/credentials"
        )
    if address.scheme not in SCHEMES:
        forms = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise UsageError(f"{variable} must be a folder or one of {forms}, got {text!r}")
    if not address.netloc or set(url) & set("*?[#"):
        form = f"{address.scheme}://BUCKET/PREFIX"
        raise UsageError(f"{variable} must be like {form}, got {text!r}")
    return url.rstrip("/")
