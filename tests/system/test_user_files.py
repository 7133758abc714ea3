"""Files that a user's code reads by tuner.local_file."""

import hashlib
from pathlib import Path

import pytest

import tuner
from tuner.errors import NetworkError
from tuner.system.user_files import hash_named_files, known_files

CODE = 'import tuner\nload(tuner.local_file("weights/a.h5"), local_file("b.keras"), open("c"))\n'


@pytest.fixture
def code_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in a folder of a project; one of what it reads is beside it, one in the project."""
    (tmp_path / "nets" / "weights").mkdir(parents=True)
    (tmp_path / "nets" / "weights" / "a.h5").write_bytes(b"a")
    (tmp_path / "b.keras").write_bytes(b"b")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "nets" / "net.py"


def test_files_named_in_code_are_found_and_hashed(code_file: Path) -> None:
    expected = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in (("weights/a.h5", b"a"), ("b.keras", b"b"))
    }
    assert hash_named_files([CODE], code_file) == expected
    with known_files(expected.items(), code_file):
        assert tuner.local_file("weights/a.h5") == code_file.parent / "weights" / "a.h5"
        assert tuner.local_file(Path("b.keras")) == Path("b.keras").absolute()


def test_another_file_than_the_study_has_is_refused(code_file: Path) -> None:
    known = hash_named_files([CODE], code_file)
    Path("b.keras").write_bytes(b"another")
    Path("d.keras").write_bytes(b"d")
    with known_files(known.items(), code_file):
        with pytest.raises(NetworkError, match=r"b\.keras: has changed since the study was"):
            tuner.local_file("b.keras")
        with pytest.raises(NetworkError, match=r"write its path as a literal"):
            tuner.local_file("d.keras")
    Path("b.keras").unlink()
    with pytest.raises(NetworkError, match=r"local_file\('b.keras'\): there is no such file in "):
        hash_named_files([CODE], code_file)


def test_code_that_runs_by_itself_finds_its_files(code_file: Path) -> None:
    code_file.write_text('import tuner\nfound = tuner.local_file("weights/a.h5")\n')
    names: dict[str, object] = {}
    exec(compile(code_file.read_text(), str(code_file), "exec"), names)
    assert names["found"] == code_file.parent / "weights" / "a.h5"
