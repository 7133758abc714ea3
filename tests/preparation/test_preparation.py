"""What `prepare` takes, what it says of it, and what it refuses; no data set and no network."""

import ast
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import sparse  # type: ignore[import-untyped]

import tuner.preparation
from tuner.errors import DatasetError
from tuner.preparation.encoding import Column
from tuner.preparation.preparation import Findings, Preparation

TABLE = Preparation(
    (5,),
    columns=(
        Column("age", fill=40.0),
        Column("city", categories=("Oslo", "Rome"), kind="category"),
        Column("stars", categories=("1", "2"), kind="category"),
    ),
    is_table=True,
    target="left",
    ignored=("id",),
)
MATRIX = Preparation((2,), features=("width", "height"), value_range=(0.0, 9.0))
GREY = Preparation((4, 3), value_range=(0.0, 255.0))
COLOUR = Preparation((4, 3, 3), value_range=(0.0, 1.0))


def people() -> pd.DataFrame:
    return pd.DataFrame({"age": [30.0, 50.0], "city": ["Rome", "Oslo"], "stars": ["1", "2"]})


ALLOWED_LIBRARIES = {"numpy", "pandas", "pyarrow"}
SERVING = {"served_network.py": {"keras", "mlflow"}}  # it runs in MLflow alone
WANTED = [[30, 0, 1, 1, 0], [50, 1, 0, 0, 1]]


@pytest.mark.parametrize(
    "rows",
    [
        people(),
        people()[["stars", "city", "age"]],
        people().assign(id=1, left="yes", more=2),
        people().set_index(pd.Index(["b", "a"])),
        people().set_index("age"),
        people().set_index(["city", "age"]),
        people().convert_dtypes(),
        people().convert_dtypes(dtype_backend="pyarrow"),
        people().astype({"city": "category", "age": "Int64", "stars": float}),
        people().astype({"age": pd.SparseDtype(float)}),
        people().astype({"stars": "float32", "age": object}),
        people().astype(str),
        people().to_dict("list"),
        people().to_dict("records"),
        OrderedDict(people().items()),
        pa.Table.from_pandas(people()),
    ],
)
def test_a_table_may_come_in_many_forms(rows: Any) -> None:
    np.testing.assert_array_equal(TABLE.prepare(rows).inputs, WANTED)


def test_one_row_may_be_a_dict_or_a_series() -> None:
    for row in (people().iloc[0], people().iloc[0].to_dict()):
        np.testing.assert_array_equal(TABLE.prepare(row).inputs, WANTED[:1])


class OtherFrame:
    """A frame of a library that can become pandas', as polars' can."""

    def to_pandas(self) -> pd.DataFrame:
        return people()


