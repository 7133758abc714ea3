"""The activations as curves, computed by what the networks compute them with."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tuner.algorithms.options import unknown
from tuner.errors import UsageError
from tuner.search_space.parameters import ACTIVATIONS, defaults
from tuner.settings import quiet_tensorflow
from tuner.system.logs import stderr_muted

_REACH = 4.0
_POINTS = 161
_FORMATS = (".png", ".svg", ".pdf")


class Drawn(NamedTuple):
    """One activation's values and derivatives at the points x."""

    name: str
    x: list[float]
    y: list[float]
    derivative: list[float]


def curves(names: Sequence[str], leaky_slope: float) -> list[Drawn]:
    """The named activations, or all. Raises SpecError for a name that is none, and UsageError for a
    slope outside [0, 1)."""
    for name in names:
        if name not in ACTIVATIONS:
            raise unknown("activation", name, ACTIVATIONS)
    if not 0 <= leaky_slope < 1:
        raise UsageError(f"the leaky slope must be >= 0 and < 1, got {leaky_slope:g}")
    x = np.linspace(-_REACH, _REACH, _POINTS)
    quiet_tensorflow()
    with stderr_muted():
        # Imported here: it takes seconds, and a wrong name should be refused at once.
        from tuner.training.ops.activations import activation_curve

        numbers = {**defaults("mlp"), "leaky_slope": leaky_slope}
        found = [(name, *activation_curve(name, x, numbers)) for name in names or ACTIVATIONS]
    return [Drawn(name, x.tolist(), y.tolist(), slope.tolist()) for name, y, slope in found]


def check_drawing(path: Path) -> None:
    """Raises UsageError for a file whose ending says no kind of drawing."""
    if path.suffix not in _FORMATS:
        raise UsageError(f"{path}: must end in {', '.join(_FORMATS)}")


def save_drawing(drawn: Sequence[Drawn], path: Path) -> None:
    """Draw into a file whose ending says its kind. Raises UsageError where it cannot be written."""
    from matplotlib.figure import Figure

    columns = min(4, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(3 * columns, 2.6 * rows), layout="constrained")
    for number, one in enumerate(drawn, start=1):
        axes = figure.add_subplot(rows, columns, number, title=one.name)
        axes.plot(one.x, one.y, label="function")
        axes.plot(one.x, one.derivative, label="derivative")
        axes.axhline(0, color="0.8", zorder=0)
        axes.axvline(0, color="0.8", zorder=0)
        if number == 1:
            axes.legend()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from error
