"""Values of options that need more than a type."""

import re

from tuner.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def seconds(text: str, option: str = "--timeout") -> float:
    """Seconds from 90s, 30m, 1.5h or 2d. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{option} must be a time such as 90s, 30m or 2h, got {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def size(text: str, option: str = "--data-memory") -> float:
    """Bytes from 512MiB, 4G or 1.5GiB: powers of 1024. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{option} must be a size such as 512MiB or 4GiB, got {text!r}")
    return float(match[1]) * _SIZES[match[2].upper()]