def test_frames_of_other_libraries_are_taken() -> None:
    np.testing.assert_array_equal(TABLE.prepare(OtherFrame()).inputs, WANTED)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (people().drop(columns=["age", "stars"]), "lacks the columns age, stars$"),
        (people().rename(columns={"age": "AGE "}), r"lacks the column age \(did you mean 'AGE '"),
        (pd.concat([people(), people()[["age"]]], axis=1), "several columns are named 'age'"),
        (people().assign(age="old"), "'age' must hold numbers.*'old'; first in row 1.*1234.5"),
        (people().assign(age=pd.Timestamp(0)), "'age' must hold numbers, it holds dates"),
        (people().assign(age=[1.0, np.inf]), r"'age' holds an infinite value \(row 2\)"),
        (
            people().assign(city=pd.Series([["a"], ["b"]], dtype=object)),
            "holds mixed values .list.; turn it into numbers",
        ),
        (people().head(0), "data: holds no rows"),
        (pd.DataFrame(), "data: has no columns"),
        (np.zeros((2, 3)), "takes a table with the columns age, city, stars; give a DataFrame"),
        (None, "takes a table with the columns age, city, stars; give a DataFrame"),
        ({"age": [1], "city": ["a", "b"], "stars": [1]}, "cannot be read as a table .*same length"),
    ],
)
def test_a_table_that_does_not_fit_gets_one_line(rows: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as raised:
        TABLE.prepare(rows)
    assert "\n" not in str(raised.value)
    assert "--column" not in str(raised.value)  # that is for a search


def test_findings_of_blocks_add_up_and_read_well() -> None:
    findings = Findings()
    rows = people().assign(age=np.nan, city=["Bern", "Rome"], more=1, left="no")
    for _ in range(2):
        findings.add(TABLE.prepare(rows).findings)
    assert (findings.rows, findings.gaps, findings.unseen) == (4, {"age": 4}, {"city": 2})
    assert str(findings).splitlines() == findings.lines()
    assert findings.lines() == [
        "column 'left' is the target: it is ignored",
        "columns that the network does not take: more",
        "age: no value in 4 of 4 rows (100 %), set to median 40",
        "city: categories that no training row had in 2 of 4 rows (50 %): 'Bern' 2; all zeros",
    ]
    with pytest.raises(DatasetError, match="city: categories that no training row had in 1 of 2"):
        TABLE.prepare(rows, strict=True)


def test_rows_of_a_later_block_are_numbered_from_the_beginning() -> None:
    rows = people().assign(age=["1", "old"]).set_index(pd.RangeIndex(100, 102))
    with pytest.raises(DatasetError, match="first in row 102"):
        TABLE.prepare(rows)
    with pytest.raises(DatasetError, match="column 'height', row 102"):
        MATRIX.prepare([[1, 2], [3, np.nan]], first_row=100)


@pytest.mark.parametrize(
    ("preparation", "rows"),
    [
        (MATRIX, [[1, 2]]),
        (MATRIX, [1, 2]),
        (MATRIX, np.array([[1, 2]], object)),
        (MATRIX, sparse.csr_array(np.array([[1, 2]]))),
        (MATRIX, pd.DataFrame({"height": [2], "width": ["1"]})),
        (MATRIX, pd.DataFrame([[1, 2]])),
        (MATRIX, pd.DataFrame({"height": [2], "width": [1]}).set_index("width")),
        (MATRIX, {"height": 2, "width": 1}),
        (GREY, np.ones((4, 3), bool)),
        (GREY, np.ones((1, 4, 3, 1))),
        (Preparation((4, 3, 1)), np.ones((1, 4, 3))),
    ],
)
def test_arrays_may_come_in_many_forms(preparation: Preparation, rows: Any) -> None:
    inputs = preparation.prepare(rows).inputs
    wanted = [[1, 2]] if preparation is MATRIX else np.ones((1, *preparation.input_shape))
    np.testing.assert_array_equal(inputs, wanted)
    assert inputs.dtype == np.float32


@pytest.mark.parametrize(
    ("preparation", "rows", "message"),
    [
        (MATRIX, np.zeros((2, 3)), r"rows have 3 values each, the network takes 2 \(width, height"),
        (MATRIX, np.zeros((2, 5)), r"5 values each, .*; if its columns are the rows, give x\.T"),
        (MATRIX, np.zeros(3), "one row of 3 values, the network takes 2"),
        (MATRIX, np.zeros((4, 2, 1)), r"give x\.reshape\(len\(x\), -1\)"),
        (MATRIX, [[1], [2, 3]], "its rows differ in length"),
        (MATRIX, [["a", "b"]], "takes arrays of numbers, not of texts"),
        (
            MATRIX,
            [[1, np.inf]],
            "an infinite value, or one beyond float32, in column 'height', row",
        ),
        (MATRIX, [[1, -np.inf]], r"an infinite value, or one beyond float32, in column 'height'"),
        (MATRIX, [[1, np.nan]], r"misses 1 value \(NaN\), the first in column 'height', row 1"),
        (MATRIX, np.ma.masked_equal([[1, 2]], 2), "misses 1 value .NaN., the first in column"),
        (MATRIX, pd.DataFrame({"width": [1]}), "lacks the column height"),
        (MATRIX, pd.DataFrame(np.zeros((1, 3))), "lacks the columns width, height"),
        (GREY, 3, "is a single value, the network takes arrays of 4 x 3 values"),
        (GREY, np.zeros((2, 12)), r"rows have 12 values each, .*; give x\.reshape\(-1, 4, 3\)"),
        (GREY, np.zeros((2, 5, 5)), "5 x 5 values, .*; resize them to 4 x 3"),
        (GREY, np.zeros((5, 5)), "5 x 5 values, .*; resize them to 4 x 3"),
        (GREY, np.zeros((2, 4, 3, 3)), r"RGB images .*; give x\[..., :3\]\.mean\(axis=-1\)"),
        (GREY, pd.DataFrame({"a": [1]}), "is a table; the network takes arrays of 4 x 3 values"),
        (COLOUR, np.zeros((2, 3, 4, 3)), r"channels come first, .*; give np\.moveaxis\(x, 1, -1\)"),
        (COLOUR, np.zeros((2, 4, 3)), "rows are grey images .*; give np.repeat"),
        (COLOUR, np.zeros((2, 4, 3, 4)), r"rows are RGBA images .*; give x\[\.\.\., :3\]"),
        (COLOUR, np.zeros((2, 9, 3, 3)), "RGB images of 9 x 3 pixels, .* resize them to 4 x 3"),
        (COLOUR, np.zeros((0, 4, 3, 3)), "holds no rows"),
    ],
)
def test_an_array_that_does_not_fit_gets_one_line(
    preparation: Preparation, rows: Any, message: str
) -> None:
    with pytest.raises(DatasetError, match=message) as raised:
        preparation.prepare(rows)
    assert "\n" not in str(raised.value)


def test_gaps_of_a_matrix_are_filled_as_in_training() -> None:
    holed = Preparation((2,), columns=(Column("1", fill=5.0), Column("2", fill=7.0)))
    prepared = holed.prepare([[np.nan, 1], [2, np.nan], [3, 4]])
    np.testing.assert_array_equal(prepared.inputs, [[5, 1], [2, 7], [3, 4]])
    assert prepared.findings.lines() == [
        "1: no value in 1 of 3 rows (33.3 %), set to median 5",
        "2: no value in 1 of 3 rows (33.3 %), set to median 7",
    ]


def test_images_on_another_scale_are_noted() -> None:
    notes = COLOUR.prepare(np.full((1, 4, 3, 3), 200, np.uint8)).findings.lines()
    assert "were those divided by 255?" in notes[0]
    notes = GREY.prepare(np.eye(4, 3)).findings.lines()
    assert "values lie from 0 to 1" in notes[0]
    sixteenths = Preparation((4, 3), value_range=(0.0, 16.0))
    notes = sixteenths.prepare(np.full((1, 4, 3), 200)).findings.lines()
    assert "values go far beyond 16" in notes[0]
    assert sixteenths.prepare(np.full((1, 4, 3), 20)).findings.lines() == []
    for rows in (np.full((1, 4, 3), 200), np.eye(4, 3, dtype=np.uint8), np.zeros((4, 3))):
        assert GREY.prepare(rows).findings.lines() == []


def prepare_column(column: Column, *cells: Any) -> tuple[list[list[float]], Findings]:
    """What the network takes for these cells, if it takes nothing else."""
    preparation = Preparation((len(column.features),), columns=(column,), is_table=True)
    prepared = preparation.prepare({column.name: list(cells)})
    return prepared.inputs.tolist(), prepared.findings


def test_gaps_and_blanks_are_a_category_of_their_own_where_training_had_gaps() -> None:
    column = Column("city", categories=("Oslo",), missing=True, kind="category")
    inputs, findings = prepare_column(column, None, "", "Oslo", "Rome")
    assert inputs == [[0, 1], [0, 1], [1, 0], [0, 0]]
    assert (findings.gaps, findings.unseen) == ({"city": 2}, {"city": 1})


def test_a_number_is_a_category_however_it_is_written() -> None:
    one = Column("size", categories=("1", "2.5"), kind="category")
    assert prepare_column(one, "1.0", "2.50", "1e0", "3")[0] == [[1, 0], [0, 1], [1, 0], [0, 0]]
    # Where training told two ways of writing apart, a third one is neither.
    two = Column("size", categories=("1", "1.0"), kind="category")
    assert prepare_column(two, "1", "1.0", "1.00")[0] == [[1, 0], [0, 1], [0, 0]]


def test_dates_become_the_parts_that_pandas_says_and_gaps_the_median() -> None:
    median, start = pd.Timestamp("2021-03-04 12:00"), pd.Timestamp("2021-01-01")
    seconds = {"fill": median.timestamp(), "start": start.timestamp()}
    parts = ("year", "month", "day", "weekday", "hour")
    column = Column("day", kind="date", parts=parts, **seconds)
    day = pd.Timestamp("1969-07-20 20:17")
    inputs, findings = prepare_column(column, day, pd.NaT)
    for values, at in zip(inputs, (day, median), strict=True):
        assert values[:-1] == [at.year, at.month, at.day, at.weekday(), at.hour]
        assert values[-1] == pytest.approx((at - start) / pd.Timedelta(days=1))
    assert findings.filled == {"day": "set to the median 2021-03-04 12:00:00"}


def test_a_long_table_is_prepared_whole() -> None:
    rows = pd.concat([people()] * 5000, ignore_index=True)
    np.testing.assert_array_equal(TABLE.prepare(rows).inputs, WANTED * 5000)


def test_of_many_different_texts_some_are_counted() -> None:
    findings = Findings()
    for first in "aba":
        texts = {f"{first}{number}": 1 for number in range(1000)}
        findings.add(Findings(1000, unseen={"city": 1000}, unseen_texts={"city": texts}))
    assert findings.unseen == {"city": 3000}
    assert findings.unseen_texts["city"] == {f"a{number}": 2 for number in range(1000)}


def test_a_wide_frame_shows_few_lines() -> None:
    findings = Findings(
        9, dict.fromkeys(map(str, range(50)), 3), filled={str(i): "" for i in range(50)}
    )
    assert len(findings.lines()) == 21
    assert findings.lines()[-1] == "… and 30 more columns"


def test_the_room_is_closed() -> None:
    """It is copied into models that are served without tuner."""
    folder = Path(tuner.preparation.__file__).parent
    of_tuner = {"tuner.errors", "tuner.values"}
    for file in folder.glob("*.py"):
        libraries = ALLOWED_LIBRARIES | SERVING.get(file.name, set()) | set(sys.stdlib_module_names)
        for name in imported_names(file):
            if name.split(".")[0] == "tuner":
                assert name in of_tuner or name.startswith("tuner.preparation."), (file, name)
            else:
                assert name.split(".")[0] in libraries, (file, name)


def imported_names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
