"""Data too large for memory: nothing but memory is otherwise."""

import functools
import gzip
import json
import os
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fork_server import start
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from make_kinds import write_kinds

from tuner.data import Dataset, load_dataset, open_dataset, save_dataset
from tuner.data import rows as rows_module
from tuner.data.rows import JoinedRows, Rows
from tuner.errors import DatasetError
from tuner.settings import Settings
from tuner.study.data_spec import FIRST_READING, DataSpec

Load = Callable[..., Dataset]

# As an earlier version has computed them, all of the data in memory.
KNOWN = json.loads((Path(__file__).parent / "fingerprints.json").read_text())
Y = np.arange(90) % 3
LOOSE = hypothesis_settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is small enough for memory, and a block is a few rows."""
    monkeypatch.setattr(rows_module, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(rows_module, "_BLOCK_VALUES", 50)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_kinds(tmp_path_factory.mktemp("kinds"))


def fingerprints(load: Load, source: str, **options: Any) -> dict[str, str]:
    return {
        str(seed): load(source, seed=seed, scaling=scaling, **options).fingerprint
        for seed, scaling in ((0, "auto"), (3, "standardize"))
    }


@pytest.mark.parametrize("kind", KNOWN)
def test_fingerprints_stay(load: Load, kinds: dict[str, str], kind: str) -> None:
    assert fingerprints(load, kinds[kind]) == KNOWN[kind]
    assert fingerprints(load, kinds[kind], reading=FIRST_READING) == KNOWN[kind]


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("kind", KNOWN)
def test_fingerprints_of_large_data_are_the_same(
    load: Load, kinds: dict[str, str], kind: str
) -> None:
    assert fingerprints(load, kinds[kind]) == KNOWN[kind]


@pytest.mark.parametrize("kind", KNOWN)
def test_large_data_are_what_small_ones_are(
    load: Load, kinds: dict[str, str], kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = load(kinds[kind])
    assert isinstance(small.train.x, np.ndarray)
    monkeypatch.setattr(rows_module, "IN_MEMORY_BYTES", 0)  # blocks as they are: sums are bit-equal
    large = load(kinds[kind])
    assert isinstance(large.train.x, Rows)
    save_dataset(large, tmp_path / "whole")
    save_dataset(large.for_test(), tmp_path / "joined")
    same(small, open_dataset(tmp_path / "whole"))
    same(small.for_test(), open_dataset(tmp_path / "joined"))


def same(first: Dataset, second: Dataset) -> None:
    for part, split in first.splits.items():
        other = second.splits[part]
        np.testing.assert_array_equal(split.x, other.x, strict=True)
        np.testing.assert_array_equal(split.y, other.y, strict=True)
    for name in ("scaling", "target_scaling"):
        one, two = getattr(first, name), getattr(second, name)
        assert one.method == two.method
        np.testing.assert_array_equal(one.scale, two.scale, strict=True)
        np.testing.assert_array_equal(one.offset, two.offset, strict=True)
    for name in ("task", "labels", "fingerprint", "features", "columns", "notes"):
        assert getattr(first, name) == getattr(second, name)


KINDS_OF_VALUES = ["u1", "i1", "<i2", ">i4", "<i8", "?", "<f2", ">f4", "<f8"]
values = st.sampled_from(KINDS_OF_VALUES).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        st.tuples(st.just(90), st.integers(1, 5), st.integers(1, 4)).map(
            lambda shape: shape if shape[1] < 4 else shape[:2]
        ),
        elements=st.floats(0, 100, width=16) if "f" in dtype else None,
        fill=None,
    )
)


@LOOSE
@given(values, st.booleans(), st.booleans(), st.integers(1, 400), st.integers(0, 9))
def test_any_archive(
    settings: Settings,
    tmp_path: Path,
    x: np.ndarray,
    compressed: bool,
    by_columns: bool,
    block: int,
    seed: int,
) -> None:
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "any.npz", x=np.asfortranarray(x) if by_columns else x, y=Y)
    spec = DataSpec(source=str(tmp_path / "any.npz"), seed=seed)
    small = load_dataset(spec, settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "IN_MEMORY_BYTES", 0)
        patch.setattr(rows_module, "_BLOCK_VALUES", block)
        large = load_dataset(spec, settings)
        assert large.fingerprint == small.fingerprint
        for part, split in large.splits.items():
            np.testing.assert_array_equal(np.asarray(split.x), small.splits[part].x, strict=True)


@LOOSE
@given(st.data())
def test_rows_answer_as_an_array_does(data: st.DataObject) -> None:
    whole = np.arange(60).reshape(20, 3)
    cut = data.draw(st.integers(1, 19))
    rows = JoinedRows([whole[:cut], whole[cut:]])
    assert (rows.shape, rows.dtype, rows.ndim, rows.size, rows.nbytes, len(rows)) == (
        whole.shape, whole.dtype, 2, whole.size, whole.nbytes, 20,
    )  # fmt: skip
    asked: Any = data.draw(
        st.one_of(
            st.slices(20),
            st.integers(-20, 19),
            st.lists(st.integers(-20, 19)).map(lambda found: np.array(found, np.intp)),
        )
    )
    np.testing.assert_array_equal(rows[asked], whole[asked], strict=True)
    np.testing.assert_array_equal(np.asarray(rows), whole, strict=True)


@pytest.mark.usefixtures("all_large")
@LOOSE
@given(st.data())
def test_damaged_large_files_never_end_in_a_traceback(
    load: Load, tmp_path: Path, data: st.DataObject
) -> None:
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    path = tmp_path / "damaged.npz"
    save(path, x=np.arange(90.0), y=Y)
    intact = load(path).fingerprint
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(DatasetError):
        # What is not noticed has hit nothing that is read.
        assert load(path).fingerprint == intact


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize(
    ("change", "said"), [(os.utime, "changed while it was read"), (Path.unlink, None)]
)
def test_a_file_that_changes_while_it_is_read(
    load: Load, tmp_path: Path, change: Callable[[Path], None], said: str | None
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(90.0), y=Y)
    dataset = load(path)
    os.utime(path, ns=(0, 0)) if change is os.utime else change(path)
    if said is None:  # a file that was replaced is still the one that was opened
        save_dataset(dataset, tmp_path / "kept")
        return
    with pytest.raises(DatasetError, match=said):
        save_dataset(dataset, tmp_path / "kept")


@pytest.mark.usefixtures("all_large")
def test_no_scratch_copy_is_left(load: Load, settings: Settings, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(90.0), y=Y)
    load(tmp_path / "a.npz")
    scratch = settings.checkpoints.parent / "scratch"
    assert scratch.is_dir()
    assert list(scratch.iterdir()) == []


MEASURED = """
import re, sys
from pathlib import Path
from tuner.data import load_dataset, save_dataset
from tuner.data.rows import check_free_space
from tuner.settings import load_settings
from tuner.study.spec import DataSpec
import pandas, zipfile, gzip
from tuner.data import rows as split
from tuner.data.readers import idx, npz

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

