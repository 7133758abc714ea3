"""A table that was trained on, read again for its network: the same matrix, bit for bit."""

import gzip
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tuner.data import Dataset, load_dataset, preparation_of
from tuner.data import load as load_module
from tuner.data.dataset import draw_splits
from tuner.data.later_rows import open_rows
from tuner.data.readers import later_delimited, text_file
from tuner.errors import DatasetError
from tuner.settings import Settings
from tuner.study.spec import DataSpec

ROWS = 48


@dataclass(frozen=True)
class Dialect:
    """How a file is written."""

    separator: str = ","
    encoding: str = "utf-8"
    line_end: str = "\n"
    quoted: bool = False
    gzipped: bool = False
    title: str = ""
    blank_before: bool = False
    comment: bool = False

    def text(self, columns: dict[str, list[str]]) -> str:
        lines = [self._line([*columns]), *map(self._line, zip(*columns.values(), strict=True))]
        if self.comment:
            lines.insert(5, "# a comment")
        return self.line_end.join([*([self.title] if self.title else []), *lines, ""])

    def _line(self, cells: Any) -> str:
        return (self.separator + " " * self.blank_before).join(map(self._cell, cells))

    def _cell(self, cell: str) -> str:
        needs = self.quoted or self.separator in cell or "\n" in cell or '"' in cell
        return f'"{cell.replace(chr(34), chr(34) * 2)}"' if needs else cell

    def write(self, path: Path, columns: dict[str, list[str]]) -> Path:
        content = self.text(columns).encode(self.encoding, "replace")
        path = path.with_suffix(".csv.gz" if self.gzipped else ".csv")
        path.write_bytes(gzip.compress(content) if self.gzipped else content)
        return path


dialects = st.builds(
    Dialect,
    separator=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoted=st.booleans(),
    gzipped=st.booleans(),
    title=st.sampled_from(["", "", "A table"]),
    blank_before=st.booleans(),
    comment=st.booleans(),
)

Cells = Callable[[random.Random], str]


def _date(draw: random.Random, form: str) -> str:
    return (pd.Timestamp("2021-03-01") + pd.Timedelta(hours=draw.randrange(30_000))).strftime(form)


# One cell of a column of each sort.
SORTS: dict[str, Cells] = {
    "whole": lambda draw: str(draw.randrange(-50, 1000)),
    "real": lambda draw: f"{draw.gauss(0, 10):.4f}",
    "real or gap": lambda draw: draw.choice(["", " ", f"{draw.gauss(0, 10):.3g}"]),
    "decimal comma": lambda draw: f"{draw.gauss(0, 10):.2f}".replace(".", ","),
    "three decimals": lambda draw: f"{draw.randrange(1, 9)},{draw.randrange(1000):03}",
    "dot thousands": lambda draw: f"{draw.randrange(1, 9)}.{draw.randrange(1000):03}",
    "thousands": lambda draw: f"{draw.randrange(1, 10**6):,}",
    "money": lambda draw: f"{draw.randrange(10, 900)}.{draw.randrange(10, 99)} €",
    "marks": lambda draw: draw.choice(["NA", "-", f"{draw.gauss(0, 10):.4f}"]),
    "nan": lambda draw: draw.choice(["nan", "inf"[:0], f"{draw.gauss(0, 10):.4f}"]),
    "truth": lambda draw: draw.choice(["true", "false"]),
    "truth or gap": lambda draw: draw.choice(["True", "False", ""]),
    "words": lambda draw: draw.choice(["red", "gréen", "a b", " blue", 'five "5"']),
    "words or gap": lambda draw: draw.choice(["x", "y", ""]),
    "codes": lambda draw: f"00{draw.randrange(4)}",
    "numbers and a word": lambda draw: draw.choice(["1", "1.0", "2", "many"]),
    "lines": lambda draw: draw.choice(["one\ntwo", "three"]),
    "date": lambda draw: _date(draw, "%Y-%m-%d"),
    "date or gap": lambda draw: draw.choice(["", _date(draw, "%Y-%m-%d %H:%M")]),
    "day first": lambda draw: _date(draw, "%d.%m.%Y"),
    "long": lambda draw: str(2**53 + draw.randrange(10**6)),
    "empty": lambda draw: "",
}
# Columns whose kind the user gives.
GIVEN: dict[str, tuple[str, Cells]] = {
    "given categories": ("category", lambda draw: draw.choice(["1", "2.0", "3"])),
    "given truth": ("category", lambda draw: draw.choice(["true", "false"])),
    "given words": ("text", lambda draw: f"{draw.choice(['a', 'b'])} {draw.choice(['c', 'd'])}"),
    "given numbers": ("number", lambda draw: draw.choice(["007", "12", "5"])),
    "given days": ("date", lambda draw: _date(draw, "%Y%m%d")),
    "given seconds": ("date", lambda draw: str(1_600_000_000 + draw.randrange(10**7))),
}
TARGETS: dict[str, Cells] = {
    "texts": lambda draw: draw.choice(["no", "yes"]),
    "numbers": lambda draw: draw.choice(["1", "2", "3"]),
    "floats": lambda draw: draw.choice(["0.0", "1.0"]),
    "truth": lambda draw: draw.choice(["true", "false"]),
    "values": lambda draw: f"{draw.gauss(50, 9):.3f}",
    "prices": lambda draw: f"{draw.gauss(5000, 900):,.1f} €",
}


