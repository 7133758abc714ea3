"""Judging a network by data whose targets are known: reading, scoring, and the figures."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.later_rows import LaterRows, RowBlock
from tuner.errors import DatasetError
from tuner.models.evaluations import Evaluation, evaluate_outputs
from tuner.models.predicting import Scoring
from tuner.preparation.network_description import NetworkDescription
from tuner.preparation.predictions import join_outputs
from tuner.preparation.preparation import Findings
from tuner.preparation.row_sample import Seen
from tuner.system.names import command
from tuner.values import join_names

_Array = npt.NDArray[Any]

# So many rows tell a share; fewer only that there are some.
_ENOUGH_LOOKED_UP = 20
_MOST_BY_CHANCE = 0.1


@dataclass(frozen=True)
class DataEvaluation:
    """The figures of a network on some data.

    `network`, `data`: what they are called. `target`: the name of the data's target; None where it
    has none. `seen`: how many of the rows are in the network's training and validation splits; None
    where its file does not tell. `notes`: lines on the network, the data and the figures.
    """

    network: str
    data: str
    target: str | None
    description: NetworkDescription
    evaluation: Evaluation
    seen: Seen | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON takes it."""
        about = {
            "network": self.network,
            "study": self.description.study or None,
            "trial": self.description.trial,
            "data": self.data,
            "target": self.target,
        }
        seen = self.seen and asdict(self.seen)
        return about | self.evaluation.to_json() | {"seen": seen, "notes": list(self.notes)}


def evaluate_data(
    scoring: Scoring, strict: bool = False, count: Callable[[int], None] = lambda rows: None
) -> DataEvaluation:
    """The figures of the network on the data, whose targets are not given to it. `strict`: refuse
    categories that no training row had. `count` is told how many rows are scored so far.

    Raises DatasetError for data without a target, with a label that the network does not know, or
    that the network cannot take.
    """
    network, sample = scoring.description, scoring.description.seen
    findings, outputs, targets = Findings(), list[Any](), list[Any]()
    seen = None if sample is None else Seen()
    for scored in _with_targets(scoring).blocks(strict):
        findings.add(scored.findings)
        outputs.append(scored.outputs)
        assert scored.block.target is not None  # As `_with_targets` has checked.
        targets.append(scored.block.target)
        if seen is not None and sample is not None:
            seen += sample.compare(scored.inputs)
        count(findings.rows)
    scored_outputs, scored_targets, beyond = _with_known_future(
        join_outputs(outputs), join_outputs(targets), scoring
    )
    evaluation = evaluate_outputs(
        scored_outputs, scored_targets, network.task, network.labels, heads=network.heads
    )
    about_data = (*scoring.remarks, *scoring.rows.notes, *findings.lines(), *beyond)
    notes = (*about_data, *evaluation.notes, *notes_on_rows(network, seen))
    return DataEvaluation(
        network=scoring.where,
        data=scoring.rows.source,
        target=scoring.rows.target,
        description=network,
        evaluation=evaluation,
        seen=seen,
        notes=tuple(dict.fromkeys(notes)),
    )


def _with_known_future(outputs: Any, targets: Any, scoring: Scoring) -> tuple[Any, Any, list[str]]:
    """Of forecasts those whose whole future is in the data, with a note on the others. Raises
    DatasetError if there are none."""
    if scoring.description.preparation.window is None:
        return outputs, targets, []
    has_future = np.isfinite(targets.reshape(len(targets), -1)).all(axis=1)
    if not has_future.any():
        raise DatasetError(
            f"{scoring.rows.source}: no forecast ends within the data; give rows that go on behind "
            "the windows"
        )
    beyond = int((~has_future).sum())
    notes = [f"{beyond} forecasts reach beyond the data: they are left out"] if beyond else []
    return outputs[has_future], targets[has_future], notes


def notes_on_rows(network: NetworkDescription, seen: Seen | None) -> list[str]:
    """What the figures of a network do not say of the rows. `seen`: as of `DataEvaluation`."""
    return [*_notes_on_weights(network), *_notes_on_seen(seen)]


def _notes_on_weights(network: NetworkDescription) -> list[str]:
    if (weights := network.preparation.weights) is None:
        return []
    return [f"training weighed rows by {weights!r}; in these figures all rows count alike"]


def _notes_on_seen(seen: Seen | None) -> list[str]:
    """What is to be said where rows were seen in training. Few rows of unseen data may equal one
    by chance."""
    if seen is None or not seen.seen:
        return []
    share = seen.seen / seen.looked_up
    rows = f"{seen.rows:,} rows"
    if seen.looked_up == seen.rows:
        which = f"{seen.seen:,} of these {rows}"
    elif seen.looked_up >= _ENOUGH_LOOKED_UP:
        which = f"about {max(1, round(100 * share))} % of these {rows}"
    else:
        which = f"some of these {rows}"
    if share < _MOST_BY_CHANCE:
        return [f"{which} equal rows that the network was trained or validated on"]
    return [
        f"the network was trained or validated on {which}: on new rows it will do worse than these "
        "figures say"
    ]


def _with_targets(scoring: Scoring) -> Scoring:
    """The same, but targets that are missing or cannot be read are found while the rows are read:
    before TensorFlow is imported."""
    rows = scoring.rows

    def read() -> Iterator[RowBlock]:
        for block in rows.blocks():
            if block.target is None:
                raise _no_target(rows, scoring.description)
            yield block

    return replace(scoring, rows=replace(rows, read_blocks=read))


def _no_target(rows: LaterRows, network: NetworkDescription) -> DatasetError:
    several = [name for head in network.targets for name in head.target_columns]
    if len(several) > 1:
        return DatasetError(
            f"{rows.source}: lacks some of the targets to compare predictions with: "
            f"{join_names(several)}"
        )
    if (target := network.preparation.target) is None:
        return DatasetError(
            f"{rows.source}: holds no targets to compare predictions with; it can be predicted: "
            + command("predict", "MODEL", rows.source)
        )
    return DatasetError(
        f"{rows.source}: lacks the target {target!r} to compare predictions with; name "
        "the column that holds it: FILE:COLUMN"
    )
