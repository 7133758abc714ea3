"""A database knows where it lives: moved, copied, or looked at by another way."""

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_study import toy_spec
from trial_writes import begun, complete

from tuner.errors import LeaseLost, StorageError, StudyError
from tuner.manage.project import declare_copied, declare_moved
from tuner.settings import Settings
from tuner.storage import Store, attempt_rows, deliveries, identity, leases, open_store, slots
from tuner.storage.attempt_rows import read_attempts, read_reports
from tuner.storage.deliveries import Delivery
from tuner.storage.identity import DatabaseIdentity, machine_id
from tuner.storage.schema import attempts, database
from tuner.storage.studies import create_study, load_study
from tuner.study.artifacts import FolderArtifacts, measure
from tuner.study.messages import Report


def used(folder: Path) -> Path:
    """A database used in a folder, with a trial, its network and a delivery to MLflow."""
    folder.mkdir(parents=True, exist_ok=True)
    store = open_store(f"sqlite:///{folder}/tuner.db")
    identity.record(store, identity.residence(store))
    study = create_study(store, "toy", toy_spec())
    lease = leases.open_lease(store, study)
    slots.ensure_slots(store, study, 2)
    slot = begun(store, lease)
    attempt_rows.record_report(store, lease, slot, Report(1, 1, True, {"loss": 0.25}))
    complete(store, lease, slot)
    file = networks(folder) / study.uuid / "trial-0" / "attempt-1.keras"
    file.parent.mkdir(parents=True)
    file.write_text("weights")
    saved = measure(file.relative_to(networks(folder)).as_posix(), file)
    with store.writing() as connection:
        connection.execute(sa.update(attempts).values(model_path=saved.path))
    deliveries.mark(store, study, 1, Delivery("a-run", 1, 1, "COMPLETE"))
    store.close()
    return folder


def networks(folder: Path) -> Path:
    return folder / ".tuner" / "checkpoints"


def settings_in(folder: Path) -> Settings:
    url = f"sqlite:///{folder}/tuner.db"
    return Settings(url, "sqlite://", folder, networks(folder), folder)


def look(folder: Path, name: str = "tuner.db") -> DatabaseIdentity:
    store = open_store(f"sqlite:///{folder}/{name}")
    found = identity.residence(store).identity
    store.close()
    return found


def test_a_database_that_recorded_nothing_is_unknown(tmp_path: Path) -> None:
    assert look(tmp_path) == DatabaseIdentity.UNKNOWN


def test_where_it_was_used_last_it_is_at_home(tmp_path: Path) -> None:
    assert look(used(tmp_path / "p")) == DatabaseIdentity.HERE


def test_a_renamed_folder_was_moved(tmp_path: Path) -> None:
    used(tmp_path / "old").rename(tmp_path / "new")
    assert look(tmp_path / "new") == DatabaseIdentity.MOVED


def test_a_renamed_file_was_moved(tmp_path: Path) -> None:
    (used(tmp_path) / "tuner.db").rename(tmp_path / "other.db")
    assert look(tmp_path, "other.db") == DatabaseIdentity.MOVED


@pytest.mark.parametrize("name", ["b/tuner.db", "a/copy.db"])
def test_beside_its_original_it_is_unsure(tmp_path: Path, name: str) -> None:
    source = used(tmp_path / "a") / "tuner.db"
    (tmp_path / "b").mkdir()
    shutil.copy(source, tmp_path / name)
    assert look((tmp_path / name).parent, (tmp_path / name).name) == DatabaseIdentity.UNSURE
    assert look(tmp_path / "a") == DatabaseIdentity.HERE


def test_another_database_in_the_old_path_does_not_matter(tmp_path: Path) -> None:
    used(tmp_path / "old").rename(tmp_path / "new")
    used(tmp_path / "old")
    assert look(tmp_path / "new") == DatabaseIdentity.MOVED


@pytest.mark.parametrize("content", [b"", b"no database at all, but a text of some length" * 9])
def test_some_other_file_in_the_old_path_does_not_matter(tmp_path: Path, content: bytes) -> None:
    used(tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "tuner.db").write_bytes(content)
    assert look(tmp_path / "new") == DatabaseIdentity.MOVED


