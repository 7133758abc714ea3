"""What MLflow can hold. All that is sent is brought into this form first, and compared in it: a
value that MLflow shortened by itself would differ for ever."""

import hashlib
import posixpath
import re

_LONGEST_PARAM = 6000
_LONGEST_TAG = 8000
_LONGEST_KEY = 250
_LONGEST_NAME = 500
# In bytes as JSON, where a character may take six of them.
_LONGEST_SOURCE = 65_535 // 7
_ELLIPSIS = "…"


def param_value(text: str) -> str:
    return _shortened(text, _LONGEST_PARAM)


def tag_value(text: str) -> str:
    return _shortened(text, _LONGEST_TAG)


def dataset_name(text: str) -> str:
    return _shortened(text, _LONGEST_NAME)


def dataset_source(text: str) -> str:
    return _shortened(text, _LONGEST_SOURCE)


def experiment_name(text: str, suffix: str = "") -> str:
    """`suffix` is kept whole."""
    return _shortened(text, _LONGEST_NAME - len(suffix)) + suffix


def key(text: str) -> str:
    """The name of a param, metric or tag. One that has to be changed ends with a hash, so that two
    of them stay two."""
    allowed = re.sub(r"[^/\w.\- :]", "_", text)
    if posixpath.normpath(allowed) != allowed or allowed.startswith(("/", "..")) or allowed == ".":
        allowed = "_" + allowed.replace("/", "_")
    if allowed == text and len(text) <= _LONGEST_KEY:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{allowed[: _LONGEST_KEY - 9]}-{digest}"


def _shortened(text: str, most: int) -> str:
    # Neither a zero byte nor half of a surrogate pair can be stored in every database.
    text = text.encode("utf-8", "replace").decode().replace("\0", "?")
    return text if len(text) <= most else text[: most - 1] + _ELLIPSIS