before = peak()
dataset = load_dataset(DataSpec(source=sys.argv[1], test=0.2), load_settings())
save_dataset(dataset.for_test() if sys.argv[2] == "test" else dataset, Path(sys.argv[3]))
print(peak() - before)
"""
ROWS, WIDTH = 100_000, 400  # 160 MB as float32; 100 MB are used, however many rows there are


def _zeros(path: Path, how: int) -> str:
    with zipfile.ZipFile(path / "a.npz", "w", how, compresslevel=1) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (ROWS, WIDTH)}
            np.lib.format.write_array_header_1_0(file, header)
            for _ in range(100):
                file.write(bytes(ROWS * WIDTH // 25))
        with archive.open("y.npy", "w") as file:
            np.lib.format.write_array(file, np.arange(ROWS, dtype=np.int32) % 3)
    return str(path / "a.npz")


_open_gzip = functools.partial(gzip.open, compresslevel=1)


def _idx_zeros(path: Path, zipped: bool) -> str:
    name, opened = ("idx.gz", _open_gzip) if zipped else ("idx", open)
    shape, labels = np.array([ROWS, 20, 20], ">u4"), np.arange(ROWS, dtype="u1") % 3
    with opened(path / f"train-images-{name}", "wb") as file:
        file.write(b"\0\0\x0d\x03" + shape.tobytes())
        for _ in range(100):
            file.write(bytes(ROWS * WIDTH // 25))
    header = b"\0\0\x08\x01" + shape[:1].tobytes()
    (path / "train-labels-idx").write_bytes(header + labels.tobytes())
    return str(path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("write", "held_out"),
    [
        (lambda path: _zeros(path, zipfile.ZIP_STORED), "validation"),
        (lambda path: _zeros(path, zipfile.ZIP_DEFLATED), "test"),
        (lambda path: _idx_zeros(path, zipped=False), "test"),
        (lambda path: _idx_zeros(path, zipped=True), "validation"),
    ],
    ids=["npz", "compressed npz", "idx", "idx.gz"],
)
def test_memory_stays_small(write: Callable[[Path], str], held_out: str, tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    words = [write(tmp_path), held_out, str(tmp_path / "kept")]
    with printed.open("wb") as output, Path(os.devnull).open() as nothing:
        streams = (nothing.fileno(), output.fileno(), output.fileno())
        environment = os.environ | {"TUNER_SCRATCH": str(tmp_path / "scratch")}
        code = start(MEASURED, words, tmp_path, streams, environment).wait(200)
    assert code == 0, printed.read_text()
    assert float(printed.read_text()) < 140
    (tmp_path / "kept" / "train_x.npy").unlink()