def test_by_a_link_it_is_at_home(tmp_path: Path) -> None:
    used(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.link(tmp_path / "real" / "tuner.db", tmp_path / "hard.db")
    assert look(tmp_path / "link") == DatabaseIdentity.HERE
    assert look(tmp_path, "hard.db") == DatabaseIdentity.HERE


def test_on_another_machine_it_is_unsure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used(tmp_path)
    monkeypatch.setattr(identity, "machine_id", lambda: f"not {machine_id()}")
    assert look(tmp_path) == DatabaseIdentity.UNSURE


def test_a_restored_dump_is_unsure(store: Store) -> None:
    if store.url.get_backend_name() == "sqlite":
        pytest.skip("PostgreSQL's own")
    identity.record(store, identity.residence(store))
    assert identity.residence(store).identity == DatabaseIdentity.HERE
    with store.writing() as connection:
        connection.execute(sa.update(database).values(place="server 1, database 2"))
    assert identity.residence(store).identity == DatabaseIdentity.UNSURE


def test_declared_moved_it_keeps_its_ids(tmp_path: Path) -> None:
    shutil.copytree(used(tmp_path / "a"), tmp_path / "b")
    store = open_store(f"sqlite:///{tmp_path}/b/tuner.db")
    before = load_study(store)
    declare_moved(store)
    assert identity.residence(store).identity == DatabaseIdentity.HERE
    assert load_study(store) == before
    assert deliveries.read_delivery(store, before, 1) is not None
    store.close()


@pytest.mark.parametrize("within", ["b", "a"])
def test_a_copy_gets_ids_and_files_of_its_own(tmp_path: Path, within: str) -> None:
    """In a folder that was copied as a whole, and beside its original."""
    source = used(tmp_path / "a")
    name = "copy.db"
    if within == "b":
        shutil.copytree(source, tmp_path / "b")
    shutil.copy(source / "tuner.db", tmp_path / within / name)
    original = load_study(open_store(f"sqlite:///{source}/tuner.db"))

    folder = tmp_path / within
    store = open_store(f"sqlite:///{folder}/{name}")
    declare_copied(store, settings_in(folder))
    assert identity.residence(store).identity == DatabaseIdentity.HERE
    copy = load_study(store)
    assert copy.uuid != original.uuid
    assert replace(copy, uuid=original.uuid) == original
    (attempt,) = read_attempts(store, copy)[1]
    assert attempt.model is not None
    assert attempt.model.path.startswith(copy.uuid)
    mine = networks(folder) / attempt.model.path
    assert mine.read_text() == "weights"
    assert len(read_reports(store, copy, 1, 1)) == 1
    assert deliveries.read_delivery(store, copy, 1) is None
    store.close()

    # Nothing of the original is touched, whatever becomes of the copy.
    shutil.rmtree(mine.parents[1])
    left = open_store(f"sqlite:///{source}/tuner.db")
    assert load_study(left) == original
    assert deliveries.read_delivery(left, original, 1) is not None
    (attempt,) = read_attempts(left, original)[1]
    assert attempt.model is not None
    assert FolderArtifacts(networks(source)).get(attempt.model).read_text() == "weights"
    left.close()


def test_trials_that_ran_when_it_was_copied_go_on_in_the_copy(tmp_path: Path) -> None:
    source = used(tmp_path / "a")
    store = open_store(f"sqlite:///{source}/tuner.db")
    lease = leases.open_lease(store, load_study(store))
    running = begun(store, lease)
    store.close()
    shutil.copytree(source, tmp_path / "b")
    copy = open_store(f"sqlite:///{tmp_path}/b/tuner.db")
    declare_copied(copy, settings_in(tmp_path / "b"))
    with pytest.raises(LeaseLost):
        leases.renew_lease(copy, lease)
    another = leases.open_lease(copy, load_study(copy))
    assert [slot.number for slot in slots.take_over_orphans(copy, another)] == [running.number]
    copy.close()


@settings(max_examples=6, deadline=None)
@given(steps=st.lists(st.sampled_from(["move", "copy", "stay"]), min_size=1, max_size=4))
def test_any_history_ends_with_one_owner_of_each_id(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    root = tmp_path_factory.mktemp("history")
    folders = [used(root / "0")]
    for number, step in enumerate(steps, start=1):
        new = root / str(number)
        if step == "move":
            folders.pop().rename(new)
        elif step == "copy":
            shutil.copytree(folders[-1], new)
        else:
            continue
        folders.append(new)
        store = open_store(f"sqlite:///{new}/tuner.db")
        expected = DatabaseIdentity.MOVED if step == "move" else DatabaseIdentity.UNSURE
        assert identity.residence(store).identity == expected
        if step == "move":
            declare_moved(store)
        else:
            declare_copied(store, settings_in(new))
        store.close()
    uuids = set()
    for folder in folders:
        store = open_store(f"sqlite:///{folder}/tuner.db")
        assert identity.residence(store).identity == DatabaseIdentity.HERE
        study = load_study(store)
        (attempt,) = read_attempts(store, study)[1]
        assert attempt.model is not None
        assert (networks(folder) / attempt.model.path).read_text() == "weights"
        uuids.add(study.uuid)
        store.close()
    assert len(uuids) == len(folders)


def copied(tmp_path: Path) -> Path:
    shutil.copytree(used(tmp_path / "a"), tmp_path / "b")
    return tmp_path / "b"


def test_a_database_at_home_is_no_copy(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{used(tmp_path)}/tuner.db")
    before = load_study(store)
    with pytest.raises(StudyError, match="has ids of its own"):
        declare_copied(store, settings_in(tmp_path))
    assert load_study(store) == before
    store.close()


def test_a_copy_is_made_once(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    store = open_store(f"sqlite:///{folder}/tuner.db")
    declare_copied(store, settings_in(folder))
    with pytest.raises(StudyError, match="has ids of its own"):
        declare_copied(store, settings_in(folder))
    store.close()


def test_a_copy_without_studies_is_settled(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    identity.record(store, identity.residence(store))
    store.close()
    shutil.copy(tmp_path / "tuner.db", tmp_path / "copy.db")
    assert look(tmp_path, "copy.db") == DatabaseIdentity.UNSURE
    store = open_store(f"sqlite:///{tmp_path}/copy.db")
    declare_copied(store, settings_in(tmp_path))
    store.close()
    assert look(tmp_path, "copy.db") == DatabaseIdentity.HERE
    assert look(tmp_path) == DatabaseIdentity.HERE


def test_a_damaged_path_that_names_a_folder_is_left_out(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    store = open_store(f"sqlite:///{folder}/tuner.db")
    damaged = f"{load_study(store).uuid}/trial-0"
    with store.writing() as connection:
        connection.execute(sa.update(attempts).values(model_path=damaged))
    declare_copied(store, settings_in(folder))
    assert identity.residence(store).identity == DatabaseIdentity.HERE
    store.close()


def test_files_that_cannot_be_shared_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "a file")

    folder = copied(tmp_path)
    store = open_store(f"sqlite:///{folder}/tuner.db")
    before = load_study(store)
    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StorageError, match="No space left"):
        declare_copied(store, settings_in(folder))
    assert load_study(store) == before
    assert identity.residence(store).identity == DatabaseIdentity.UNSURE
    assert [path.name for path in networks(folder).iterdir()] == [before.uuid]
    assert (networks(folder) / before.uuid / "trial-0" / "attempt-1.keras").is_file()
    store.close()


def test_networks_that_both_share_are_the_originals_too(tmp_path: Path) -> None:
    """TUNER_CHECKPOINTS may name one folder for two databases, wherever these lie."""
    source = used(tmp_path / "a")
    shutil.copy(source / "tuner.db", tmp_path / "tuner.db")
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    declare_copied(store, replace(settings_in(tmp_path), checkpoints=networks(source)))
    store.close()
    original = open_store(f"sqlite:///{source}/tuner.db")
    (attempt,) = read_attempts(original, load_study(original))[1]
    assert attempt.model is not None
    assert FolderArtifacts(networks(source)).get(attempt.model).read_text() == "weights"
    original.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tuner_attempts SET study_uuid = 'oops'",
        "UPDATE tuner_studies SET uuid = '../..'",
        "UPDATE tuner_attempts SET model_path = x'ff00'",
        "UPDATE tuner_attempts SET model_path = '../../../etc/passwd'",
        "UPDATE tuner_attempts SET model_path = ''",
    ],
)
def test_damaged_rows_do_not_keep_a_copy_from_its_ids(tmp_path: Path, damage: str) -> None:
    folder = copied(tmp_path)
    store = open_store(f"sqlite:///{folder}/tuner.db")
    create_study(store, "whole", toy_spec())
    before = load_study(store, "whole").uuid
    with store.writing() as connection:
        connection.execute(sa.text(f"{damage} WHERE rowid = 1"))
    declare_copied(store, settings_in(folder))
    assert identity.residence(store).identity == DatabaseIdentity.HERE
    assert load_study(store, "whole").uuid != before
    store.close()


def test_a_backup_of_before_an_upgrade_is_known_by_its_name(tmp_path: Path) -> None:
    used(tmp_path)
    open_store(f"sqlite:///{tmp_path}/tuner.db.0002-backup").close()
    assert look(tmp_path, "tuner.db.0002-backup") == DatabaseIdentity.UNSURE
