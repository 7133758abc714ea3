"""Values of options that need more than a type."""

import re

from tuner.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}


def seconds(text: str) -> float:
    """Seconds from 90s, 30m, 1.5h or 2d. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match or float(match[1]) <= 0:
        raise UsageError(f"--timeout must be a time such as 90s, 30m or 2h, got {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def assignments(pairs: list[str], option: str) -> dict[str, str]:
    """Names and raw values from K=V texts. Raises UsageError."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.strip():
            raise UsageError(f"{option} takes NAME=VALUE, got {pair!r}")
        if name.strip() in found:
            raise UsageError(f"{option} {name.strip()} is given twice")
        found[name.strip()] = value.strip()
    return found
