"""What `tuner gc` finds and removes, and what it leaves."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tracking_helpers import Search, make_spec

from tuner.data.image_cache import image_cache_folder
from tuner.errors import StudyError
from tuner.manage.cleaning import Leftover, Project, find_leftovers, remove_leftovers
from tuner.manage.deletion import delete_study
from tuner.runner.study_files import mark_owner
from tuner.settings import Settings
from tuner.storage import Store, leases, open_store
from tuner.storage.identity import database_uuid, record, residence
from tuner.storage.kept_networks import release_beyond
from tuner.storage.schema import studies
from tuner.storage.studies import StudyRow, create_study
from tuner.storage.trials import list_trials
from tuner.study.spec import Choice, DataSpec, StudySpec
from tuner.system.temporary_folders import lock_folder

_LONG_AGO = time.time() - 7200
HASH = "0123456789abcdef"


def write(file: Path, content: str = "12345", at: float = _LONG_AGO) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    os.utime(file, (at, at))
    return file


class Folder:
    """A project whose study has three finished trials and one that waits."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.settings = Settings(
            f"sqlite:///{folder}/tuner.db",
            f"sqlite:///{folder}/mlflow.db",
            folder,
            folder / ".tuner" / "checkpoints",
            folder / "keras",
            scratch=folder / "scratch",
        )
        record(store, residence(store))
        self.study = self.new_study("toy")
        search = Search(store, self.study)
        self.lease = search.lease
        for score in (0.5, 0.9, 0.7):
            trial = search.start()
            file = write(self.in_study(f"trial-{trial.number}/attempt-1.keras"))
            name = str(file.relative_to(self.settings.checkpoints))
            search.complete(trial, score, file, name)
        search.put_back(search.start())
        leases.renew_lease(store, self.lease, 0.0)

    def new_study(self, name: str, spec: StudySpec | None = None) -> StudyRow:
        return create_study(self.store, name, spec or make_spec())

    def in_study(self, name: str) -> Path:
        return self.settings.checkpoints / self.study.uuid / name

    def write(self, name: str, **options: Any) -> Path:
        return write(self.in_study(name), **options)

    def marked_folder(self, uuid: str, owner: str | None = None) -> Path:
        file = write(self.settings.checkpoints / uuid / "trial-0" / "attempt-1.keras")
        artifacts = Project(self.settings, self.store).artifacts
        mark_owner(artifacts, uuid, owner or str(database_uuid(self.store)))
        mark = self.settings.checkpoints / uuid / "database"
        for each in (mark, file.parent, mark.parent):
            os.utime(each, (_LONG_AGO, _LONG_AGO))
        return mark.parent

    def find(self, keep_models: int | None = None, **options: Any) -> list[Leftover]:
        self.project = Project(self.settings, self.store, keep_models)
        return find_leftovers(self.project, [self.study], **{"is_whole": True} | options)

    def found(self, keep_models: int | None = None, **options: Any) -> dict[str, list[str]]:
        """The paths that are found, by kind."""
        by_kind: dict[str, list[str]] = {}
        for leftover in self.find(keep_models, **options):
            path = str(Path(leftover.place).relative_to(self.folder))
            by_kind.setdefault(leftover.what, []).append(path.replace(self.study.uuid, "UUID"))
        return by_kind

    def remove(self, leftovers: list[Leftover]) -> int:
        return len(remove_leftovers(self.project, [self.study], leftovers))

    def files(self) -> set[Path]:
        return {file for file in self.folder.rglob("*") if not file.name.startswith("tuner.db")}


