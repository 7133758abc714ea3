"""A data set in words and numbers, for `tuner data describe` and for notes.

What each column was taken for, which columns cannot be learnt from, and which give the target away.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.class_balance import imbalance_note
from tuner.data.columns import ReadTable
from tuner.data.dataset import ColumnReport, Dataset, InputPart, Split, TargetPart
from tuner.data.named_rows import named_parts
from tuner.data.rows import Features, sampled_rows
from tuner.data.sequence_lengths import describe_sequences
from tuner.data.table_encoding import Table
from tuner.data.target import Target
from tuner.preparation.cells import Cells
from tuner.preparation.date_texts import TIME
from tuner.preparation.encoding import Column
from tuner.preparation.number_texts import most_common
from tuner.values import clipped

# With fewer rows a column may equal the target by chance.
_FEWEST_ROWS = 20

# The error of rounding to float32, in standard deviations of the target.
_ROUNDING = 1e-5


def leak_notes(
    train: Split, columns: Sequence[Column] | None, names: Sequence[str] | None
) -> list[str]:
    """A line for each column of the training matrix that gives the target away: its values match
    the classes one to one, or are the target times a factor plus an offset."""
    if train.x.ndim != 2 or len(train) < _FEWEST_ROWS:
        return []
    numbers = sampled_rows(len(train), train.x.shape)
    x, y = train.x[numbers], train.y[numbers]
    words = list(names) if names is not None else [str(i + 1) for i in range(x.shape[1])]
    if y.dtype.kind == "f":
        same, how = _linear(x, y), "is the target, but for a factor and an offset"
    else:
        x, words = _with_codes(x, words, columns or ())
        same, how = _one_to_one(x, y), "has one value for each class, and gives it away"
    return [f"column {words[i]} {how}: leave it out" for i in np.flatnonzero(same)]


def _with_codes(
    x: Features, words: list[str], columns: Sequence[Column]
) -> tuple[Features, list[str]]:
    """Add one column for each category that is encoded in several."""
    codes = list(_codes(x, columns))
    more = [code for _, code in codes]
    return np.column_stack([x, *more]), words + [name for name, _ in codes]


def _codes(x: Features, columns: Sequence[Column]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    start = 0
    for column in columns:
        width = len(column.features)
        if width > 2 and column.kind == "category":
            yield column.name, x[:, start : start + width].argmax(axis=1)
        start += width


def _linear(x: Features, y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    wanted = y.astype(np.float64) - y.mean(dtype=np.float64)
    deviation = float(np.sqrt(np.mean(np.square(wanted))))
    same = np.zeros(x.shape[1], np.bool_)
    if deviation == 0:
        return same
    for number in range(x.shape[1]):
        column = x[:, number].astype(np.float64)
        column -= column.mean()
        length = float(column @ column)
        if length > 0:
            left = wanted - column * (column @ wanted / length)
            same[number] = np.abs(left).max() <= _ROUNDING * deviation
    return same


def _one_to_one(x: Features, y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    classes, first = np.unique(y, return_index=True)
    rank = np.searchsorted(classes, y)
    values = x[first]  # of each class's first row
    same = (x == values[rank]).all(axis=0) & (len(classes) > 1)
    for number in np.flatnonzero(same):
        same[number] = len(np.unique(values[:, number])) == len(classes)
    return np.asarray(same)


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Rows, shapes, classes or target range, scaling, weights, notes, as plain values for JSON. Of
    several inputs and targets, by name."""
    imbalance = imbalance_note(dataset)
    shapes, x = dataset.input_shape, named_parts(dataset.train.x)
    named = bool(dataset.inputs)
    methods = {name: part.scaling.method for name, part in dataset.input_parts.items()}
    return {
        "name": dataset.name,
        "task": dataset.task,
        "rows": {part: len(split) for part, split in dataset.splits.items()},
        "input_shape": {n: list(s) for n, s in shapes.items()} if named else list(shapes),
        "dtype": {n: str(rows.dtype) for n, rows in x.items()} if named else str(x[""].dtype),
        "outputs": dataset.outputs,
        **_sequences(dataset),
        **_targets(dataset),
        "columns": [asdict(report) for report in dataset.reports],
        "features": None if dataset.features is None else list(dataset.features),
        "scaling": methods if named else methods[""],
        "weights": _weights(dataset.train.weights),
        "notes": [*([imbalance] if imbalance else []), *dataset.notes],
        "bytes": dataset.nbytes,
        "fingerprint": dataset.fingerprint,
    }


