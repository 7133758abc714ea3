"""A study's data are found again by their contents, wherever they lie; and their scratch copy."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from toy_study import toy_spec
from toy_training import CODE as TOY_CODE

from tuner.data import dataset_files, load_dataset, save_dataset
from tuner.data import rows as scratch_module
from tuner.errors import CodeError, DatasetError, SpecError
from tuner.manage.creation import check_code, trust_own_code
from tuner.runner import trained_on
from tuner.runner.study_files import scratch_folder
from tuner.settings import Settings, load_settings
from tuner.study.spec import CodeFile, DataSpec, StudySpec
from tuner.study.study_differences import study_differences

TABLE = "x,ok\n" + "".join(f"{i % 7},{'ny'[i % 2]}\n" for i in range(90))
OTHER = TABLE.replace("6,", "9,")
CODE = """
import numpy as np
def load():
    return np.arange(60.0).reshape(30, 2), np.arange(30) % 3
"""


class Project:
    """A folder with a database's name in it, data in it, and another folder beside."""

    def __init__(self, folder: Path) -> None:
        self.home, self.elsewhere = folder / "a", folder / "b"
        for each in (self.home, self.elsewhere):
            each.mkdir()
        self.settings = replace(load_settings(f"sqlite:///{self.home}/tuner.db"), scratch=None)
        (self.home / "t.csv").write_text(TABLE)

    def study(self, source: str) -> StudySpec:
        data = DataSpec(source=source)
        dataset = load_dataset(data, self.settings)
        code = dict(toy_spec().code)
        if ".py" in source:
            code[source.rpartition(":")[0]] = CodeFile.of(CODE.encode())
        values = {"fingerprint": dataset.fingerprint, "task": dataset.task, "code": code}
        return self.made_here(toy_spec(data=data, **values))

    def made_here(self, spec: StudySpec) -> StudySpec:
        """This user made a study of it."""
        trust_own_code(spec, self.settings)
        return spec


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = Project(tmp_path)
    monkeypatch.chdir(project.home)
    return project


def forms(folder: Path) -> dict[str, str]:
    """The same data in every form: their path, and what follows it."""
    x, y = np.arange(90.0), np.arange(90) % 3
    np.savez(folder / "d.npz", x=x, y=y)
    import pandas as pd

    pd.DataFrame({"x": x, "y": y}).to_parquet(folder / "d.parquet")
    (folder / "d.py").write_text(CODE)
    (folder / "idx:1").mkdir()
    for role, shape in (("images", (90, 2, 2)), ("labels", (90,))):
        array = (np.arange(np.prod(shape)).reshape(shape) % 3).astype("u1")
        header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
        (folder / "idx:1" / f"train-{role}-idx").write_bytes(header + array.tobytes())
    return {"d.npz": "", "d.parquet": ":y", "d.py": ":load", "idx:1": "", "t.csv": ":ok"}


@pytest.mark.parametrize("name", ["d.npz", "d.parquet", "d.py", "idx:1", "t.csv"])
def test_every_form_is_found_from_another_folder_and_when_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    selector = forms(project.home)[name]
    spec = project.study(name + selector)
    monkeypatch.chdir(project.elsewhere)
    assert trained_on(project.settings, spec).fingerprint == spec.fingerprint
    check_code(spec, project.settings)
    (project.home / "moved").mkdir()
    shutil.move(project.home / name, project.home / "moved" / name)
    with pytest.raises(DatasetError) as caught:
        trained_on(project.settings, spec)
    for word in (str(project.home), str(project.elsewhere), "--data"):
        assert word in str(caught.value)
    with pytest.raises(DatasetError, match="--data"):
        check_code(spec, project.settings)
    now = f"{project.home}/moved/{name}"
    for told in {now, now + selector}:  # which column, or which function, is known
        assert trained_on(project.settings, spec, told).fingerprint == spec.fingerprint
        check_code(spec, project.settings, told)


def test_other_contents_are_refused_wherever_they_lie(project: Project) -> None:
    spec = project.study("t.csv:ok")
    (project.elsewhere / "t.csv").write_text(OTHER)
    with pytest.raises(DatasetError, match="fingerprint") as caught:
        trained_on(project.settings, spec, "../b/t.csv:ok")
    assert "../b/t.csv:ok" in str(caught.value)
    assert "\n" not in str(caught.value)
    (project.home / "t.csv").write_text(OTHER)
    with pytest.raises(DatasetError, match="fingerprint"):
        trained_on(project.settings, spec)


@pytest.mark.parametrize("text", [OTHER, "no table of this kind\n", ""])
def test_a_file_of_that_name_elsewhere_hides_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    spec = project.study("t.csv:ok")
    (project.elsewhere / "t.csv").write_text(text)
    monkeypatch.chdir(project.elsewhere)
    assert trained_on(project.settings, spec).fingerprint == spec.fingerprint


