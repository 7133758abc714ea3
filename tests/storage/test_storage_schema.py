"""The tables: made once whoever comes first, equal to what the code declares."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from toy_study import toy_spec

from tuner.errors import StorageUnavailable
from tuner.storage import open_store
from tuner.storage.migrate import HEAD, VERSION_TABLE, include_ours, read_schemas
from tuner.storage.studies import create_study, list_studies
from tuner.storage.tables import metadata


def test_first_opening_makes_both_schemas(empty_url: str) -> None:
    store = open_store(empty_url)
    tables = set(sa.inspect(store.reader).get_table_names())
    assert set(metadata.tables) | {VERSION_TABLE} <= tables
    assert {"studies", "trials", "trial_values", "alembic_version"} <= tables
    with store.reading() as connection:
        assert read_schemas(connection).ours == HEAD
    assert store.optuna.get_current_version() == store.optuna.get_head_version()
    store.close()


def test_opening_again_keeps_everything(empty_url: str) -> None:
    store = open_store(empty_url)
    create_study(store, "first", toy_spec())
    store.close()
    again = open_store(empty_url)
    assert [study.name for study in list_studies(again)] == ["first"]
    again.close()


def test_migrations_make_what_the_tables_declare(storage_url: str) -> None:
    store = open_store(storage_url)
    options = {
        "version_table": VERSION_TABLE,
        "include_name": lambda name, kind, _parents: include_ours(name, kind),
        "compare_server_default": True,
    }
    with store.reader.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        # Nothing to add, and Optuna's tables not to be dropped either.
        assert compare_metadata(context, metadata) == []
    store.close()


def test_a_newer_schema_is_refused(empty_url: str) -> None:
    store = open_store(empty_url)
    with store.writing() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    store.close()
    with pytest.raises(StorageUnavailable, match=r"9999.*upgrade tuner") as caught:
        open_store(empty_url)
    assert "\n" not in str(caught.value)


def test_another_programs_database_is_left_alone(empty_url: str) -> None:
    engine = sa.create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(sa.text("CREATE TABLE experiments (name VARCHAR(32))"))
    with pytest.raises(StorageUnavailable, match="belongs to another program"):
        open_store(empty_url)
    assert set(sa.inspect(engine).get_table_names()) == {"alembic_version", "experiments"}
    engine.dispose()