def _sequences(dataset: Dataset) -> dict[str, Any]:
    """What is said of sequences and tokens; of several inputs by name under "sequences"."""
    rows = named_parts(dataset.train.x)
    facts = {n: describe_sequences(part, rows[n]) for n, part in dataset.input_parts.items()}
    if not dataset.inputs:
        return facts[""]
    held = {name: each for name, each in facts.items() if each}
    return {"sequences": held} if held else {}


def _targets(dataset: Dataset) -> dict[str, Any]:
    """What each target holds: of a single one directly, of several by name under "targets"."""
    splits: dict[str, dict[str, Any]] = {
        part: named_parts(split.y) for part, split in dataset.splits.items()
    }
    if not dataset.heads:
        target = dataset.targets[0]
        return _target(target, {part: rows[""] for part, rows in splits.items()})
    return {
        "targets": {
            head.name: {
                "task": head.task,
                "weight": head.weight,
                **_target(head, {part: rows[head.name] for part, rows in splits.items()}),
            }
            for head in dataset.heads
        }
    }


def _target(target: TargetPart, y: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    if target.task == "regression":
        return {"target": _statistics(target, y["train"])}
    if target.task == "multilabel":
        return {"labels": _rows_of_labels(target, y)}
    return {"classes": _rows_of_classes(target, y)}


def _rows_of_classes(target: TargetPart, y: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """The rows of each class by part, in the order of the class indices."""
    counts = {part: np.bincount(rows, minlength=len(target.labels)) for part, rows in y.items()}
    return {
        label: {part: int(rows[i]) for part, rows in counts.items()}
        for i, label in enumerate(target.labels)
    }


def _rows_of_labels(target: TargetPart, y: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """The rows that have each label, by part."""
    return {
        label: {part: int(rows[:, i].sum()) for part, rows in y.items()}
        for i, label in enumerate(target.labels)
    }


def _statistics(target: TargetPart, train: npt.NDArray[Any]) -> dict[str, Any]:
    """Statistics of the training rows, in the units of the target; of k values by name."""
    y = train.astype(np.float64) + target.shift
    if y.ndim == 1:
        return _of_values(y)
    return {name: _of_values(y[:, i]) for i, name in enumerate(target.values)}


def _of_values(y: npt.NDArray[np.float64]) -> dict[str, float]:
    return {
        "low": float(y.min()),
        "high": float(y.max()),
        "mean": float(y.mean()),
        "deviation": float(y.std()),
    }


def _weights(weights: npt.NDArray[np.float32] | None) -> dict[str, float] | None:
    """Statistics of the training rows' weights."""
    if weights is None:
        return None
    wide = weights.astype(np.float64)
    return {
        "low": float(wide.min()),
        "high": float(wide.max()),
        "mean": float(wide.mean()),
        "zeros": int(np.count_nonzero(wide == 0)),
    }


def describe_inputs(dataset: Dataset) -> str:
    """The inputs of a network: their shape, dtype and scaling."""
    shapes = dataset.input_shape
    if not dataset.inputs:
        return f"inputs of shape {shapes}, {_in_words(dataset.input_parts[''], shapes)}"
    lines = [
        f"{name} of shape {shapes[name]}, {_in_words(part, shapes[name])}"
        for name, part in dataset.inputs.items()
    ]
    return f"a dict of inputs: {'; '.join(lines)}"


def _in_words(part: InputPart, shape: Sequence[int]) -> str:
    if part.input_kind == "tokens":
        return f"numbers of words below {part.vocabulary_size}, 0 for padding"
    words = {
        "none": "as they are, not scaled",
        "minmax": "scaled to 0..1",
        "center": "scaled to -0.5..0.5",
        "standardize": "standardised",
    }[part.scaling.method]
    if part.scaling.scale.ndim:
        words += " per column" if len(shape) == 1 else " per channel"
    if any(column.categories is not None for column in part.columns or ()):
        words += "; a category's columns are 0 and 1"
    if part.padding is not None:
        words += "; the last channel is 1 for a step that is there, 0 for padding"
    return f"float32, {words}"


# Different numbers are counted up to this many rows: sorting more takes longer than reading.
_FIRST_ROWS = 100
_MOST_ROWS = 200_000
_MOST_NAMED = 4
_VALUES = 21  # characters, so that the table fits 80
_NAME = 24  # characters of a name or a value in a sentence
_PLURALS = {"category": "categories"}


def report_columns(
    table: ReadTable, columns: Sequence[Column], targets: Sequence[ColumnReport]
) -> tuple[ColumnReport, ...]:
    """A report on each column. Columns that were left out and the targets come last."""
    times = {column.name for column in table.columns if column.format.order == TIME}
    reports = [
        ColumnReport(
            name=column.name,
            kind=column.kind,
            features=len(column.features),
            gaps=sum(int(cells[column.name].gaps().sum()) for cells in table.parts.values()),
            different=_different(table.parts["train"][column.name]),
            **_shown_values(table.parts["train"][column.name], column.name in times),
        )
        for column in columns
    ]
    reports += [
        ColumnReport(name, "drop", features=0, gaps=None, different=None) for name in table.dropped
    ]
    return (*reports, *targets)


def report_targets(y: Any, target: Target) -> tuple[ColumnReport, ...]:
    """The reports on the targets that have names."""
    if target.heads:
        reports = (report for name in target.heads for report in _reports_of_head(name, target))
        return tuple(reports)
    names = target.value_names or (target.labels if target.task == "multilabel" else ())
    if names:
        values = np.concatenate(list(target.values.values()))
        return tuple(_report_values(name, values[:, i]) for i, name in enumerate(names))
    name = getattr(y, "name", None)
    return () if name is None else (_report_one(str(name), target),)


def _reports_of_head(name: str, target: Target) -> tuple[ColumnReport, ...]:
    head = target.heads[name]
    return (_report_one(name, head),) if not head.value_names else report_targets(None, head)


def _report_one(name: str, target: Target) -> ColumnReport:
    """The report on a target with one value a row."""
    if target.labels:
        return ColumnReport(
            name, "target", features=0, gaps=0, different=len(target.labels),
            examples=target.labels[:3],
        )  # fmt: skip
    return _report_values(name, np.concatenate(list(target.values.values())))


def _report_values(name: str, values: npt.NDArray[Any]) -> ColumnReport:
    cells = Cells(values)
    report = ColumnReport(name, "target", features=0, gaps=0, different=_different(cells))
    return replace(report, **_shown_values(cells))


def _different(cells: Cells) -> int | None:
    if cells.form == "texts":
        return len(cells.texts)
    if len(cells) > _MOST_ROWS:
        return None
    return len(np.unique(cells.values[~cells.gaps()]))


def _shown_values(cells: Cells, are_times: bool = False) -> dict[str, Any]:
    if cells.form == "texts":
        return {"examples": tuple(most_common(cells.texts, cells.counts()))}
    values = cells.values
    if values.dtype.kind == "f":
        low, high = np.fmin.reduce(values), np.fmax.reduce(values)
    else:
        low, high = values.min(), values.max()
    if np.isnan(low):
        return {}
    if cells.form == "dates":
        write: Callable[[Any], str] = _time if are_times else _date
    else:
        write = _number
    return {"low": write(low), "high": write(high)}


def _number(value: Any) -> str:
    number = float(value)
    return f"{number:.0f}" if number.is_integer() and abs(number) < 1e15 else f"{number:.6g}"


def _date(seconds: float) -> str:
    text = str(np.datetime64(int(np.floor(seconds)), "s")).replace("T", " ")
    return text.removesuffix(" 00:00:00")


def _time(seconds: float) -> str:
    """A time of the day, without a date."""
    return str(np.datetime64(int(np.floor(seconds)), "s")).partition("T")[2]


def constant_notes(train: Table, columns: Sequence[Column]) -> list[str]:
    """A line for each column whose training rows are all equal: nothing can be learnt from it."""
    lines = []
    for column in columns:
        if _varies_at_once(train, column):
            continue
        cells = train.column(column.name)
        gaps = cells.gaps()
        if gaps.all():
            lines.append(f"{column.name}: is empty in the training rows; nothing is learnt from it")
        elif column.kind == "text" and not column.categories:
            lines.append(f"{column.name}: holds no words in the training rows")
        elif not gaps.any() and cells.values.min() == cells.values.max():
            value = cells.texts[cells.values[0]] if cells.texts else _shown_values(cells)["low"]
            only = clipped(value, _NAME)
            lines.append(
                f"{column.name}: holds one value only in the training rows ({only}); "
                "nothing is learnt from it"
            )
    return lines


def _varies_at_once(train: Table, column: Column) -> bool:
    """Whether the first rows differ already, so that the others need no check."""
    cells = train.cells[column.name]
    first = Cells(cells.values[train.rows(0, _FIRST_ROWS)], cells.form, cells.texts)
    values = first.values[~first.gaps()]
    return column.kind != "text" and len(values) > 1 and bool(values.min() != values.max())


def summarize_columns(reports: Iterable[ColumnReport]) -> str:
    """The kinds of columns in one line: "7 numbers, 3 categories (town 12, …), 1 date (when)"."""
    by_kind: dict[str, list[ColumnReport]] = {}
    for report in reports:
        by_kind.setdefault(report.kind, []).append(report)
    parts = [
        _kind_in_brief(kind, by_kind[kind])
        for kind in ("number", "category", "text", "date")
        if kind in by_kind
    ]
    line = ", ".join(parts)
    dropped = by_kind.get("drop", [])
    if dropped:
        line += f"; left out: {_named([report.name for report in dropped])}"
    return line


def _kind_in_brief(kind: str, reports: Sequence[ColumnReport]) -> str:
    many = _PLURALS.get(kind, f"{kind}s") if len(reports) > 1 else kind
    if kind == "number":
        return f"{len(reports)} {many}"
    with_count = kind in ("category", "text")
    names = [f"{each.name} {each.features}" if with_count else each.name for each in reports]
    return f"{len(reports)} {many} ({_named(names)})"


def _named(names: Sequence[str]) -> str:
    first = [clipped(name, _NAME) for name in names[:_MOST_NAMED]]
    return ", ".join(first) + (", …" if len(names) > _MOST_NAMED else "")


def tabulate_columns(reports: Iterable[ColumnReport]) -> list[Mapping[str, Any]]:
    """The reports as rows of a table that fits 80 columns."""
    return [
        {
            "column": clipped(report.name, 18),
            "kind": report.kind,
            "features": report.features,
            "gaps": report.gaps,
            "different": report.different,
            "values": _values(report),
        }
        for report in reports
    ]


def _values(report: ColumnReport) -> str:
    if report.low is not None:
        return clipped(
            report.low if report.low == report.high else f"{report.low} … {report.high}", 25
        )
    more = (report.different or 0) > len(report.examples)
    return clipped(", ".join(report.examples) + (", …" if more else ""), _VALUES)
