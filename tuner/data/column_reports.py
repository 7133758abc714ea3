"""What each column of a table was taken for and became, with counts, for people to check."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.cells import Cells
from tuner.data.columns import ReadTable
from tuner.data.date_texts import TIME
from tuner.data.number_texts import most_common
from tuner.data.table_encoding import Column, Table
from tuner.data.target import Target
from tuner.values import clipped

if TYPE_CHECKING:
    from tuner.study.spec import ColumnKind

# Different numbers are counted up to so many rows: sorting more takes longer than reading them.
_FIRST_ROWS = 100
_MOST_ROWS = 200_000
_MOST_NAMED = 4
_VALUES = 21  # characters, so that the table fits 80
_NAME = 24  # characters of a name or a value in a sentence
_PLURALS = {"category": "categories"}


@dataclass(frozen=True)
class ColumnReport:
    """`features`: how many it became. `gaps`: cells without a value, marks for missing included;
    `different`: different values of the rows that are not split off by the source; both None where
    they were not counted. `examples`: its most common values; `low` and `high`: of numbers and
    dates."""

    name: str
    kind: "ColumnKind"
    features: int
    gaps: int | None
    different: int | None
    examples: tuple[str, ...] = ()
    low: str | None = None
    high: str | None = None


def report_columns(
    table: ReadTable, columns: Sequence[Column], target: ColumnReport | None
) -> tuple[ColumnReport, ...]:
    """A report on each column, those that were left out and the target at the end."""
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
    reports += [ColumnReport(name, "drop", 0, None, None) for name in table.dropped]
    return (*reports, *([target] if target else []))


def report_target(y: Any, target: Target) -> ColumnReport | None:
    """The target's own row, where it has a name."""
    name = getattr(y, "name", None)
    if name is None:
        return None
    values = np.concatenate(list(target.values.values()))
    if target.labels:
        return ColumnReport(str(name), "target", 0, 0, len(target.labels), target.labels[:3])
    cells = Cells(values)
    return ColumnReport(str(name), "target", 0, 0, _different(cells), **_shown_values(cells))


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
    """Of the day, without its date."""
    return str(np.datetime64(int(np.floor(seconds)), "s")).partition("T")[2]


def constant_notes(train: Table, columns: Sequence[Column]) -> list[str]:
    """A line for each column from which nothing can be learnt, as its training rows are alike."""
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
    """Whether the first rows differ already, so that the others need not be looked at."""
    cells = train.cells[column.name]
    first = Cells(cells.values[train.rows(0, _FIRST_ROWS)], cells.form, cells.texts)
    values = first.values[~first.gaps()]
    return column.kind != "text" and len(values) > 1 and bool(values.min() != values.max())


def in_brief(reports: Iterable[ColumnReport]) -> str:
    """The kinds with counts in one line: "7 numbers, 3 categories (town 12, …), 1 date (when)"."""
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


def as_rows(reports: Iterable[ColumnReport]) -> list[Mapping[str, Any]]:
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