def test_of_code_the_hash_decides(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.home / "mine.py").write_text(CODE)
    spec = project.study("mine.py:load")
    # The study's own file is found, and the other one of its name is not even run.
    (project.elsewhere / "mine.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(project.elsewhere)
    check_code(spec, project.settings)
    assert trained_on(project.settings, spec).fingerprint == spec.fingerprint
    (project.home / "mine.py").rename(project.home / "renamed.py")
    with pytest.raises(SpecError, match="has changed"):
        check_code(spec, project.settings)
    check_code(spec, project.settings, "../a/renamed.py:load")
    assert trained_on(project.settings, spec, "../a/renamed.py").fingerprint == spec.fingerprint
    (project.home / "renamed.py").write_text(f"{CODE}\n# the same data")
    for refuse in (check_code, lambda s, t, d: trained_on(t, s, d)):
        with pytest.raises(SpecError, match=r"renamed\.py has changed"):
            refuse(spec, project.settings, "../a/renamed.py:load")


def test_the_user_s_own_network_needs_no_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = project.home / toy_spec().space.network.partition(":")[0]
    network.write_text(TOY_CODE)
    spec = project.made_here(replace_data(toy_spec(), project))
    check_code(spec, project.settings)
    monkeypatch.chdir(project.elsewhere)
    (project.elsewhere / network.name).write_text("# of another project")
    check_code(spec, project.settings)
    network.unlink()
    with pytest.raises(CodeError, match="has changed"):
        check_code(spec, project.settings)
    (project.elsewhere / network.name).unlink()
    check_code(spec, project.settings)


def replace_data(spec: StudySpec, project: Project) -> StudySpec:
    data = DataSpec(source=str(project.home / "t.csv") + ":ok")
    return spec.model_copy(update={"data": data})


steps = st.lists(st.sampled_from([".", "..", "a", "b"]), max_size=6)


@hypothesis_settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps, st.sampled_from(["typed", "full", "linked", "home"]), st.booleans())
def test_any_spelling_is_the_same_data(
    project: Project, words: list[str], how: str, other: bool
) -> None:
    spec = project.study("t.csv:ok")
    link = project.home / "link.csv"
    link.unlink(missing_ok=True)
    link.symlink_to("t.csv")
    typed = os.path.relpath(project.home / "t.csv")
    inside = [word for word in words if word == "."] + ["../a"] * words.count("a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(project.home))
        source = {
            "typed": "/".join([*inside, typed]),
            "full": str(project.home / "t.csv"),
            "linked": str(link),
            "home": "~/t.csv",
        }[how]
        (project.home / "t.csv").write_text(OTHER if other else TABLE)
        again = project.study(f"{source}:ok")
        told = study_differences(spec, again)
        (project.home / "t.csv").write_text(TABLE)
    assert bool(told) is other
    assert len(told) == int(other)


# The scratch copy.


def test_the_scratch_folder_lies_beside_the_project(project: Project, tmp_path: Path) -> None:
    with scratch_folder(project.settings) as folder:
        assert folder.parent == project.home / ".tuner" / "scratch"
        assert folder.is_dir()
    assert not folder.exists()
    elsewhere = replace(
        project.settings, storage="postgresql://x/y", checkpoints=tmp_path / "s" / "checkpoints"
    )
    with scratch_folder(elsewhere) as folder:
        assert folder.parent == tmp_path / "s" / "scratch"
    with scratch_folder(replace(elsewhere, scratch=tmp_path / "own")) as folder:
        assert folder.parent == tmp_path / "own"


def _killed_search(settings: Settings) -> Path:
    """The folder of a search that was killed."""
    code = (
        "import os, sys\nfrom dataclasses import replace\nfrom pathlib import Path\n"
        "from tuner.runner.study_files import scratch_folder\nfrom tuner.settings import *\n"
        "with scratch_folder(load_settings(sys.argv[1])) as folder:\n"
        "    (folder / 'data').mkdir()\n    print(folder, flush=True)\n    os._exit(9)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TUNER_SCRATCH"}
    done = subprocess.run(
        [sys.executable, "-c", code, settings.storage],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 9, done.stderr
    return Path(done.stdout.strip())


def test_what_a_killed_search_has_left_goes_with_the_next(project: Project) -> None:
    left = _killed_search(project.settings)
    assert (left / "data").is_dir()
    with scratch_folder(project.settings) as first:
        assert not left.exists()
        with scratch_folder(project.settings) as second:
            assert first.is_dir()
            assert second.is_dir()


def test_a_slot_that_cannot_be_written_is_told_once(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    (project.home / ".tuner").write_text("a file")
    for _ in range(2):
        with scratch_folder(project.settings) as folder:
            assert folder.parent == Path(tempfile.gettempdir())
    (told,) = caplog.messages
    assert str(project.home / ".tuner" / "scratch") in told
    assert "\n" not in told


Usage = namedtuple("Usage", "total used free")


def _full(_slot: Path) -> Usage:
    return Usage(2**40, 2**40, 2**20)


def test_a_full_disk_is_one_line_before_anything_is_written(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(DataSpec(source="digits"), project.settings)
    monkeypatch.setattr(scratch_module.shutil, "disk_usage", _full)
    with pytest.raises(DatasetError, match=r"need 0\.0 GiB, 0\.0 GiB are free.*TUNER_SCRATCH"):
        save_dataset(dataset, project.home / "kept")
    assert list((project.home / "kept").iterdir()) == []


def test_a_disk_that_fills_up_is_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(DataSpec(source="digits"), project.settings)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(dataset_files, "_save", fail)
    with pytest.raises(DatasetError, match=r"are free on that disk; make room") as caught:
        save_dataset(dataset, project.home / "kept")
    assert "\n" not in str(caught.value)
