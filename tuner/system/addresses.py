"""Names and addresses of servers, as in a Host header.

With DNS rebinding a page of another site has its own name mean this machine, and reads what a
server here answers. Its name shows in the Host header. An address there is no sign of it: a page
that was loaded from an address is of that address.
"""

import ipaddress

LOOPBACK = "127.0.0.1"
# What addresses and Host headers call this machine.
LOOPBACK_NAMES = ("localhost", LOOPBACK, "[::1]")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on this address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_address(name: str) -> bool:
    """Whether it is an IP address, also one in brackets."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def split_host(header: str) -> tuple[str, int | None]:
    """The name and the port of a Host header, in lower case."""
    name, colon, port = header.lower().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or name.endswith(":"):
        return header.lower(), None
    return name, int(port)


def in_url(host: str) -> str:
    """The name or address as a URL has it: of IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
