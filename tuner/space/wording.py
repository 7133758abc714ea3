"""Mistakes in a search space, from wherever they were found, as one line each."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tuner.parameters import nearest, shown
from tuner.space.ranges import RANGES
from tuner.space.scalars import InvalidError

FILE_KEYS = ("network", "parameters", "baselines", "data", "columns", "references")


def explained(error: ValidationError) -> InvalidError:
    """The first of pydantic's mistakes, counting the others."""
    details = error.errors(include_url=False)
    first = _wrong(details[0])
    first.more += len(details) - 1
    return first


def in_one_line(wrong: InvalidError) -> str:
    """ "parameters.learning_rate.low must be > 0, got 0 (and 2 more)" """
    place = placed(wrong.keys)
    more = f" (and {wrong.more} more)" if wrong.more else ""
    return f"{place} {wrong.text}{more}".strip()


def placed(keys: tuple[str | int, ...]) -> str:
    """("baselines", 0, "width") as "baselines[0].width"."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += ("." if text else "") + (
                key if key.isidentifier() and len(key) <= 60 else shown(key)
            )
    return text


def _wrong(details: ErrorDetails) -> InvalidError:
    keys = details["loc"]
    tag = ""
    if keys[0:1] == ("parameters",) and len(keys) > 2:
        tag = str(keys[2])  # which kind of range pydantic read it as; no key of the file
        keys = (*keys[:2], *keys[3:])
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, InvalidError):
        return cause.under(*keys)
    return InvalidError(_text(details, tag), *keys)


def _text(details: ErrorDetails, tag: str) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        valid = RANGES[tag].model_fields if tag in RANGES else FILE_KEYS
        return f"is no known key; known: {', '.join(nearest(str(details['loc'][-1]), valid))}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        given = details["input"].get("type") if isinstance(details["input"], dict) else None
        ordered = nearest(given, RANGES) if isinstance(given, str) else list(RANGES)
        got = "" if given is None else f", got {shown(given)}"
        return f"needs a type, one of {', '.join(ordered)}{got}"
    return TEXTS.get(kind) or details["msg"].replace("Input should", "should")


TEXTS = {
    "missing": "is missing",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of names to values",
    "tuple_type": "must be a list",
    "string_type": "must be a string",
}
