"""Dates and times that are written as texts or as numbers, in one format a column."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tuner.preparation.number_texts import Shapes, find_shapes

Floats = npt.NDArray[np.float64]
TIME = "time"
ORDERS = ("ymd", "", "dmy", "mdy")  # of dates, see DatesRead
_LONGEST = 60
# Dates have few shapes; names of months make more.
_MOST_SHAPES = 1000
_DIGITS = str.maketrans("012345678", "9" * 9)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = r"[A-Za-z]{3,9}"
_DATE = "|".join(
    (
        r"(?P<ymd>9999(?P<sep>[-/.])99?(?P=sep)99?)",
        r"(?P<month>9999-99)",
        r"(?P<short>99?(?P<mark>[-/.])99?(?P=mark)9999|99?(?P<mark2>[/.])99?(?P=mark2)99)",
        rf"(?P<named>99?(?P<dot>\.?)(?P<gap>[ -])(?P<name>{_NAME})(?P<gap2>\.?,?[ -])"
        r"(?P<year>9999|99))",
        rf"(?P<first>(?P<name2>{_NAME})(?P<gap3>\.? )99?(?P<gap4>,? )9999)",
        rf"(?P<name3>{_NAME})(?P<gap5>[ -])9999",
    )
)
_SHAPE = re.compile(
    r"(?:(?P<weekday>(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*)(?P<after>,? ))?"
    rf"(?:{_DATE})?"
    r"(?:(?P<lead>T|,? )?(?P<clock>99?:99)(?P<seconds>:99)?(?P<fraction>\.9{1,9})?"
    r"(?P<half> ?[ap]m)?"
    r"(?P<zone> ?(?:Z|UTC|GMT|[+-]99:?(?:99)?))?)?",
    re.IGNORECASE,
)


class DatesRead(NamedTuple):
    """`seconds` (k,) since 1970, in UTC if a zone is written, NaN for texts that are no dates.
    `order`: "ymd", "dmy" or "mdy" for dates of digits, "" for dates that name the month, TIME for
    times of the day. `also`: another order that fits as many texts but gives other days. `zones`:
    holds True if dates name a zone, and False if dates do not. `short_years`: whether years have
    two digits."""

    seconds: Floats
    order: str = ""
    also: str = ""
    zones: frozenset[bool] = frozenset()
    short_years: bool = False


class _Form(NamedTuple):
    """How one shape is read. `formats`: for strptime, by order."""

    formats: dict[str, str]
    has_zone: bool
    ending: str
    short_year: bool


def read_dates(
    texts: Sequence[str],
    counts: npt.NDArray[np.int64],
    order: str | None = None,
    shapes: Shapes | None = None,
) -> DatesRead:
    """The texts as dates of one order: the given one, or the one in which most cells are dates.
    `shapes`: those of the texts, if known already."""
    shapes = shapes or find_shapes(texts)
    nothing = np.full(len(texts), np.nan)
    if len(shapes.first) > _MOST_SHAPES:
        return DatesRead(nothing)
    forms = {
        shape: form
        for shape, text in enumerate(shapes.first)
        if len(text) <= _LONGEST and (form := _form(text.translate(_DIGITS))) is not None
    }
    if not forms:
        return DatesRead(nothing)
    orders = sorted({name for form in forms.values() for name in form.formats})
    groups = [(forms[shape], rows) for shape, rows in shapes.groups([*forms]).items()]
    read = {
        name: _parse(shapes, [(form, rows) for form, rows in groups if name in form.formats], name)
        for name in ([order] if order is not None else orders)
    }
    total = {name: counts[~np.isnan(seconds)].sum() for name, seconds in read.items()}
    best = max(read, key=lambda name: (total[name], name))
    also = [
        name
        for name in read
        if total[name] == total[best] and not np.array_equal(read[name], read[best], equal_nan=True)
    ]
    used = [form for form in forms.values() if best in form.formats]
    return DatesRead(
        read[best],
        best,
        also[0] if also else "",
        frozenset(form.has_zone for form in used),
        any(form.short_year for form in used),
    )


def _parse(shapes: Shapes, groups: list[tuple[_Form, npt.NDArray[np.int64]]], order: str) -> Floats:
    import pandas as pd

    seconds = np.full(len(shapes.codes), np.nan)
    for form, rows in groups:
        dated = shapes.array.take(rows).to_pylist()
        if form.ending:
            dated = [text + form.ending for text in dated]
        format_ = form.formats[order]
        dates = pd.to_datetime(dated, format=format_, errors="coerce", utc=form.has_zone)
        if form.has_zone:
            dates = dates.tz_convert(None)
        seconds[rows] = to_seconds(dates.to_numpy())
    return seconds


def to_seconds(dates: "npt.NDArray[np.datetime64]") -> Floats:
    """Seconds since 1970, NaN for NaT."""
    micros = dates.astype("datetime64[us]")
    return np.where(np.isnat(micros), np.nan, micros.astype(np.int64) / 1e6)


def _form(shape: str) -> _Form | None:
    match = _SHAPE.fullmatch(shape)
    if match is None:
        return None
    dates = _date_formats(match)
    if dates is None:
        return None
    if TIME in dates:
        if not match["clock"] or match["lead"] or match["weekday"]:
            return None
    elif match["clock"] and not match["lead"]:
        return None
    time, ending = _time_format(match)
    before = ""
    if match["weekday"]:
        before = ("%a" if len(match["weekday"]) == 3 else "%A") + match["after"]
    short_year = any("%y" in format_ for format_ in dates.values())
    formats = {order: before + format_ + time for order, format_ in dates.items()}
    return _Form(formats, match["zone"] is not None, ending, short_year)


def _date_formats(match: re.Match[str]) -> dict[str, str] | None:
    """The formats of the date by order; {TIME: ""} if there is no date."""
    if match["ymd"]:
        return {"ymd": "%Y{0}%m{0}%d".format(match["sep"])}
    if match["month"]:
        return {"ymd": "%Y-%m"}
    if match["short"]:
        mark = match["mark"] or match["mark2"]
        year = "%Y" if match["mark"] else "%y"
        day_first = {"dmy": f"%d{mark}%m{mark}{year}"}
        return day_first if mark == "." else day_first | {"mdy": f"%m{mark}%d{mark}{year}"}
    name = match["name"] or match["name2"] or match["name3"]
    if name is None:
        return {TIME: ""}
    if name[:3].lower() not in _MONTHS:
        return None
    month = "%b" if len(name) == 3 else "%B"
    if match["named"]:
        year = "%Y" if len(match["year"]) == 4 else "%y"
        return {"": f"%d{match['dot']}{match['gap']}{month}{match['gap2']}{year}"}
    if match["first"]:
        return {"": f"{month}{match['gap3']}%d{match['gap4']}%Y"}
    return {"": f"{month}{match['gap5']}%Y"}


def _time_format(match: re.Match[str]) -> tuple[str, str]:
    """The format of the time, and the ending to append to the text so that it fits."""
    if not match["clock"]:
        return "", ""
    text = (match["lead"] or "") + ("%I:%M" if match["half"] else "%H:%M")
    text += ":%S" if match["seconds"] else ""
    text += ".%f" if match["fraction"] else ""
    if match["half"]:
        text += " %p" if match["half"].startswith(" ") else "%p"
    zone = match["zone"]
    if zone is None:
        return text, ""
    bare = zone.strip()
    text += " " * (len(zone) - len(bare))
    if bare.upper() in ("UTC", "GMT"):
        return text + bare, ""
    return text + "%z", "00" if len(bare) == 3 else ""


# Units of time since 1970. A unit is used if its numbers stay before the year 5138.
UNITS = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
DIGITS = "digits"  # numbers such as 20251231
_FURTHEST_S = 1e11


def number_order(values: Floats) -> str:
    """How numbers without gaps stand for dates: DIGITS, or the unit in which they count."""
    have_digits = len(values) and np.all((values >= 1e7) & (values < 1e8) & (values % 1 == 0))
    if have_digits and not np.isnan(_from_digits(values)).any():
        return DIGITS
    furthest = float(np.abs(values).max(initial=0.0))
    return next((unit for unit, each in UNITS.items() if furthest < _FURTHEST_S * each), "seconds")


def numbers_to_seconds(values: Floats, order: str) -> Floats:
    """Numbers (n,) as seconds since 1970, see `number_order`. NaN stays NaN."""
    return _from_digits(values) if order == DIGITS else values / UNITS[order]


def _from_digits(values: Floats) -> Floats:
    different, codes = np.unique(values, return_inverse=True)
    texts = ["" if np.isnan(value) else f"{value:08.0f}" for value in different]
    dashed = [f"{text[:4]}-{text[4:6]}-{text[6:]}" for text in texts]
    return read_dates(dashed, np.ones(len(dashed), np.int64), "ymd").seconds[codes]
