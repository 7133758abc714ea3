"""Findings of `tuner doctor`, and how its checks run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tuner.errors import TunerError
from tuner.system.secret_masking import without_secrets

State = Literal["ok", "warn", "fail"]
Stage = Callable[[str], None]


@dataclass(frozen=True)
class Finding:
    """One line of the output. `advice`: what to do if something is wrong."""

    check: str
    state: State
    message: str
    advice: str | None = None


# A check may have several findings.
Check = Callable[[], Iterable[Finding]]


def fine(check: str, message: str) -> Finding:
    return Finding(check, "ok", without_secrets(message))


def warning(check: str, message: str, advice: str) -> Finding:
    return Finding(check, "warn", without_secrets(message), without_secrets(advice))


def failure(check: str, message: str, advice: str | None = None) -> Finding:
    return Finding(check, "fail", without_secrets(message), advice and without_secrets(advice))


def failed_check(check: str, error: Exception, advice: str | None = None) -> Finding:
    """The finding for a check that raised an error."""
    if isinstance(error, TunerError):  # Its message is meant for the user.
        return failure(check, str(error), advice)
    line = f"{type(error).__name__}: {error}".strip(": ").splitlines()[0]
    return failure(check, line, advice)


def run_checks(checks: Mapping[str, Check], stage: Stage) -> Iterator[Finding]:
    """The findings of the checks, in order. A check that raises has failed; others still run."""
    for name, check in checks.items():
        stage(name)
        try:
            yield from check()
        except Exception as error:
            yield failed_check(name, error)


def join_first(texts: list[str], most: int = 3) -> str:
    """The first few texts, and how many more there are."""
    rest = [f"and {len(texts) - most} more"] if len(texts) > most else []
    return "; ".join([*texts[:most], *rest])


def counted(count: int, noun: str) -> str:
    """ "1 trial", "2 trials" """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
