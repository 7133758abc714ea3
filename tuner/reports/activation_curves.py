"""The activation functions as curves, computed by the code that networks use, and drawn into files
by matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tuner.algorithms.options import unknown
from tuner.errors import UsageError
from tuner.reports.chart_files import writing
from tuner.search_space.parameters import ACTIVATIONS, defaults
from tuner.settings import quiet_tensorflow
from tuner.system.redirecting import stderr_muted

_REACH = 4.0
_POINTS = 161


class ActivationCurve(NamedTuple):
    """One activation: its values and derivatives at the points x."""

    name: str
    x: list[float]
    y: list[float]
    derivative: list[float]


def activation_curves(names: Sequence[str], leaky_slope: float) -> list[ActivationCurve]:
    """The named activations, or all of them. Raises SpecError for an unknown name, and UsageError
    for a slope outside [0, 1)."""
    for name in names:
        if name not in ACTIVATIONS:
            raise unknown("activation", name, ACTIVATIONS)
    if not 0 <= leaky_slope < 1:
        raise UsageError(f"the leaky slope must be >= 0 and < 1, got {leaky_slope:g}")
    x = np.linspace(-_REACH, _REACH, _POINTS)
    quiet_tensorflow()
    with stderr_muted():
        # TensorFlow takes seconds to import. Mistakes are reported before that.
        from tuner.training.ops.activations import activation_curve

        numbers = {**defaults("mlp"), "leaky_slope": leaky_slope}
        curves = [(name, *activation_curve(name, x, numbers)) for name in names or ACTIVATIONS]
    return [
        ActivationCurve(name, x.tolist(), y.tolist(), slope.tolist()) for name, y, slope in curves
    ]


def save_drawing(curves: Sequence[ActivationCurve], path: Path) -> None:
    """Draw into a file, in the format of its suffix. Raises UsageError if it cannot be written."""
    from matplotlib.figure import Figure

    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3 * columns, 2.6 * rows), layout="constrained")
    for number, curve in enumerate(curves, start=1):
        axes = figure.add_subplot(rows, columns, number, title=curve.name)
        axes.plot(curve.x, curve.y, label="function")
        axes.plot(curve.x, curve.derivative, label="derivative")
        axes.axhline(0, color="0.8", zorder=0)
        axes.axvline(0, color="0.8", zorder=0)
        if number == 1:
            axes.legend()
    with writing(path):
        figure.savefig(path, dpi=150)
