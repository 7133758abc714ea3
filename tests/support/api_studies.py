"""Studies of toy trials, as users of the Python API have them."""

from typing import Any

from toy_study import Bench

import tuner

# The options of a search that is quick and prints nothing.
QUICK: dict[str, Any] = {"workers": 1, "tracking": False, "progress": False}


def toy(bench: Bench, name: str = "toy", **parameters: Any) -> tuner.Study:
    """A study of toy trials, with these parameters."""
    bench.create(parameters, name=name)
    return tuner.load_study(name)
