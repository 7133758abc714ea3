"""`my_file.py:load`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tuner.data import Dataset, parse_source
from tuner.errors import DatasetError

Load = Callable[..., Dataset]

HEAD = "import numpy as np\nx = np.arange(60.0).reshape(30, 2)\ny = np.arange(30) % 3\n"


def write(folder: Path, body: str) -> Path:
    path = folder / "mine.py"
    path.write_text(f"{HEAD}def load():\n    {body}\n")
    return path


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        ("return x, y", [22, 4, 4]),
        ("return x.tolist(), y.tolist()", [22, 4, 4]),
        ("return (x, y), (x[:9], y[:9])", [25, 5, 9]),
        ("return {'x': x, 'y': y}", [22, 4, 4]),
        ("return {'x_train': x, 'y_train': y, 'x_val': x[:6], 'y_val': y[:6]}", [26, 6, 4]),
        ("import pandas as pd; return pd.DataFrame(x), pd.Series(y)", [22, 4, 4]),
        ("import beside; return beside.data(x, y)", [22, 4, 4]),
    ],
)
def test_every_form_of_return(load: Load, tmp_path: Path, body: str, rows: list[int]) -> None:
    (tmp_path / "beside.py").write_text("def data(x, y):\n    return x, y\n")
    dataset = load(f"{write(tmp_path, body)}:load")
    assert [len(split) for split in dataset.splits.values()] == rows
    assert (dataset.name, dataset.input_shape, dataset.task) == ("mine", (2,), "classes")
    assert np.concatenate([s.x for s in dataset.splits.values()])[:, 0].max() == 58


def test_a_list_of_two_rows_is_no_pair(load: Load, tmp_path: Path) -> None:
    path = write(tmp_path, "return [[1, 2], [3, 4]], [0, 1]")
    with pytest.raises(DatasetError, match="training part has 2 rows"):
        load(f"{path}:load")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 1 / 0", "mine.py:5: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "mine.py:5: SystemExit: 3"),
        ("np.zeros(3).reshape(2)", "mine.py:5: ValueError: cannot reshape"),
        ("return x)", "mine.py:5: SyntaxError: unmatched"),
        ("return x", "mine.py:load: must return .* it returned a ndarray"),
        ("return x, y, y", "must return .* it returned a tuple of 3"),
        ("return {'x': x}", "holds 'x' without 'y'"),
        (
            "return [[[1]], [[2, 3], [4, 5]]], [0, 1]",
            r"x \(train\): the sequence of row 2 has steps of shape \(2,\)",
        ),
        ("import pandas; return pandas.DataFrame(), []", "the target is empty"),
        ("import pandas; return (pandas.DataFrame(x), y), (x, y)", "a DataFrame in one part only"),
    ],
)
def test_errors_name_file_and_line(load: Load, tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        load(f"{write(tmp_path, body)}:load")
    assert "\n" not in str(caught.value)


def test_errors_of_a_module_beside_the_file_name_that(load: Load, tmp_path: Path) -> None:
    path = write(tmp_path, "import beside; return beside.data(x, y)")
    (tmp_path / "beside.py").write_text("def data(x, y):\n    return x / 0 if False else 1 / 0\n")
    with pytest.raises(DatasetError, match=r"beside\.py:2: ZeroDivisionError"):
        load(f"{path}:load")
    (tmp_path / "beside.py").write_text("def data(\n")
    with pytest.raises(DatasetError, match=r"beside\.py:1: SyntaxError"):
        load(f"{path}:load")


def test_a_function_that_is_missing_or_wants_arguments(load: Load, tmp_path: Path) -> None:
    path = write(tmp_path, "return x, y")
    with pytest.raises(DatasetError, match="no function 'lode'; it has load"):
        load(f"{path}:lode")
    with pytest.raises(DatasetError, match=r"name the function as .*:FUNCTION; it has load"):
        load(path)
    path.write_text("def load(folder):\n    return folder\n")
    with pytest.raises(DatasetError, match="must take no arguments"):
        load(f"{path}:load")
    with pytest.raises(DatasetError, match=r"none\.py: no such file"):
        load(f"{tmp_path / 'none.py'}:load")


def test_what_a_mask_hides_is_missing(load: Load, tmp_path: Path) -> None:
    path = write(tmp_path, "return np.ma.masked_array(x, mask=x == 4), y")
    assert "missing, set to median" in "".join(load(f"{path}:load").notes)
    path = write(tmp_path, "return x, np.ma.masked_array(y, mask=x[:, 0] == 4)")
    with pytest.raises(DatasetError, match=r"target is missing in 1 row \(first: row 3\)"):
        load(f"{path}:load")


def test_an_edit_is_seen_at_once(load: Load, tmp_path: Path) -> None:
    first = load(f"{write(tmp_path, 'return x + 1, y')}:load")
    second = load(f"{write(tmp_path, 'return x + 2, y')}:load")
    assert first.fingerprint != second.fingerprint


def test_the_file_of_user_code_is_known_without_reading_it() -> None:
    assert parse_source("some/mine.py:load").code == Path("some/mine.py")
    assert parse_source("digits").code is None
    assert parse_source("table.csv:y").code is None


def test_the_terminal_gets_what_it_prints_and_nothing_of_native_code(
    load: Load, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    body = "import os, sys; os.write(2, b'native'); print('out'); print('err', file=sys.stderr)"
    load(f"{write(tmp_path, f'{body}; return x, y')}:load")
    assert capfd.readouterr() == ("", "out\nerr\n")


def test_rows_paired_in_another_order_are_refused(load: Load, tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text(
        "import numpy as np, pandas as pd\n"
        "y = pd.Series(['a', 'b'] * 30)\n"
        "x = pd.DataFrame({'n': np.arange(60.0)})\n"
        "def paired():\n    return x.iloc[::-1], y.iloc[::-1]\n"
        "def shifted():\n    return x.set_axis(range(5, 65)), y\n"
        "def turned():\n    return x.iloc[::-1], y\n"
    )
    for name in ("paired", "shifted"):
        assert len(load(f"{code}:{name}").splits) == 3
    with pytest.raises(DatasetError, match=r"train have the same index in another order"):
        load(f"{code}:turned")
