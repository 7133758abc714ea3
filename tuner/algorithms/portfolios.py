"""Configurations that were good on many data sets, by the kind of study that tries them first.

`portfolios.json` holds {kind: [configuration, …]}, the best to begin with first.
"""

import json
from functools import cache
from importlib.resources import files

from tuner.values import Scalar

_NOTE = "_about"  # where the file's configurations came from


@cache
def _read() -> dict[str, list[dict[str, Scalar | list[Scalar]]]]:
    text = (files("tuner.algorithms") / "portfolios.json").read_text(encoding="utf-8")
    return {kind: each for kind, each in json.loads(text).items() if kind != _NOTE}


def portfolio_kinds() -> list[str]:
    """The kinds of studies for which there is a portfolio."""
    return list(_read())


def portfolio(kind: str) -> list[dict[str, Scalar | list[Scalar]]]:
    """The portfolio of that kind; empty where there is none."""
    return [dict(configuration) for configuration in _read().get(kind, [])]
