"""CSV files of every dialect: read as they are meant, or refused with the cause."""

import csv
import gzip
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tuner.data import Dataset
from tuner.data.readers.delimited import read_delimited
from tuner.data.readers.reader import TableFile
from tuner.data.readers.text_file import Utf8Check
from tuner.errors import DatasetError
from tuner.study.data_spec import FIRST_READING

Load = Callable[..., Dataset]
Read = Callable[..., TableFile]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """read(content): of a file that holds this text, in UTF-8, or these bytes."""

    def read_content(content: str | bytes, name: str = "t.csv") -> TableFile:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_delimited(path)

    return read_content


def cells(file: TableFile) -> dict[str, list[Any]]:
    """By column; None for a gap."""
    return {
        str(name): [None if pd.isna(cell) else cell for cell in column.tolist()]
        for name, column in file.frame.items()
    }


def rows(row: Callable[[int], str], count: int = 24) -> str:
    return "".join(row(i) + "\n" for i in range(count))


# Beyond the rows that are looked at first.
MANY = 2000

texts = st.text(st.sampled_from('abcXYZ é€ü,;|"\t\n.0'), max_size=8).map(lambda t: f"x{t}".strip())
columns = {
    "whole": st.one_of(st.none(), st.integers(-(2**53), 2**53)),
    "fraction": st.one_of(st.none(), st.floats(-1e9, 1e9).filter(lambda value: value % 1 != 0)),
    "code": st.integers(0, 9999).map("{:05d}".format),
    "text": st.one_of(st.none(), texts),
}
tables = st.integers(1, 6).flatmap(
    lambda count: st.fixed_dictionaries(
        {name: st.lists(cell, min_size=count, max_size=count) for name, cell in columns.items()}
    )
)


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    table=tables,
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    final=st.booleans(),
    packed=st.booleans(),
    decimal=st.sampled_from(".,"),
    title=st.sampled_from(["", "Report 7", "# made by hand", "\n"]),
)
def test_what_is_written_is_read_back(
    read: Read,
    table: dict[str, list[Any]],
    separator: str,
    encoding: str,
    line_end: str,
    quoting: int,
    final: bool,
    packed: bool,
    decimal: str,
    title: str,
) -> None:
    def written(value: Any) -> Any:
        if isinstance(value, float) and decimal == ",":
            return repr(value).replace(".", ",")
        return "" if value is None else value

    if line_end == "\r" and quoting == csv.QUOTE_MINIMAL:
        quoting = csv.QUOTE_NONNUMERIC  # the writer would leave line feeds unquoted
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]
    # So that commas are certain to be decimal commas, and the first rows regular.
    table = {name: [*values, values[0]] for name, values in table.items()}
    table["fraction"] = [0.5, *table["fraction"][1:]]
    writer.writerow(table)
    writer.writerows([[written(v) for v in row] for row in zip(*table.values(), strict=True)])
    text = out.getvalue() if final else out.getvalue().removesuffix(line_end)
    content = f"{title}{line_end if title else ''}{text}".encode(encoding)
    got = cells(read(gzip.compress(content) if packed else content))
    # A whole number beside gaps is a float.
    expected = {name: [*values] for name, values in table.items()}
    assert got == expected


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("5", "i"), ("+5", "f"), ("-0", "i"), ("0", "i"), ("0.5", "f"), (".5", "f"), ("5.", "f"),
        ("1e5", "f"), ("1E-5", "f"), ('"5"', "i"), (" 5 ", "i"), ("true", "b"), ("FALSE", "b"),
        ("007", "O"), ("+007", "O"), ("00", "O"), ("01.5", "O"), ("NA", "O"), ("NaN", "O"),
        ("nan", "O"), ("None", "O"), ("null", "O"), ("?", "O"), ("1,5x", "O"), ("1 000", "O"),
        ("0x10", "O"), ("-0x10", "O"),
        ("+0x1F", "O"), ("1_0", "O"), ("12%", "O"), ("2020-01-02", "O"), ("12:30", "O"),
        ("2020-01-02 12:30:00", "O"), ("2020-01-02T12:30:00Z", "O"), ("123456789012345678901", "O"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("last", [False, True])
def test_only_plain_numbers_become_numbers(read: Read, cell: str, kind: str, last: bool) -> None:
    """Also where the cell comes after all rows that are looked at first."""
    quoted = f'"{cell}"' if "," in cell else cell
    before = {"b": "true"}.get(kind, "7")
    filler = f"{before};z\n" * MANY if last else ""
    column = read(f"a;b\n{filler}{quoted};y\n").frame["a"]
    bare = cell.strip('" ')
    value = column.iloc[-1]
    if kind == "O":
        assert value == bare
        assert not last or column.iloc[0] == "7"
    elif kind == "b":
        assert value is (bare.lower() == "true") or value == (bare.lower() == "true")
    else:
        assert (column.dtype.kind == kind) or last
        assert column.dtype.kind in "if"
        assert value == float(bare)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("9007199254740993", 9007199254740993),  # int64 holds it, float64 does not
        ("100000000000000000000", 1e20),  # float64 holds it
        ("100000000000000000001", "100000000000000000001"),
        ("18446744073709551617", "18446744073709551617"),
    ],
)
def test_long_whole_numbers_stay_exact(read: Read, cell: str, expected: object) -> None:
    for text in (f"a,b\n{cell},x\n", f"a,b\n{'7,x' + chr(10)}{cell},x\n"):
        assert read(text).frame["a"].iloc[-1] == expected
    with_a_gap = read(f"a,b\n{cell},x\n,x\n").frame["a"]
    assert pd.isna(with_a_gap.iloc[1])
    assert str(with_a_gap.iloc[0]) == (cell if isinstance(expected, int | str) else "1e+20")


