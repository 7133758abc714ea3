"""Judging a network by data whose targets are known: reading, scoring, and the figures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tuner.data.later_rows import LaterRows, RowBlock
from tuner.errors import DatasetError
from tuner.models.evaluations import Evaluation, evaluate_outputs
from tuner.models.predicting import Scoring
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.preparation import Findings, Preparation


@dataclass(frozen=True)
class DataEvaluation:
    """The figures of a network on some data. `network`, `data`: what they are called. `notes`:
    lines on the network, the data and the figures."""

    network: str
    data: str
    description: NetworkDescription
    evaluation: Evaluation
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON takes it."""
        about = {
            "network": self.network,
            "study": self.description.study or None,
            "trial": self.description.trial,
            "data": self.data,
        }
        return about | self.evaluation.to_json() | {"notes": list(self.notes)}


def evaluate_data(
    scoring: Scoring, strict: bool = False, count: Callable[[int], None] = lambda rows: None
) -> DataEvaluation:
    """The figures of the network on the data, whose targets are not given to it. `strict`: refuse
    categories that no training row had. `count` is told how many rows are scored so far.

    Raises DatasetError for data without a target, with a label that the network does not know, or
    that the network cannot take.
    """
    network = scoring.description
    findings, outputs, targets = Findings(), [], []
    for scored in _with_targets(scoring).blocks(strict):
        findings.add(scored.findings)
        outputs.append(scored.outputs)
        targets.append(scored.block.target)
        count(findings.rows)
    evaluation = evaluate_outputs(
        np.concatenate(outputs), np.concatenate(targets), network.task, network.labels
    )
    notes = (*scoring.remarks, *scoring.rows.notes, *findings.lines(), *evaluation.notes)
    return DataEvaluation(
        scoring.where, scoring.rows.source, network, evaluation, tuple(dict.fromkeys(notes))
    )


def _with_targets(scoring: Scoring) -> Scoring:
    """The same, but targets that are missing or cannot be read are found while the rows are read:
    before TensorFlow is imported."""
    rows = scoring.rows

    def read() -> Iterator[RowBlock]:
        for block in rows.blocks():
            if block.target is None:
                raise _no_target(rows, scoring.description.preparation)
            yield block

    return replace(scoring, rows=replace(rows, read=read))


def _no_target(rows: LaterRows, preparation: Preparation) -> DatasetError:
    if preparation.target is None:
        return DatasetError(
            f"{rows.source}: holds no targets to compare predictions with; tuner predict takes it"
        )
    return DatasetError(
        f"{rows.source}: lacks the target {preparation.target!r} to compare predictions with; name "
        "the column that holds it: FILE:COLUMN"
    )
