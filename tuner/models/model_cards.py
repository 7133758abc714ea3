"""Model cards (Mitchell et al., 2019) as Markdown: what a promoted network is, what it was trained
on, what its test figures are, and how to use it."""

import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tuner.data import Dataset
from tuner.models.evaluations import Confusion, Estimate, Evaluation, Residuals
from tuner.models.final_networks import TrainingFacts
from tuner.settings import tuner_version
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow
from tuner.study.metrics import is_share, name_of, on_split
from tuner.system.names import command_elsewhere
from tuner.tracking.model_registry import champion_uri
from tuner.values import format_number, word

_PACKAGES = ("tensorflow", "keras", "numpy", "mlflow")
# A larger confusion matrix is replaced by its largest mistakes.
_MOST_LABELS = 12
_MOST_CONFUSED = 15
_MOST_CLASSES = 50
_SECTION = re.compile(r"(?m)^(?=## )")


@dataclass(frozen=True, eq=False)
class CardContent:
    """`name`: of the registered model. `figures`: by metric, the study's first. `comparison`: how
    the network stands to the champion before it, in words; None without one."""

    name: str
    study: StudyRow
    trial: TrialRow
    dataset: Dataset
    evaluation: Evaluation
    figures: Mapping[str, Estimate]
    facts: TrainingFacts
    comparison: str | None


def model_card(content: CardContent) -> str:
    """The whole card."""
    parts = [_summary(content), _use(content), _figures(content), _classes(content.evaluation)]
    parts += [_residuals(content.evaluation.residuals), _data(content), _training(content)]
    parts.append(_environment())
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines) + "\n"


def shortened_card(card: str, most: int, whole: str) -> str:
    """The card's first sections, of at most so many characters. `whole`: where all of it is."""
    if len(card) <= most:
        return card
    note = f"\nThe whole card is {whole}.\n"
    text = ""
    for section in _SECTION.split(card):
        if len(text) + len(section) + len(note) > most:
            break
        text += section
    return text + note if text else card[: most - len(note)] + note


def figure_in_words(metric: str, figure: Estimate) -> str:
    """97.41 % (95 % interval 95.20 to 98.90 %). `metric`: without a split's prefix."""
    interval = _interval(metric, figure)
    return _value(metric, figure) + (f" (95 % interval {interval})" if interval else "")


def gap_in_words(metric: str, gap: Estimate) -> str:
    """+0.74 points (95 % interval -0.37 to 2.22), of a share in percentage points."""
    scale, unit = (100, " points") if _in_percent(metric) else (1, "")
    value, low, high = (
        None if each is None else each * scale for each in (gap.value, gap.low, gap.high)
    )
    text = "–" if value is None else f"{value:+.4g}{unit}"
    if low is None or high is None:
        return text
    return f"{text} (95 % interval {low:.4g} to {high:.4g})"


def _value(metric: str, figure: Estimate) -> str:
    if figure.value is None or not _in_percent(metric):
        return format_number(figure.value)
    return f"{100 * figure.value:.2f} %"


def _interval(metric: str, figure: Estimate) -> str:
    """ "" without one."""
    if figure.low is None or figure.high is None:
        return ""
    if _in_percent(metric):
        return f"{100 * figure.low:.2f} to {100 * figure.high:.2f} %"
    return f"{format_number(figure.low)} to {format_number(figure.high)}"


def _in_percent(metric: str) -> bool:
    return is_share(on_split(metric, "test"))


def _summary(content: CardContent) -> Iterator[str]:
    study, spec = content.study, content.study.spec
    metric = name_of(spec.metric)
    yield f"# {_plain(content.name)}"
    yield ""
    yield (
        f"A network for {_task(content.dataset)}, from trial {content.trial.number} of study "
        f"{_plain(study.name)}, trained by tuner on the training and validation rows of "
        f"{_plain(content.dataset.name)}."
    )
    yield ""
    yield f"**Test {metric}: {figure_in_words(metric, content.figures[metric])}**"
    for line in (content.facts.readings, content.comparison):
        if line is not None:
            yield ""
            yield f"{_plain(line[:1].upper() + line[1:])}."


def _task(dataset: Dataset) -> str:
    if dataset.task == "regression":
        return "regression"
    labels = ", ".join(map(_plain, dataset.labels[:_MOST_LABELS]))
    more = ", …" if len(dataset.labels) > _MOST_LABELS else ""
    return f"{len(dataset.labels)} classes ({labels}{more})"


def _use(content: CardContent) -> Iterator[str]:
    uri = champion_uri(content.name)
    yield "## How to use it"
    yield ""
    shape = ", ".join(["n", *map(str, content.dataset.input_shape)])
    takes = (
        "the columns of the training data, in any order"
        if content.dataset.is_table
        else f"an array ({shape})"
    )
    yield f"It takes rows as they are: {takes}."
    yield ""
    yield from _code(
        "bash", [command_elsewhere("predict", uri, "DATA"), f"mlflow models serve -m {uri}"]
    )
    yield ""
    lines = ["import tuner", f'tuner.load_model("{uri}").predict(rows)']
    without = ["", "import mlflow  # where tuner is not installed"]
    yield from _code(
        "python", [*lines, *without, f'mlflow.pyfunc.load_model("{uri}").predict(rows)']
    )