@dataclass(frozen=True)
class Table:
    """A table of columns of some sorts, drawn with a seed."""

    names: list[str]
    target: str
    seed: int

    @property
    def columns(self) -> dict[str, list[str]]:
        draw = random.Random(self.seed)
        cells = {**SORTS, **{name: each for name, (_, each) in GIVEN.items()}}
        columns = {name: [cells[name](draw) for _ in range(ROWS)] for name in self.names}
        return columns | {"y": [TARGETS[self.target](draw) for _ in range(ROWS)]}

    @property
    def kinds(self) -> dict[str, Any]:
        return {name: GIVEN[name][0] for name in self.names if name in GIVEN}


tables = st.builds(
    Table,
    st.lists(st.sampled_from([*SORTS, *GIVEN]), min_size=1, max_size=6, unique=True),
    st.sampled_from([*TARGETS]),
    st.integers(0, 10**6),
)


@contextmanager
def tiny_blocks() -> Iterator[None]:
    """Blocks of a few rows, as a large file has many."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (later_delimited, text_file):
            patch.setattr(module, "_BLOCK_BYTES", 200)
        yield


@dataclass(frozen=True)
class Loaded:
    """A data set, and which rows of the file each of its parts has."""

    dataset: Dataset
    numbers: dict[str, np.ndarray]

    def joined(self, of_part: Callable[[str], Any]) -> Any:
        """Arrays of the parts, in the order of the file."""
        whole = np.concatenate([of_part(part) for part in self.numbers])
        ordered = np.empty_like(whole)
        ordered[np.concatenate([*self.numbers.values()])] = whole
        return ordered


def load_with_numbers(source: str, table: Table, settings: Settings) -> Loaded:
    drawn: list[dict[str, np.ndarray]] = []

    def draw(*args: Any) -> dict[str, np.ndarray]:
        drawn.append(draw_splits(*args))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load_module, "draw_splits", draw)
        try:
            spec = DataSpec(source=source, columns=table.kinds)
            return Loaded(load_dataset(spec, settings), drawn[-1])
        except DatasetError:
            assume(False)  # a table that cannot be learnt from
            raise


def prepared_again(text: str, loaded: Loaded, settings: Settings) -> tuple[Any, Any]:
    """The matrix and the target of a file, as its network is given them."""
    dataset = loaded.dataset
    preparation = preparation_of(dataset)
    rows = open_rows(text, preparation, settings, dataset.task, dataset.labels)
    inputs: list[Any] = []
    targets: list[Any] = []
    for block in rows.blocks():
        assert block.first_row == sum(map(len, inputs))
        inputs.append(preparation.prepare(block.rows, rows.source).inputs)
        targets.append(block.target)
    target = None if targets[0] is None else np.concatenate(targets)
    return np.concatenate(inputs), target


@hypothesis_settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.filter_too_much]
)
@given(tables, dialects, st.randoms(), st.booleans())
def test_a_table_is_read_as_training_read_it(
    table: Table, dialect: Dialect, shuffle: random.Random, small: bool
) -> None:
    with TemporaryDirectory() as folder:
        settings = Settings(
            storage="sqlite://",
            tracking_uri="sqlite://",
            data_home=Path(folder),
            checkpoints=Path(folder),
            keras_home=Path(folder),
        )
        path = dialect.write(Path(folder) / "data", table.columns)
        loaded = load_with_numbers(f"{path}:y", table, settings)
        dataset = loaded.dataset
        assume(dataset.shift is None)
        x = loaded.joined(lambda part: dataset.splits[part].x)
        y = loaded.joined(lambda part: dataset.splits[part].y) + np.float32(dataset.target_shift)
        names = [name for name in table.columns if name != "y"]
        shuffle.shuffle(names)
        reordered = {name: table.columns[name] for name in ("y", *names)}
        with tiny_blocks() if small else nullcontext():
            inputs, target = prepared_again(str(path), loaded, settings)
            np.testing.assert_array_equal(inputs, x)
            np.testing.assert_allclose(target, y, rtol=1e-6)
            # Blanks before quotes count by where they are, so another order may differ.
            if not dialect.blank_before:
                again = dialect.write(Path(folder) / "again", reordered)
                inputs, _ = prepared_again(str(again), loaded, settings)
                np.testing.assert_array_equal(inputs, x)
