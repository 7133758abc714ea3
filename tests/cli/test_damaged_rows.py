"""Whatever a row holds: looking at studies ends with lines for people, and hides no other row."""

import contextlib
import io
import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from toy_study import ANY_X, Bench, any_of

from tuner.cli import main
from tuner.storage import open_store

SPOILED, GOOD = "spoiled", "good"
OF_STUDY = f"study_id = (SELECT study_id FROM tuner_studies WHERE name = '{SPOILED}')"
OF_UUID = f"study_uuid = (SELECT uuid FROM tuner_studies WHERE name = '{SPOILED}')"
OF_TRIAL = (
    "trial_id IN (SELECT trial_id FROM trials JOIN studies USING (study_id) "
    f"WHERE study_name = '{SPOILED}')"
)
# The rows of the study to spoil, by table.
TABLES = {
    "studies": f"study_name = '{SPOILED}'",
    "study_directions": OF_STUDY,
    "study_system_attributes": OF_STUDY,
    "trials": OF_STUDY,
    "tuner_studies": OF_STUDY,
    "tuner_places": OF_STUDY,
    "tuner_loops": OF_UUID,
    "tuner_attempts": OF_UUID,
    "tuner_intervals": OF_UUID,
    "tuner_deliveries": OF_UUID,
    "trial_params": OF_TRIAL,
    "trial_values": OF_TRIAL,
    "trial_user_attributes": OF_TRIAL,
    "trial_system_attributes": OF_TRIAL,
    "trial_intermediate_values": OF_TRIAL,
}
LOOKS = (
    ("study", "show"),
    ("study", "show", "--json"),
    ("study", "best"),
    ("study", "export"),
    ("study", "export", "--format", "json"),
    ("trial", "list"),
    ("trial", "list", "--best-first"),
    ("trial", "list", "--json"),
)
GARBAGE = st.one_of(
    st.none(),
    st.sampled_from(
        [
            "",
            "oops",
            "{",
            "{}",
            "[]",
            "null",
            "NaN",
            '"text"',
            '{"val_accuracy": {"a": [1]}}',
            '{"val_accuracy": "NaN"}',
            '{"prepare": "x"}',
            '{"name": "FloatDistribution"}',
            '{"name": "CategoricalDistribution", "attributes": {"choices": 7}}',
            '{"name": "CategoricalDistribution", "attributes": {"choices": [[1], {}]}}',
            "[" * 100_000,
            "9" * 5000,
            "[red]x[/]",
            "[/]",
            ":bomb:",
            "\x1b[2J\x1b]0;title\x07",
            "a\nb\rc\td\x00e",
            "\x9b31m\u202e\u2028",
            "../..",
            "x" * 100_000,
            b"\xff\xfe",
            "\N{SNOWMAN}" * 100,
        ]
    ),
    st.sampled_from([0, -1, 1, 2**31, 2**63 - 1, -(2**63)]),
    st.sampled_from([1e308, -1e308, 9e999, -9e999, 0.5, 1e-320, 1e300]),
    st.text(max_size=8).filter(lambda text: text.isprintable()),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=6),
)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two studies of four trials each."""
    folder = tmp_path_factory.mktemp("project")
    store = open_store(f"sqlite:///{folder}/tuner.db")
    bench = Bench(folder, store)
    for name in (SPOILED, GOOD):
        bench.create({"x": ANY_X, "kind": any_of("a", "b")}, name=name)
        assert bench.run(4).status.done == 4
    store.close()
    with contextlib.closing(sqlite3.connect(folder / "tuner.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "tuner.db"


class Project:
    """A copy of the database in an empty folder, and the command line there."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.url = f"sqlite:///{folder}/tuner.db"
        self.file = folder / "tuner.db"
        for left in folder.glob("tuner.db*"):
            left.unlink()
        shutil.copyfile(database, self.file)

    def sql(self, query: str, *values: Any) -> bool:
        """Whether the database took it."""
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            try:
                connection.execute(query, values)
            except (sqlite3.IntegrityError, UnicodeEncodeError):
                return False
            connection.commit()
            return True

    def columns(self, table: str) -> list[str]:
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]

    def tuner(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output and errors of a command."""
        out, err, argv = io.StringIO(), io.StringIO(), sys.argv
        sys.argv = ["tuner", "--storage", self.url, *words]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.argv = argv
        return code, out.getvalue(), err.getvalue()

    def look(self, *words: str) -> str:
        """The output of a command that may refuse in a line; it sends no control characters."""
        code, out, err = self.tuner(*words)
        assert code in (0, 2), (words, code, err)
        # Lines of CSV end so.
        assert not CONTROL.search(out.replace("\r\n", "\n") + err), (words, out, err)
        lines = err.splitlines()
        assert all(line.startswith("tuner: ") and len(line) < 2000 for line in lines), err
        assert len(lines) <= 2, err
        assert (code == 0) or lines, words
        return out


@pytest.fixture(scope="module")
def copies(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("copies")
    patch = pytest.MonkeyPatch()
    for variable in ("TUNER_STORAGE", "MLFLOW_TRACKING_URI", "TUNER_CHECKPOINTS"):
        patch.delenv(variable, raising=False)
    patch.chdir(folder)
    yield lambda: Project(folder, database)
    patch.undo()


@pytest.fixture(scope="module")
def untouched(copies: Any) -> dict[tuple[str, ...], str]:
    """What is said of the good study while nothing is damaged."""
    project = copies()
    return {look: project.look(*look, GOOD) for look in LOOKS}


def check(project: Project, untouched: dict[tuple[str, ...], str]) -> None:
    listed = {row["study"]: row for row in json.loads(project.look("study", "list", "--json"))}
    assert listed[GOOD]["finished"] == 4
    assert "damage" not in listed[GOOD]
    project.look("study", "list")
    for look in LOOKS:
        assert project.look(*look, GOOD) == untouched[look]
        project.look(*look, SPOILED)
    for number in ("0", "3"):
        project.look("trial", "show", number, "--study", SPOILED)
        project.look("trial", "show", number, "--study", SPOILED, "--json")


@settings(
    max_examples=8,  # of 22 commands each
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    table=st.sampled_from(sorted(TABLES)),
    place=st.integers(0, 30),
    garbage=GARBAGE,
    every=st.booleans(),
)
@example(table="trial_params", place=3, garbage=1e308, every=True)
@example(table="tuner_attempts", place=14, garbage="oops", every=True)
@example(table="tuner_intervals", place=6, garbage="oops", every=True)
@example(table="tuner_studies", place=5, garbage=1e300, every=True)
@example(table="tuner_studies", place=3, garbage="oops", every=True)
@example(table="trials", place=1, garbage="oops", every=False)
def test_garbage_in_any_column_is_told_and_hides_nothing(
    copies: Any, untouched: Any, table: str, place: int, garbage: Any, every: bool
) -> None:
    project = copies()
    columns = project.columns(table)
    column, where = columns[place % len(columns)], TABLES[table]
    one = "" if every else f" AND rowid = (SELECT max(rowid) FROM {table} WHERE {where})"
    if table == "tuner_intervals" and not every:  # it has no rowid
        one = " AND step = 1"
    if project.sql(f'UPDATE {table} SET "{column}" = ? WHERE {where}{one}', garbage):
        check(project, untouched)


@pytest.mark.parametrize("table", sorted(set(TABLES) - {"tuner_studies"}))
def test_rows_that_are_missing_hide_nothing(copies: Any, untouched: Any, table: str) -> None:
    project = copies()
    assert project.sql(f"DELETE FROM {table} WHERE {TABLES[table]}")
    check(project, untouched)


@pytest.mark.parametrize("column", ["spec", "created_at", "experiment", "study_id", "owner"])
@pytest.mark.parametrize("garbage", ["oops", 7.5, b"\xff", '{"metric": []}'])
def test_a_damaged_study_is_listed_by_its_name_and_can_be_deleted(
    copies: Any, column: str, garbage: Any
) -> None:
    project = copies()
    assert project.sql(f"UPDATE tuner_studies SET {column} = ? WHERE name = ?", garbage, SPOILED)
    rows = json.loads(project.look("study", "list", "--json"))
    assert {row["study"] for row in rows} == {SPOILED, GOOD}
    damaged = [row["study"] for row in rows if "damage" in row]
    is_text = isinstance(garbage, str) and column in ("experiment", "owner")
    assert damaged == [] if is_text else [SPOILED]
    assert ("damaged" in project.look("study", "list")) is bool(damaged)
    code, out, err = project.tuner("study", "delete", SPOILED, "--yes", "--keep-runs")
    assert (code, err) == (0, "")
    assert f"deleted study {SPOILED}" in out
    rows = json.loads(project.look("study", "list", "--json"))
    assert [(row["study"], row["finished"]) for row in rows] == [(GOOD, 4)]
    assert not project.sql("INSERT INTO studies VALUES (1, ?)", GOOD)
    assert project.sql("INSERT INTO studies (study_name) VALUES (?)", SPOILED)


def test_a_study_whose_mark_in_optunas_tables_is_damaged_is_listed_and_deleted(copies: Any) -> None:
    project = copies()
    assert project.sql("UPDATE study_system_attributes SET value_json = 'oops'")
    rows = json.loads(project.look("study", "list", "--json"))
    assert all("damage" in row for row in rows)
    assert project.tuner("study", "delete", SPOILED, "--yes", "--keep-runs")[0] == 0
    assert [row["study"] for row in json.loads(project.look("study", "list", "--json"))] == [GOOD]


def test_a_damaged_id_of_a_study_deletes_no_folder(copies: Any, tmp_path: Path) -> None:
    project = copies()
    kept = project.file.parent / "kept.txt"
    kept.write_text("mine")
    assert project.sql("UPDATE tuner_studies SET uuid = '../..' WHERE name = ?", SPOILED)
    assert project.tuner("study", "delete", SPOILED, "--yes", "--keep-runs")[0] == 0
    assert kept.exists()
    assert project.file.exists()


def test_a_damaged_trial_is_a_row_that_says_so(copies: Any) -> None:
    project = copies()
    one = "trial_id = (SELECT max(trial_id) FROM trials WHERE study_id = 1)"
    assert project.sql(f"UPDATE trial_params SET distribution_json = '{{}}' WHERE {one}")
    rows = json.loads(project.look("trial", "list", "--json", SPOILED))
    assert [row["state"] for row in rows] == ["complete"] * 3 + ["damaged"]
    assert "distribution of param x" in rows[3]["damage"]
    assert "damaged" in project.look("trial", "list", SPOILED)
    assert "damaged" in project.look("trial", "show", "3", "--study", SPOILED)


def test_the_best_trial_that_can_be_read_is_taken(copies: Any) -> None:
    project = copies()
    rows = json.loads(project.look("trial", "list", "--json", "--best-first", SPOILED))
    first = f"(SELECT trial_id FROM trials WHERE study_id = 1 AND number = {rows[0]['trial']})"
    assert project.sql(f"DELETE FROM trial_params WHERE trial_id = {first}")
    code, out, err = project.tuner("study", "best", "--json", SPOILED)
    assert code == 0
    assert json.loads(out)["trial"] == rows[1]["trial"]
    assert f"trial {rows[0]['trial']} has a better score, but is damaged" in err