@pytest.fixture
def project(tmp_path: Path, made_tables: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    shutil.copy(made_tables, tmp_path / "tuner.db")
    # Of other tests, and of the machine.
    monkeypatch.setattr("tuner.runner.study_files.TEMPORARY", ())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield Folder(tmp_path, store)
    store.close()


def test_a_project_without_leftovers(project: Folder) -> None:
    project.write("trial-3/attempt-1.ckpt")  # its next attempt goes on from it
    project.write("search.log")
    project.write("notes/mine.keras")
    assert project.found() == {}
    assert project.project.notes == []


def test_what_a_study_no_longer_needs(project: Folder) -> None:
    stays = {
        project.write("trial-3/attempt-1.keras"),  # of a trial that has not ended
        project.write("trial-0/.attempt-9.partial.keras", at=time.time()),
        project.write("trial-0/attempt-9.keras", at=time.time()),
        project.write("trial-0/mine.keras"),
        project.write("trial-3/attempt-1.ckpt"),
    }
    release_beyond(project.store, project.study, "maximize", 2)  # of trial 0
    for name in (
        "trial-1/attempt-1.ckpt",
        "trial-1/attempt-2.keras",
        "trial-3/.attempt-1.partial.ckpt",
        "trial-3/attempt-2.part",
        "trial-8/attempt-1.ckpt",
    ):
        project.write(name)
    before = project.files()
    assert project.found() == {
        "checkpoints of finished trials": [
            ".tuner/checkpoints/UUID/trial-1/attempt-1.ckpt",
            ".tuner/checkpoints/UUID/trial-8/attempt-1.ckpt",
        ],
        "half-written files": [
            ".tuner/checkpoints/UUID/trial-3/.attempt-1.partial.ckpt",
            ".tuner/checkpoints/UUID/trial-3/attempt-2.part",
        ],
        "networks that are no longer kept": [".tuner/checkpoints/UUID/trial-0/attempt-1.keras"],
        "networks of lost attempts": [".tuner/checkpoints/UUID/trial-1/attempt-2.keras"],
    }
    assert project.files() == before
    assert project.remove(project.find()) == 6
    assert project.found() == {}
    assert stays <= project.files()
    kept = {project.in_study(f"trial-{number}/attempt-1.keras") for number in (1, 2)}
    assert kept <= project.files()
    assert not project.in_study("trial-8").exists()


def test_networks_beyond_the_best(project: Folder) -> None:
    what = "networks beyond the best 1"
    assert [Path(path).parent.name for path in project.found(1)[what]] == ["trial-0", "trial-2"]
    assert project.remove(project.find(1)) == 2
    assert project.in_study("trial-1/attempt-1.keras").exists()
    assert project.found(1) == {}
    assert project.found() == {}


def test_copies_in_mlflow_of_networks_beyond_the_best(
    project: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[int]] = []

    def unneeded_models(*given: Any) -> list[Any]:
        asked.append(given[-1])
        return []

    monkeypatch.setattr("tuner.tracking.kept_models.unneeded_models", unneeded_models)
    for most in (None, 1):
        project.find(most, with_mlflow=True)
    trials = list_trials(project.store, project.study)
    assert asked == [set(), {trials[0].trial_id, trials[2].trial_id}]


def test_a_comparison_has_no_best_networks(project: Folder) -> None:
    listed = {"held_out": "test", "metric": "test_accuracy", "sampler": Choice(name="listed")}
    listed["pruner"] = Choice(name="none")
    project.study = project.new_study("comparison", make_spec().model_copy(update=listed))
    search = Search(project.store, project.study)
    trial = search.start()
    file = project.write("trial-0/attempt-1.keras")
    search.complete(trial, 0.5, file, str(file.relative_to(project.settings.checkpoints)))
    leases.renew_lease(project.store, search.lease, 0.0)
    assert project.found(0) == {}


def test_the_folder_of_a_trial_that_goes_on_stays(project: Folder) -> None:
    partial = project.write("trial-3/.attempt-1.partial.ckpt")
    assert project.remove(project.find()) == 1
    assert not partial.exists() and partial.parent.is_dir()


def test_networks_of_promotions_that_were_refused(project: Folder) -> None:
    old = [project.write("promoted/trial-1.keras"), project.write("promoted/trial-1.npz")]
    young = project.write("promoted/trial-2.keras", at=time.time() - 1800)
    leftovers = project.find()
    assert {each.what for each in leftovers} == {"final networks that were not promoted"}
    lock = project.write("promotion.lock")
    with lock.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # a promotion of the study begins
        assert project.remove(leftovers) == 0
    assert all(file.exists() for file in old)
    assert project.remove(leftovers) == 2
    assert young.exists() and not any(file.exists() for file in old)


def test_a_search_is_not_disturbed(project: Folder) -> None:
    project.write("trial-1/attempt-1.ckpt")
    leftovers = project.find()
    assert len(leftovers) == 1
    lease = leases.open_lease(project.store, project.study)  # a search begins
    assert project.remove(leftovers) == 0
    assert "has begun: the study is left alone" in project.project.notes[0]
    assert project.found(1) == {}
    assert project.project.notes == ["study toy is being searched: it is left alone"]
    leases.renew_lease(project.store, lease, 0.0)
    assert project.remove(leftovers) == 1


def test_only_folders_of_our_own_deleted_studies_go(project: Folder) -> None:
    ours = project.marked_folder("a" * 32)
    project.marked_folder("b" * 32, owner="c" * 32)
    write(project.settings.checkpoints / ("d" * 32) / "trial-0" / "attempt-1.keras")
    write(project.settings.checkpoints / "mine" / "notes.txt")
    kept_on_purpose = project.new_study("second")
    folder = project.marked_folder(kept_on_purpose.uuid)
    delete_study(project.settings, project.store, kept_on_purpose, keep_networks=True, force=False)
    before = project.files()
    assert project.found() == {
        "folders of deleted studies": [str(ours.relative_to(project.folder))]
    }
    (note,) = project.project.notes
    assert "3 folders are of no study of this database" in note
    assert project.remove(project.find()) == 1
    assert before - project.files() == {ours, *(path for path in before if ours in path.parents)}
    assert (folder / "trial-0" / "attempt-1.keras").exists()


def test_a_folder_that_is_written_to_by_now_stays(project: Folder) -> None:
    folder = project.marked_folder("a" * 32)
    leftovers = project.find()
    assert len(leftovers) == 1
    write(folder / "trial-0" / "attempt-2.keras", at=time.time())
    assert project.remove(leftovers) == 0
    assert (folder / "trial-0" / "attempt-1.keras").exists()


def test_what_killed_commands_tried_the_store_with(project: Folder) -> None:
    root = project.settings.checkpoints
    month_ago = time.time() - 31 * 86_400
    write(root / "check-old")
    write(root / "check-new", at=time.time())
    write(root / "ray-check-old" / "search", at=month_ago)
    write(root / "ray-check-searching" / "search")
    found = {
        "files of checks": [
            f".tuner/checkpoints/{n}" for n in ("check-old", "ray-check-old/search")
        ]
    }
    assert project.found() == found
    assert project.remove(project.find()) == 2
    assert not (root / "ray-check-old").exists()
    assert (root / "check-new").exists()
    assert (root / "ray-check-searching" / "search").exists()


def test_scratch_of_dead_processes(project: Folder) -> None:
    scratch = project.folder / "scratch"
    names = ("tuner-data-dead", "tuner-data-alive")
    for name in names:
        write(scratch / name / "data" / "x.npy")
    owners = {name: lock_folder(scratch / name, "owner") for name in names}
    os.close(owners["tuner-data-dead"])
    assert project.found() == {"scratch folders of dead processes": ["scratch/tuner-data-dead"]}
    assert project.remove(project.find()) == 1
    assert [path.name for path in scratch.iterdir()] == ["tuner-data-alive"]
    os.close(owners["tuner-data-alive"])


def test_decoded_images_that_nobody_has_read_lately(project: Folder) -> None:
    images = image_cache_folder(project.settings)
    for name in ("old", "new", "half.1.part"):
        write(images / name / "index.json")
        write(images / name / "pixels.npy")
    for name in ("old", "half.1.part"):
        os.utime(images / name, (_LONG_AGO, _LONG_AGO))
    os.utime(images / "new" / "index.json")
    place = images.relative_to(project.folder)
    unused = [f"{place}/half.1.part", f"{place}/old"]
    assert project.found() == {"decoded images": unused}
    leftovers = project.find()
    os.utime(images / "old" / "index.json")  # a search has begun to read it
    assert project.remove(leftovers) == 1
    assert sorted(path.name for path in images.iterdir()) == ["new", "old"]


def spec_on(name: str) -> StudySpec:
    data = DataSpec(source=f".tuner/data/{name}", task="classes")
    return make_spec().model_copy(update={"data": data})


def test_data_of_a_study_that_came_meanwhile_stay(project: Folder) -> None:
    kept = write(project.folder / ".tuner" / "data" / f"arrays-{HASH}.npz")
    leftovers = project.find()
    assert [leftover.place for leftover in leftovers] == [str(kept)]
    project.new_study("meanwhile", spec_on(kept.name))
    assert project.remove(leftovers) == 0
    assert kept.exists()


def test_no_folder_goes_where_a_study_s_id_is_damaged(project: Folder) -> None:
    project.new_study("damaged")
    project.marked_folder("a" * 32)
    with project.store.writing() as connection:
        connection.execute(
            sa.update(studies).where(studies.c.uuid != project.study.uuid), {"uuid": "?"}
        )
    assert project.found() == {}
    (note,) = project.project.notes
    assert "the id of a study is damaged: folders of deleted studies are left" in note


def test_kept_data_that_no_study_names(project: Folder, made_tables: Path) -> None:
    used, others, unused = (f"arrays-{digit}{HASH[1:]}.npz" for digit in "abc")
    data = project.folder / ".tuner" / "data"
    for name in (used, others, unused, f"{unused}.12345678.part", "mine.npz"):
        write(data / name)
    write(data / f"arrays-d{HASH[1:]}.npz", at=time.time())  # a study is being created
    project.new_study("on data", spec_on(used))
    shutil.copy(made_tables, project.folder / "other.sqlite")
    other = open_store(f"sqlite:///{project.folder}/other.sqlite")
    create_study(other, "of another database", spec_on(others))
    other.close()
    assert project.found() == {
        "kept data of no study": [f".tuner/data/{unused}"],
        "half-written files": [f".tuner/data/{unused}.12345678.part"],
    }
    assert project.remove(project.find()) == 2
    assert (data / others).exists()


def test_a_database_that_may_be_a_copy_is_refused(project: Folder) -> None:
    copy = project.folder / "copy.db"
    with project.store.writing():
        pass
    project.store.close()
    shutil.copy(project.folder / "tuner.db", copy)
    project.store = open_store(f"sqlite:///{copy}")
    with pytest.raises(StudyError, match=r"gc is refused: .* may be a copy"):
        project.find()
    project.store.close()


def test_the_command(project: Folder, tuner: Callable[..., Any]) -> None:
    project.write("trial-1/attempt-1.ckpt")
    project.store.close()
    os.chdir(project.folder)
    shown = tuner("gc", "--dry-run", "--json")
    (leftover,) = json.loads(shown.out)["leftovers"]
    assert (leftover["bytes"], leftover["study"], leftover["removed"]) == (5, "toy", False)
    refused = tuner("gc")
    assert (refused.code, refused.err) == (
        2,
        "tuner: nothing is removed: give --yes to remove it, or --dry-run to look only\n",
    )
    assert Path(leftover["place"]).exists()
    assert tuner("gc", "toy", "--yes").out.endswith("removed 1 item (5 B)\n")
    assert not Path(leftover["place"]).exists()
    assert tuner("gc", "--yes").out == "nothing to remove: no file is here that no study needs\n"
    assert tuner("gc", "--keep-models", "many").err == (
        "tuner: --keep-models must be a whole number from 0 on, or all, got 'many'\n"
    )
    assert tuner("gc", "nothing").code == 2