def _code(language: str, lines: Sequence[str]) -> list[str]:
    return [f"```{language}", *lines, "```"]


def _figures(content: CardContent) -> Iterator[str]:
    evaluation = content.evaluation
    yield "## Figures on the test rows"
    yield ""
    yield (
        f"{evaluation.rows:,} rows that no trial was trained on or chosen by. Intervals: bootstrap "
        f"over the rows, {evaluation.method}, {evaluation.resamples:,} resamples."
    )
    yield ""
    rows = [
        (name, _value(name, figure), _interval(name, figure) or "–")
        for name, figure in content.figures.items()
    ]
    yield from _table(("metric", "value", "95 % interval"), rows)
    for note in evaluation.notes:
        yield ""
        yield f"{_plain(note[:1].upper() + note[1:])}."
    if evaluation.calibration is not None:
        error, brier = evaluation.calibration.expected_error, evaluation.calibration.brier
        yield ""
        yield f"Expected calibration error {error:.4f}, Brier score {brier:.4f}."


def _classes(evaluation: Evaluation) -> Iterator[str]:
    if not evaluation.per_class:
        return
    yield "## Classes"
    yield ""
    rows = [
        (
            each.label,
            f"{each.rows:,}",
            *map(format_number, (each.precision, each.recall, each.f1, each.auc)),
        )
        for each in evaluation.per_class[:_MOST_CLASSES]
    ]
    yield from _table(("class", "rows", "precision", "recall", "F1", "AUC"), rows)
    if (left_out := len(evaluation.per_class) - _MOST_CLASSES) > 0:
        yield ""
        yield f"{left_out:,} more classes are in evaluation.json."
    if evaluation.confusion is not None:
        yield ""
        yield from _confusion(evaluation.confusion)


def _confusion(confusion: Confusion) -> Iterator[str]:
    yield "## Confusion matrix"
    yield ""
    labels = confusion.labels
    if len(labels) > _MOST_LABELS:
        yield "The most common mistakes:"
        yield ""
        pairs = confusion.most_confused(_MOST_CONFUSED)
        rows = [(true, predicted, f"{count:,}") for true, predicted, count in pairs]
        yield from _table(("true class", "predicted as", "rows"), rows)
        return
    yield "Rows: the true class. Columns: the predicted one."
    yield ""
    counts = [
        (label, *(f"{count:,}" for count in row))
        for label, row in zip(labels, confusion.counts.tolist(), strict=True)
    ]
    yield from _table(("", *labels), counts)


def _residuals(residuals: Residuals | None) -> Iterator[str]:
    if residuals is None:
        return
    yield "## Errors"
    yield ""
    yield (
        f"Prediction - target: mean {format_number(residuals.mean)}, standard deviation "
        f"{format_number(residuals.deviation)}. By the size of the target:"
    )
    yield ""
    rows = [
        (
            f"{format_number(group.low)} to {format_number(group.high)}",
            f"{group.rows:,}",
            *map(format_number, (group.bias, group.mae, group.rmse)),
        )
        for group in residuals.by_target
    ]
    yield from _table(("target", "rows", "bias", "MAE", "RMSE"), rows)


def _data(content: CardContent) -> Iterator[str]:
    dataset, spec = content.dataset, content.study.spec
    data = spec.known_data
    yield "## Data"
    yield ""
    sizes = [f"{len(split):,} {part}" for part, split in dataset.splits.items()]
    facts = {
        "data": Path(data.source).name or data.source,
        "fingerprint": spec.fingerprint,
        "rows": ", ".join(sizes),
        "seed of the split": str(data.seed),
        "columns left out": ", ".join(dataset.target_column.ignored),
        "weights": data.weights or "",
    }
    yield from _facts(facts)


def _training(content: CardContent) -> Iterator[str]:
    study, trial, facts = content.study, content.trial, content.facts
    spec = study.spec
    yield "## Training"
    yield ""
    varying = spec.space.varying()
    yield from _facts(
        {
            "study": f"{study.name} ({study.uuid})",
            "trial": str(trial.number),
            "score in the search": f"{spec.metric} {format_number(trial.value)}",
            "network": spec.space.network,
            "trained on": "train + validation",
            "epochs": str(facts.epochs),
            "seed of the study": str(spec.seed),
            "parameters of the network": f"{facts.parameter_count:,}",
            "seconds": f"{facts.seconds:.1f}",
            "searched": ", ".join(varying),
        }
    )
    yield ""
    params = trial.params | {"epochs": facts.epochs}
    rows = [(name, _in_words(value)) for name, value in params.items()]
    yield from _table(("hyperparameter", "value"), rows)


def _in_words(value: Any) -> str:
    return ", ".join(map(word, value)) if isinstance(value, list) else word(value)


def _environment() -> Iterator[str]:
    yield "## Environment"
    yield ""
    versions = {"tuner": tuner_version(), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    kind = f"{platform.system()}, {platform.machine()}, {os.cpu_count()} cores"
    yield from _facts({**versions, "machine": kind})


def _facts(facts: Mapping[str, str]) -> Iterator[str]:
    for name, value in facts.items():
        if value:
            yield f"- {name}: {_plain(value)}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(heads)
    yield _row(["---"] * len(heads))
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _plain(text: str) -> str:
    """In one line, without what Markdown or a page would take for markup."""
    return " ".join(re.sub(r"([`*<\\])", r"\\\1", text).split())
