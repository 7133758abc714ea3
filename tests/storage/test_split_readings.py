"""Readings of a test split are counted over all studies on the same data."""

from pathlib import Path

import sqlalchemy as sa
from test_storage_upgrade import MADE_BY_0003, restore
from toy_study import toy_spec

from tuner.storage import Store, open_store
from tuner.storage.schema import test_readings as readings
from tuner.storage.split_readings import describe_readings, earlier_readings, record_reading
from tuner.storage.studies import create_study, delete_study, load_study


def test_readings_of_the_same_data_count_together(store: Store) -> None:
    first = create_study(store, "first", toy_spec())
    second = create_study(store, "second", toy_spec(seed=1))
    other = create_study(store, "other", toy_spec(fingerprint="1" * 64))
    assert record_reading(store, first, "compare") == []
    assert record_reading(store, first, "compare") == [], "a comparison that goes on is one reading"
    (before,) = record_reading(store, second, "promote", 3)
    assert (before.study, before.purpose, before.trial) == ("first", "compare", None)
    assert len(record_reading(store, second, "promote", 3)) == 2
    assert record_reading(store, other, "promote", 0) == []
    delete_study(store, first)  # the split has been read all the same
    texts = [str(reading) for reading in earlier_readings(store, "0" * 64)]
    assert [text.partition(",")[0] for text in texts] == [
        "study first: compare",
        "study second: promote of trial 3",
        "study second: promote of trial 3",
    ]


def test_what_is_said_of_them(store: Store) -> None:
    study = create_study(store, "toy", toy_spec())
    assert describe_readings([]) is None
    for _ in range(5):
        before = record_reading(store, study, "promote", 1)
    said = describe_readings(before)
    assert said is not None
    assert "was read 4 times before" in said
    assert said.count("promote of trial 1") == 3
    assert "was read once before" in str(describe_readings(before[:1]))


def test_a_damaged_row_counts_too(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    study = create_study(store, "toy", toy_spec())
    record_reading(store, study, "promote", 1)
    with store.writing() as connection:
        spoiled = {"at": "oops", "user": b"\xff", "study": b"\xff", "trial": "x"}
        sets = ", ".join(f'"{name}" = :{name}' for name in spoiled)
        connection.execute(sa.text(f"UPDATE tuner_test_readings SET {sets}"), spoiled)
    assert "was read once before" in str(describe_readings(record_reading(store, study, "compare")))
    store.close()


def test_earlier_comparisons_count_after_an_upgrade(tmp_path: Path) -> None:
    url = restore(MADE_BY_0003, tmp_path / "old.db")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        mark = "UPDATE tuner_studies SET spec = json_set(spec, '$.held_out', 'test')"
        connection.execute(sa.text(mark))
    engine.dispose()
    store = open_store(url)
    with store.reading() as connection:
        (row,) = connection.execute(sa.select(readings)).all()
        uuid = connection.execute(sa.text("SELECT uuid FROM tuner_studies")).scalar_one()
    assert (row.study_uuid, row.study, row.purpose, row.trial) == (uuid, "old", "compare", None)
    store.close()
    restored = open_store(restore(MADE_BY_0003, tmp_path / "search.db"))
    study = load_study(restored, "old")
    assert earlier_readings(restored, study.spec.fingerprint) == []
    restored.close()
