"""Checks of what a Python caller gives, where a wrong type would otherwise end in a traceback."""

from tuner.errors import UsageError
from tuner.values import shown


def check_texts(**values: object) -> None:
    for name, value in values.items():
        if value is not None and not isinstance(value, str):
            raise UsageError(f"{name} must be a text, got {shown(value)}")


def check_switches(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, bool):
            raise UsageError(f"{name} must be True or False, got {shown(value)}")


def check_callbacks(callbacks: object) -> None:
    if not isinstance(callbacks, list | tuple) or not all(map(callable, callbacks)):
        raise UsageError(f"callbacks must be a list of functions, got {shown(callbacks)}")
