"""Where trials can be imported from: one module a kind of source, found by what its name is.

To add one: a module with `recognizes(wanted)` and `read(wanted)`, and its line in SOURCES.
"""

import importlib
from dataclasses import dataclass
from typing import Protocol, cast

from tuner.errors import UsageError
from tuner.study.history import History
from tuner.values import shown

# Imported when they are asked, in this order.
SOURCES = (
    "tuner.manage.sources.mlflow_experiments",
    "tuner.manage.sources.keras_tuner_folders",
    "tuner.manage.sources.result_tables",
    "tuner.manage.sources.optuna_studies",
)


@dataclass(frozen=True)
class WantedHistory:
    """`source`: a URL or a path. `study`, `experiment`: which of an Optuna database, or of MLflow.
    `metric`: the metric that is wanted of each trial, with its direction."""

    source: str
    metric: str
    maximize: bool
    study: str | None = None
    experiment: str | None = None


class TrialSource(Protocol):
    """A module of this room."""

    def recognizes(self, wanted: WantedHistory) -> bool:
        """Whether the source is of this kind, from its name and what lies there."""
        ...

    def read(self, wanted: WantedHistory) -> History:
        """All trials of the source. Raises UsageError where it cannot be read."""
        ...


def read_history(wanted: WantedHistory) -> History:
    """The trials of the source. Raises UsageError for one that is of no known kind."""
    for name in SOURCES:
        module = cast(TrialSource, importlib.import_module(name))
        if module.recognizes(wanted):
            return module.read(wanted)
    raise UsageError(
        f"{shown(wanted.source)} is no source of trials: give the URL of an Optuna database "
        "(sqlite:///study.db), a KerasTuner folder (with oracle.json), an MLflow tracking URI with "
        "--experiment NAME, or a CSV file"
    )