def test_only_empty_cells_are_gaps(read: Read) -> None:
    file = read('a,b,c\n1,x,\n2,,""\n   ,"",3\n4,NA,4\n')
    assert cells(file) == {
        "a": [1, 2, None, 4],
        "b": ["x", None, None, "NA"],
        "c": [None, None, 3, 4],
    }


def test_rows_without_any_value_are_left_out(read: Read) -> None:
    file = read("a,b\n1,x\n,\n2,y\n,\n,\n")
    assert cells(file) == {"a": [1, 2], "b": ["x", "y"]}
    assert file.notes == ("3 rows without any value are left out (first: row 2)",)


N = "{i},{i}.5,z"


@pytest.mark.parametrize(
    ("content", "names", "note"),
    [
        ("a;b\n1;x\n", ["a", "b"], "separator ';' (semicolon)"),
        ("a\tb\n1\tx\n", ["a", "b"], "separator tab"),
        ("a|b\n1|x, y\n", ["a", "b"], "separator '|'"),
        ('a;b\n1;"x;y"\n2;"x,y,z"\n', ["a", "b"], "separator ';' (semicolon)"),
        ("sep=;\na;b\n1;x\n", ["a", "b"], "separator ';' (semicolon)"),
        (" a , b \n1,x\n", ["a", "b"], ""),
        ("\ufeffa,b\n1,x\n", ["a", "b"], ""),
        ("a;b\n1,5;x\n2;y\n", ["a", "b"], "decimal comma in a"),
        ("a;b\n1,500;x\n2;y\n", ["a", "b"], "decimal comma in a"),
        ('a,b\n"1,5",x\n2,y\n', ["a", "b"], "decimal comma in a"),
        ("a,b\n1,M\xfcnchen\n".encode("latin-1"), ["a", "b"], "not UTF-8: read as Windows-1252"),
        ("a,b\n1,\x81\n".encode("latin-1"), ["a", "b"], "not UTF-8: read as Windows-1252"),
        ("a,b,\n1,x,\n2,y,\n", ["a", "b"], "column 3, without a name or values, is left out"),
        ("a,b\n1,x,\n2,y,\n", ["a", "b"], "column 3, without a name or values, is left out"),
        ("a,,b\n1,p,x\n2,q,y\n", ["a", "column 2", "b"], "column 2 has no name; it is called"),
        ("Report 2024\n\na,b,c\n1,2,x\n", ["a", "b", "c"], "1 line above the header left out"),
        ("# by me\n#\na,b\n1,x\n", ["a", "b"], "2 lines above the header left out: '# by me' …"),
        ("T;1\nU;C\na;b;c;d\n1;2;3;x\n", [*"abcd"], "2 lines above the header left out: 'T 1' …"),
        ("Title,,\na,b,c\n1,2,x\n", ["a", "b", "c"], "1 line above the header left out: 'Title'"),
        ("# a, b\n1,2\n3,4\n", ["a", "b"], "are those of a line that begins with '#'"),
        ("a,b\n1,x\n# more\n2,y\n", ["a", "b"], "1 line between the rows, beginning with '#'"),
        ("a,b\n1,x\n\n   \n2,y\n", ["a", "b"], ""),
        ("1,2,3\n4,5,x\n", ["1", "2", "3"], "the first line (1, 2, 3) is taken for the names"),
        ("5.1,rose\n4.9,rose\n", ["5.1", "rose"], "if it is data, add a line of names above it"),
        ("k,v\nu,1\nTotal,1\n", ["k", "v"], "the last row looks like a sum of the others ('Tot"),
        (f",a,b\n{rows('{0},{0}.5,z'.format)}", ["a", "b"], "an index of the rows, is left out"),
        (f"Unnamed: 0,a\n{rows('{0},z'.format)}", ["a"], "(Unnamed: 0), an index of the rows"),
        (f",a,b\n{rows(lambda i: f'{i * 7 % 24 + 1},1,z')}", ["a", "b"], "an index of the rows"),
        (f"id,a\n{rows('{0},z'.format)}", ["id", "a"], "id: is the row number; --column id=drop"),
        (f"i d,a\n{rows(lambda i: f'{i + 1},z')}", ["i d", "a"], "--column 'i d=drop'"),
    ],
)
def test_dialects_are_found_and_noted(
    read: Read, content: str | bytes, names: list[str], note: str
) -> None:
    file = read(content)
    assert list(file.frame.columns) == names
    assert (note in "\n".join(file.notes)) if note else file.notes == ()


