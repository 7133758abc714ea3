"""Databases: healthy ones, and those that cannot be used."""

import os
import resource
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy as sa
from doctor_helpers import OF_A_DATABASE, OF_THE_MACHINE, found_in, of, settings_for, troubles
from postgres_server import PASSWORD, Postgres

from tuner.doctor import Finding, examine
from tuner.doctor.findings import run_checks
from tuner.storage import Store, open_store


def test_a_healthy_database(store: Store, storage_url: str, tmp_path: Path) -> None:
    findings = found_in(storage_url, tmp_path)
    assert troubles(findings) == []
    own = {"file"} if store.url.get_backend_name() == "sqlite" else {"server"}
    assert {one.check for one in findings} == OF_THE_MACHINE | OF_A_DATABASE | own | {
        "mlflow",
        "ray",
    }
    assert of(findings, "leases").message == "no search is running"
    assert of(findings, "leftovers").message == "none"


def test_what_is_looked_at_is_told_before(storage_url: str, tmp_path: Path) -> None:
    stages: list[str] = []
    for finding in examine(settings_for(storage_url, tmp_path), True, stages.append):
        assert stages[-1] == finding.check


def test_a_server_tells_its_version_and_its_clock(postgres_store: Store, tmp_path: Path) -> None:
    url = postgres_store.url.render_as_string(hide_password=False)
    found = of(found_in(url, tmp_path), "server").message
    assert found.startswith("PostgreSQL ")
    assert "time zone UTC; its clock, which leases use, is 0.0 s" in found


