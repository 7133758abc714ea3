"""What a check of `tuner doctor` has found."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tuner.errors import TunerError
from tuner.system.logs import without_secrets

State = Literal["ok", "warn", "fail"]
Stage = Callable[[str], None]


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at and found. `advice`: what to do where that is not fine."""

    check: str
    state: State
    found: str
    advice: str | None = None


# A check by name: it may have several things to say.
Look = Callable[[], Iterable[Finding]]


def fine(check: str, found: str) -> Finding:
    return Finding(check, "ok", without_secrets(found))


def warning(check: str, found: str, advice: str) -> Finding:
    return Finding(check, "warn", without_secrets(found), without_secrets(advice))


def failure(check: str, found: str, advice: str | None = None) -> Finding:
    return Finding(check, "fail", without_secrets(found), advice and without_secrets(advice))


def broken(check: str, error: Exception, advice: str | None = None) -> Finding:
    """A check that could not be made."""
    if isinstance(error, TunerError):  # worded for the user
        return failure(check, str(error), advice)
    line = f"{type(error).__name__}: {error}".strip(": ").splitlines()[0]
    return failure(check, line, advice)


def look_at(looks: Mapping[str, Look], stage: Stage) -> Iterator[Finding]:
    """What the checks find, one after another; what one of them raises is its failure."""
    for check, look in looks.items():
        stage(check)
        try:
            yield from look()
        except Exception as error:  # a doctor that dies of an illness has not told of it
            yield broken(check, error)


def several(told: list[str], most: int = 3) -> str:
    """The first few of many, and how many more there are."""
    rest = [f"and {len(told) - most} more"] if len(told) > most else []
    return "; ".join([*told[:most], *rest])


def counted(count: int, noun: str) -> str:
    """ "1 place", "2 places" """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