@pytest.mark.parametrize("separator", [", ", " , ", ",  "])
def test_blanks_beside_separators(read: Read, separator: str) -> None:
    lines = (("a", '"b c"', "d"), ("1", '"x, y"', "p q"), ("2.5", '"he said ""hi"""', "r"))
    file = read("\n".join(separator.join(line) for line in lines))
    assert cells(file) == {"a": [1, 2.5], "b c": ["x, y", 'he said "hi"'], "d": ["p q", "r"]}


def test_dots_are_thousands_marks_beside_decimal_commas(read: Read) -> None:
    file = read("a;b;c\n1,5;1.234;0.250\n2,5;12.345.678;1.500\n3,5;7;2.000\n")
    assert cells(file)["b"] == [1234, 12345678, 7]
    assert cells(file)["c"] == [0.25, 1.5, 2.0]
    assert "dots are thousands marks in b" in file.notes


def test_thousands_marks_are_no_decimal_commas(read: Read) -> None:
    for separator in ",\t":
        file = read(f'a{separator}b\n"1,500"{separator}x\n"12,000"{separator}y\n')
        assert cells(file)["a"] == ["1,500", "12,000"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("  \n\n", "is empty"),
        ("ok,a,ok\n1,2,3\n", "several columns are named 'ok'; rename or remove all but one"),
        ('ok, a,"ok "\n1,2,3\n', "several columns are named 'ok'"),
        ("5.1,3.5\n4.9,3.0\n", r"the first line holds numbers only \(5.1, 3.5\): the header is"),
        ("39,a,0,0\n38,b,1,0\n", r"the first line looks like data \(39, a, 0, 0\): the header "),
        (",,\n1,2,3\n", "the columns have no names; add a first line"),
        ("a,b\n1,2\n3\n4,5\n", "line 3 has 1 cell, the header 2; a cell that holds the separator"),
        ("a,b\n1,2\n1,2,3\n1,2,3\n1,2\n", r"line 3 has 3 cells, .* \(another length, too: 1 more"),
        ('a,b\n1,"x\ny"\n3\n', "line 4 has 1 cell, the header 2"),
        ("a,b\r1,2\r3\r", "line 3 has 1 cell, the header 2"),
        ('a,b\n1,"open\n2,x\n3,y\n', r'line 2: a cell begins with a quote \("\) that is not'),
        ('a,b\n1,"op\n2,"en\n3,y\n', r'line 2: a cell begins with a quote \("\) that is not'),
        ("a,b\n1,\0\n", "holds NUL bytes"),
        ("a,b\n1,2\n".encode("utf-16-le"), "holds NUL bytes .binary, or UTF-16 without its mark"),
        (b"\xff\xfea\0,\0\xd8", "cannot be read: it is not UTF-16 text"),
        (b"a,b\n" + "1,ü\n".encode() * 3 + b"2,\xfc\n", "as UTF-8 text, but line 5 is not"),
        (b"PAR1abc", "is a Parquet file; let its name end in .parquet"),
        (b"\xd0\xcf\x11\xe0abc", r"is an Excel file \(.xls\); save it as CSV"),
        (b"%PDF-1.4\n", "is a PDF"),
        (b"<!DOCTYPE html><html>", "is a page of HTML or XML, no table"),
        (b'{"a": [1, 2]}', "is JSON, no table"),
        (b'[{"a": 1}, {"a": 2}]', "is JSON, no table"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-6], "cannot be read"),
    ],
)  # fmt: skip
def test_files_that_are_refused(
    read: Read, tmp_path: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        read(content)
    assert str(caught.value).startswith(f"{tmp_path / 't.csv'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("inside", "what"), [("xl/a.xml", "an Excel file"), ("t.csv", "a zip")])
def test_archives_called_csv(read: Read, inside: str, what: str) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(inside, "a,b\n1,2\n")
    with pytest.raises(DatasetError, match=f"it is {what}"):
        read(content.getvalue())


def test_faults_far_into_a_file_are_named_by_their_line(read: Read) -> None:
    good = "1,ab\n" * 60_000
    with pytest.raises(DatasetError, match="line 60002 has 3 cells"):
        read(f"a,b\n{good}1,2,3\n{good}")
    with pytest.raises(DatasetError, match="line 60003 is not"):
        read(f"a,b\n1,ü\n{good}".encode() + b"2,\xfc\n")
    late = read(f"a,b\n{good}".encode() + b"2,\xfc\n007,z\n")
    assert late.frame.tail(2).to_numpy().tolist() == [["2", "ü"], ["007", "z"]]


def test_the_line_of_a_broken_byte_is_found_in_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes("ü\n".encode() + b"x\n" * 2**22)
    check = Utf8Check(file, gzipped=False)
    assert check.takes(file.read_bytes())
    tracemalloc.start()
    with pytest.raises(DatasetError, match=f"line {2**22 + 2} is not"):
        check.takes(b"\xff")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**21


def test_the_order_and_number_of_rows_stay(read: Read) -> None:
    count = 300_000  # many blocks
    values = np.arange(count) * 37 % 1009
    file = read("a,b\n" + "".join(f"{v},{v % 7 + 0.5}\n" for v in values.tolist()))
    np.testing.assert_array_equal(file.frame["a"], values)
    np.testing.assert_array_equal(file.frame["b"], values % 7 + 0.5)


TABLE = rows(lambda i: f"{i % 7},{'ny'[i % 2]}", 90)


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "t.tsv", "t.tab", "t.txt", "t.csv.gz"])
def test_endings(load: Load, tmp_path: Path, name: str) -> None:
    content = f"a,ok\n{TABLE}".replace(",", "\t").encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    dataset = load(f"{tmp_path / name}:ok")
    assert dataset.name == "t"
    assert dataset.labels == ("n", "y")
    assert dataset.notes == ("separator tab",)
    (tmp_path / "u.csv").write_text(f"a,ok\n{TABLE}")
    assert dataset.fingerprint == load(f"{tmp_path / 'u.csv'}:ok").fingerprint