def test_nothing_is_made_where_there_is_nothing(tmp_path: Path) -> None:
    findings = found_in(f"sqlite:///{tmp_path}/tuner.db", tmp_path)
    assert troubles(findings) == []
    assert "no database yet: the first study creates" in of(findings, "database").message
    assert "the first search creates" in of(findings, "mlflow").message
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_changed_in_an_empty_database(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url(postgres.create())
    findings = found_in(url, tmp_path)
    assert troubles(findings) == []
    assert of(findings, "schema").message == "no tables yet; the first study creates them"
    assert of(findings, "writing").state == "ok"
    assert sa.inspect(sa.create_engine(url)).get_table_names() == []


def test_nothing_is_changed_in_a_file(database: Path, tmp_path: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    before = database.read_bytes()
    finding = of(found_in(f"sqlite:///{database}", tmp_path), "file")
    assert finding == Finding("file", "warn", "sound; journal mode delete, not WAL", finding.advice)
    assert database.read_bytes() == before


@pytest.fixture
def as_nobody(database: Path) -> Iterator[Path]:
    """The database in a folder of its own; root, whom no rights hold back, becomes nobody."""
    folder = Path(tempfile.mkdtemp())
    path = Path(shutil.copy(database, folder))
    path.chmod(0o666)
    folder.chmod(0o777)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield path
    if root:
        os.seteuid(0)
    folder.chmod(0o777)
    shutil.rmtree(folder)


def test_a_file_that_may_be_written_by_anyone(as_nobody: Path) -> None:
    assert troubles(found_in(f"sqlite:///{as_nobody}", as_nobody.parent)) == []


def chmod_by_its_owner(path: Path, mode: int) -> None:
    mine = os.geteuid()
    os.seteuid(os.getuid())
    path.chmod(mode)
    os.seteuid(mine)


def test_a_read_only_file(as_nobody: Path) -> None:
    chmod_by_its_owner(as_nobody, 0o444)
    finding = of(found_in(f"sqlite:///{as_nobody}", as_nobody.parent), "writing")
    assert finding.state == "fail"
    assert "readonly database" in finding.message
    assert f"ls -l {as_nobody}" in str(finding.advice)


def test_a_read_only_folder(as_nobody: Path) -> None:
    folder = as_nobody.parent
    chmod_by_its_owner(folder, 0o555)
    findings = found_in(f"sqlite:///{as_nobody}", folder)
    assert "fail" in {one.state for one in findings if one.check in ("database", "writing")}
    refused = {one.message for one in findings if one.check == "folders"}
    assert f"database: {folder} cannot be written (Permission denied)" in refused


def test_a_new_database_in_a_read_only_folder(as_nobody: Path) -> None:
    folder = as_nobody.parent
    chmod_by_its_owner(folder, 0o555)
    finding = of(found_in(f"sqlite:///{folder}/new.db", folder), "database")
    assert finding.state == "fail"
    assert f"{folder} cannot be written (Permission denied)" in finding.message


def test_a_full_disk(database: Path, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**15, limits[1]))
    try:
        findings = found_in(f"sqlite:///{database}", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    finding = of(findings, "writing")
    assert finding.state == "fail"
    assert f"{tmp_path} cannot be written (File too large)" in finding.message


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    finding = of(found_in(f"sqlite:///{tmp_path}", tmp_path), "database")
    assert finding.state == "fail"
    assert "unable to open database file" in finding.message


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "tuner.db").write_bytes(b"what is this? " * 100)
    finding = of(found_in(f"sqlite:///{tmp_path}/tuner.db", tmp_path), "database")
    assert finding.state == "fail"
    assert "file is not a database" in finding.message


@pytest.mark.parametrize(("page", "check"), [(0, "database"), (-1, "file")])
def test_a_damaged_file(page: int, check: str, database: Path, tmp_path: Path) -> None:
    with sqlite3.connect(database) as connection:
        columns = "(study_uuid, trial_id, run_id, state)"
        insert = f"INSERT INTO tuner_deliveries {columns} VALUES (1, ?, 'x', 'y')"
        connection.executemany(insert, [[number] for number in range(5000)])
    connection.close()
    content = database.read_bytes()
    pages = [content[start : start + 4096] for start in range(0, len(content), 4096)]
    pages[page] = pages[page][:100] + b"\xff" * 3996  # the first page begins with the file's head
    database.write_bytes(b"".join(pages))
    finding = of(found_in(f"sqlite:///{database}", tmp_path), check)
    assert finding.state == "fail"
    assert ".recover" in str(finding.advice)


def test_a_missing_folder(tmp_path: Path) -> None:
    finding = of(found_in(f"sqlite:///{tmp_path}/none/tuner.db", tmp_path), "database")
    assert (finding.state, finding.advice) == ("fail", f"mkdir -p {tmp_path}/none")


def test_a_missing_server(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://me:s3cret@127.0.0.1:{free.getsockname()[1]}/studies"
        findings = found_in(url, tmp_path)
    finding = of(findings, "database")
    assert finding.state == "fail"
    assert "Connection refused" in finding.message
    assert not any("s3cret" in f"{one.message} {one.advice}" for one in findings)
    assert not {one.check for one in findings} & (OF_A_DATABASE - {"database"})


@pytest.mark.parametrize("password", ["wrong", PASSWORD])
def test_a_password_is_never_shown(password: str, postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url(postgres.create())
    if password == "wrong":
        url = url.replace("odd:", "odd:wrong")
    findings = found_in(url, tmp_path, f"http://me:{password}@127.0.0.1:1")
    assert of(findings, "database").state == ("fail" if password == "wrong" else "ok")
    told = " ".join(f"{one.message} {one.advice}" for one in findings)
    assert PASSWORD not in told
    assert "wrong" not in told


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('abc')")
    connection.close()
    findings = found_in(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert of(findings, "schema").state == "fail"
    assert "belong to another program" in of(findings, "schema").message


@pytest.mark.parametrize(
    ("table", "revision", "state", "words"),
    [
        ("tuner_alembic_version", "0001", "warn", "this tuner needs"),
        ("tuner_alembic_version", "9999", "fail", "tuner's tables have version 9999, newer than"),
        ("alembic_version", "v3.0.0.d", "fail", "Optuna's tables have version v3.0.0.d"),
        ("alembic_version", "v9.0.0", "fail", "newer (v9.0.0) than Optuna here"),
    ],
)
def test_tables_of_another_version(
    table: str, revision: str, state: str, words: str, database: Path, tmp_path: Path
) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(f"UPDATE {table} SET version_num = ?", [revision])
    connection.close()
    findings = found_in(f"sqlite:///{database}", tmp_path)
    (told,) = [one for one in findings if one.check == "schema" and one.state != "ok"]
    assert told.state == state
    assert words in told.message
    assert told.advice
    assert {one.check for one in troubles(findings)} == {"schema"}


def test_a_network_file_system(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = [("/", "ext4"), (str(tmp_path), "nfs4"), (f"{tmp_path}/other", "ext4")]
    partitions = [SimpleNamespace(mountpoint=slot, fstype=kind) for slot, kind in mounts]
    monkeypatch.setattr("psutil.disk_partitions", lambda all: partitions)
    finding = of(found_in(f"sqlite:///{database}", tmp_path), "file")
    assert (finding.state, finding.message) == ("warn", "lies on a network file system (nfs4)")


def test_a_server_that_only_reads(postgres: Postgres, tmp_path: Path) -> None:
    name = postgres.create()
    open_store(postgres.url(name)).close()
    with psycopg.connect(postgres.url(name).replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    finding = of(found_in(postgres.url(name), tmp_path), "writing")
    assert finding.state == "fail"
    assert "read-only transaction" in finding.message


def test_a_check_that_breaks_is_a_failure() -> None:
    def breaks() -> Iterator[Finding]:
        yield Finding("x", "ok", "so far")
        raise ValueError("postgresql://me:s3cret@host/x\nis odd")

    told = list(run_checks({"x": breaks, "y": lambda: [Finding("y", "ok", "")]}, lambda text: None))
    assert [(one.check, one.state) for one in told] == [("x", "ok"), ("x", "fail"), ("y", "ok")]
    assert told[1].message == "ValueError: postgresql://***@host/x"


def test_a_database_that_breaks_in_an_unknown_way(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(url: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tuner.doctor.open_database", breaks)
    findings = found_in(f"sqlite:///{database}", tmp_path)
    assert of(findings, "database") == Finding("database", "fail", "ZeroDivisionError")
    assert of(findings, "mlflow").state == "ok"
