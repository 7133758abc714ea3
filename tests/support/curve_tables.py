"""Small tables of learning curves, and a search method that does as it is told."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import parquet

from benchmarks.search.contract import Answer, NewTrial, PausedTrial
from benchmarks.search.spaces import TableParameter, TableSpace
from benchmarks.search.tables import CurveTable

MIXED_SPACE = TableSpace(
    (
        TableParameter("optimizer", "categorical", choices=("sgd", "adam")),
        TableParameter("rate", "float", 1e-4, 1.0, log=True),
        TableParameter("momentum", "float", 0.0, 0.9, condition=("optimizer", ("sgd",))),
        TableParameter("depth", "int", 1, 4),
    )
)


def mixed_table(name: str = "mixed", size: int = 60, epochs: int = 9, seed: int = 0) -> CurveTable:
    """Losses that fall towards a floor set by rate and depth; every tenth trial diverges."""
    random = np.random.default_rng(seed)
    configurations = tuple(MIXED_SPACE.sample(random) for _ in range(size))
    rates = np.log10([float(params["rate"]) for params in configurations])
    depths = np.array([float(params["depth"]) for params in configurations])
    floors = 0.1 + (rates + 2) ** 2 / 8 + (depths - 2) ** 2 / 20
    curves = floors[:, None] + 1.0 / np.arange(1, epochs + 1)[None, :]
    curves[::10, epochs // 2 :] = np.nan
    return CurveTable(name, MIXED_SPACE, configurations, curves, default=configurations[1])


def write_parquet(table: CurveTable, path: Path, direction: str = "maximize") -> None:
    """As `make_tables` would: accuracies that are to be maximised are stored as they are."""
    columns: dict[str, object] = {
        name: [params.get(name) for params in table.configurations] for name in table.space.names
    }
    sign = -1.0 if direction == "maximize" else 1.0
    for epoch in range(table.max_epochs):
        columns[f"epoch_{epoch + 1:02d}"] = (sign * table.curves[:, epoch]).astype(np.float32)
    columns["seconds"] = np.full(len(table.configurations), 2.0)
    facts = {
        "space": table.space.to_json(),
        "metric": "val_accuracy",
        "direction": direction,
        "default": table.default,
        "data": "none",
        "versions": {},
        "kind": table.kind,
    }
    written = pyarrow.table(columns).replace_schema_metadata({"tuner": json.dumps(facts)})
    parquet.write_table(written, path)


class ScriptedMethod:
    """Starts the trials in turn; `answers`: by trial and epoch, GO_ON where it says nothing.
    `resumed`: paused trials to go on with, once all have been started. `told`: all it was told."""

    def __init__(
        self,
        trials: Sequence[Mapping[str, bool | int | float | str]],
        answers: Mapping[tuple[int, int], Answer] | None = None,
        resumed: Sequence[int] = (),
        number: Callable[[int], int] = lambda index: index,
    ) -> None:
        self._trials, self._answers, self._number = list(trials), dict(answers or {}), number
        self._resumed, self._started = list(resumed), 0
        self.told: list[tuple[object, ...]] = []

    def ask(self) -> NewTrial | PausedTrial | None:
        if self._started < len(self._trials):
            self._started += 1
            number = self._number(self._started - 1)
            return NewTrial(number, dict(self._trials[self._started - 1]))
        return PausedTrial(self._resumed.pop(0)) if self._resumed else None

    def report(self, trial: int, epoch: int, value: float) -> Answer:
        self.told.append(("report", trial, epoch, value))
        return self._answers.get((trial, epoch), Answer.GO_ON)

    def finished(self, trial: int, value: float) -> None:
        self.told.append(("finished", trial, value))