@pytest.mark.parametrize(
    ("header", "target", "message"),
    [
        ("a,Ok", "ok", r"no column 'ok' \(did you mean 'Ok'\?\); it has a, Ok"),
        ("a,is_ok", "is ok", r"no column 'is ok' \(did you mean 'is_ok'\?\)"),
        ("a,survived", "survived?", r"\(did you mean 'survived'\?\)"),
        ("a,survived", "surived", r"\(did you mean 'survived'\?\)"),
        ("a,survived", "z", "no column 'z'; it has a, survived$"),
        ("5.1,rose", "kind", "it has 5.1, rose; its first line looks like data: if the header is"),
    ],
)
def test_a_target_that_is_not_there(
    load: Load, tmp_path: Path, header: str, target: str, message: str
) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\n{TABLE}")
    with pytest.raises(DatasetError, match=message):
        load(f"{tmp_path / 't.csv'}:{target}")


def test_a_file_without_a_separator_says_so(load: Load, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a b ok\n1 2 x\n3 4 y\n")
    with pytest.raises(DatasetError, match=r"no column 'ok'.* no ',', ';', tab or '\|' separates"):
        load(f"{tmp_path / 't.txt'}:ok")


def test_classes_that_are_words_for_nothing(load: Load, tmp_path: Path) -> None:
    levels = ["None", "NA", "null", "nan"]
    (tmp_path / "t.csv").write_text("a,level\n" + rows(lambda i: f"{i % 7},{levels[i % 4]}", 96))
    assert load(f"{tmp_path / 't.csv'}:level").labels == ("NA", "None", "nan", "null")


def test_studies_of_before_read_as_they_did(load: Load, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",a,b,ok\n" + rows(lambda i: f"{i},0{i % 5},NA,{'ny'[i % 2]}"))
    dataset = load(f"{tmp_path / 't.csv'}:ok", reading=FIRST_READING)
    assert dataset.features == ("Unnamed: 0", "a", "b")
    assert load(f"{tmp_path / 't.csv'}:ok").features != dataset.features
    (tmp_path / "t.csv").write_text("ok,a,ok\n" + rows(lambda i: f"{'ny'[i % 2]},{i},{i}"))
    assert load(f"{tmp_path / 't.csv'}:ok", reading=FIRST_READING).features == ("a", "ok.1")


FRAME = pd.DataFrame({"a": np.arange(90) % 7, "ok": list("ny") * 45})


@pytest.mark.parametrize(
    ("index", "features", "note"),
    [
        (pd.RangeIndex(90), ("a",), ""),
        (pd.RangeIndex(90, name="id"), ("id", "a"), "id: was the index of the rows"),
        (pd.Index(np.arange(90)[::-1]), ("a",), "the index of the rows"),
        (pd.Index(np.arange(90) % 5, name="shop"), ("shop", "a"), "shop: was the index of the row"),
    ],
)
def test_the_index_of_a_parquet_file(
    load: Load, tmp_path: Path, index: "pd.Index[Any]", features: tuple[str, ...], note: str
) -> None:
    FRAME.set_axis(index).to_parquet(tmp_path / "t.parquet")
    dataset = load(f"{tmp_path / 't.parquet'}:ok")
    assert dataset.features == features
    assert any(note in line for line in dataset.notes) if note else dataset.notes == ()


def test_parquet_columns_of_one_name_and_a_forgotten_index(load: Load, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    values, classes = pa.array(np.arange(90) % 7), pa.array(list("ny") * 45)
    parquet.write_table(pa.table([values, classes, classes], names=["a", "ok", "ok"]), path)
    with pytest.raises(DatasetError, match="several columns are named 'ok'"):
        load(f"{path}:ok")
    index = pa.array(np.arange(90)[::-1])
    names = ["a", "ok", "__index_level_0__"]
    parquet.write_table(pa.table([values, classes, index], names=names), path)
    dataset = load(f"{path}:ok")
    assert dataset.features == ("a",)
    assert dataset.notes == ("__index_level_0__: an index of the rows, is left out",)


def test_a_long_table_is_learnt_as_a_short_one(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns are worked on side by side there, and encoded some rows at a time."""
    from tuner.data import column_threads, table_encoding

    content = "a,b,c,ok\n" + rows(lambda i: f"{i % 7},{i % 11 or ''},{'pqr'[i % 3]},{i % 2}", 300)
    (tmp_path / "t.csv").write_text(content)
    whole = load(f"{tmp_path / 't.csv'}:ok")
    monkeypatch.setattr(column_threads, "_FEWEST_ROWS_FOR_THREADS", 1)
    monkeypatch.setattr(column_threads, "scheduled_cores", lambda: 3)
    monkeypatch.setattr(table_encoding, "_ROWS_AT_ONCE", 7)
    parts = load(f"{tmp_path / 't.csv'}:ok")
    assert (parts.fingerprint, parts.columns, parts.notes) == (
        whole.fingerprint, whole.columns, whole.notes,
    )  # fmt: skip


@given(
    words=st.lists(st.text("aou\xe4\xf6\xfc\xdf\xe9\u0161", min_size=3, max_size=8), min_size=1),
    first=st.booleans(),
    separate=st.integers(0, 3),
)
@hypothesis_settings(deadline=None, max_examples=30)
def test_lines_in_two_encodings_are_refused(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], first: bool, separate: int
) -> None:
    path = tmp_path_factory.mktemp("mixed") / "t.csv"
    parts = [b"\xfcber,1\n", "".join(f"{word}\xe4,2\n" for word in words).encode()]
    plain = b"plain,3\n" * separate
    path.write_bytes(b"town,a\n" + plain.join(parts if first else parts[::-1]))
    with pytest.raises(DatasetError, match=r"line \d+ is .*save it as UTF-8"):
        read_delimited(path)


@pytest.mark.parametrize("point", [".5", ".25", ".1234"])
def test_commas_are_no_decimal_commas_beside_decimal_points(
    load: Load, tmp_path: Path, point: str
) -> None:
    body = rows(lambda i: f"{1 + i % 7},{100 + i};{i}{point};{'ny'[i % 2]}", 90)
    (tmp_path / "t.csv").write_text(f"a;b;ok\n{body}")
    dataset = load(f"{tmp_path / 't.csv'}:ok")
    assert next(each for each in dataset.reports if each.name == "a").low == "1100"
    assert any("its comma as a thousands mark" in note for note in dataset.notes)
    (tmp_path / "u.csv").write_text(f"a;b;ok\n{body.replace(point, '')}")
    assert "decimal comma in a" in load(f"{tmp_path / 'u.csv'}:ok").notes
