"""Times and sizes as people write them: 30m, 2GiB."""

import math
import re
from numbers import Real

from tuner.errors import UsageError
from tuner.values import shown

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
_BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_seconds(value: str | float | None, name: str) -> float | None:
    """Seconds from 90s, 30m, 1.5h or 2d, or from a number of them; None stays None. `name`: what
    errors call it. Raises UsageError."""
    return None if value is None else _parse(value, name, r"([smhd]?)", _SECONDS, _TIME)


def parse_bytes(value: str | float | None, name: str) -> float | None:
    """Bytes from 512MiB, 4G or 1.5GiB, in powers of 1024, or from a number of them; None stays
    None. `name`: what errors call it. Raises UsageError."""
    return None if value is None else _parse(value, name, r"([KMGT]?)(?:i?B)?", _BYTES, _SIZE)


_TIME = "a time such as 90s, 30m or 2h"
_SIZE = "a size such as 512MiB or 4GiB"


def _parse(value: str | float, name: str, unit: str, units: dict[str, int], what: str) -> float:
    text = value.strip() if isinstance(value, str) else ""
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        text = format(float(value), "f")
    match = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*{unit}", text, re.IGNORECASE)
    factor = (units.get(match[2]) or units.get(match[2].upper())) if match else None
    if not match or not factor or float(match[1]) <= 0:
        raise UsageError(f"{name} must be {what}, got {shown(value)}")
    return float(match[1]) * factor


def format_bytes(size: float) -> str:
    """A size for people: 512 B, 1.5 KiB, 3.4 MiB, 1.2 GiB."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
