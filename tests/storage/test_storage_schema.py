"""The tables: made once whoever comes first, equal to what the code declares."""

import contextlib
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import BaseModel
from postgres_server import Postgres
from toy_study import toy_spec

from tuner.errors import StorageUnavailable
from tuner.storage import connections, open_store
from tuner.storage.schema import (
    HEAD,
    VERSION_TABLE,
    include_ours,
    metadata,
    migrate_ours,
    read_schemas,
)
from tuner.storage.studies import create_study, list_studies


@pytest.fixture
def second_url(empty_url: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Another database without any table, of the same kind."""
    if empty_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/second.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url(postgres.create())


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


def made_by_migrations(url: str) -> sa.Engine:
    """A database whose tables of ours come from each revision in turn."""
    engine = connections.open_engine(connections.parse_url(url), writes=True)
    with engine.begin() as connection:
        BaseModel.metadata.create_all(connection)
        migrate_ours(connection)
    return engine


def test_migrations_make_what_the_tables_declare(empty_url: str) -> None:
    engine = made_by_migrations(empty_url)
    options = {
        "version_table": VERSION_TABLE,
        "include_name": lambda name, kind, _parents: include_ours(name, kind),
        "compare_server_default": True,
    }
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        # Nothing to add, and Optuna's tables not to be dropped either.
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def outline(engine: sa.Engine) -> dict[str, object]:
    """All that a database says of our tables."""
    look = sa.inspect(engine)
    return {
        name: {
            "columns": [
                column | {"type": repr(column["type"])} for column in look.get_columns(name)
            ],
            "key": look.get_pk_constraint(name),
            "unique": sorted(look.get_unique_constraints(name), key=repr),
            "indices": sorted(look.get_indexes(name), key=repr),
            "options": look.get_table_options(name),
        }
        for name in sorted([*metadata.tables, VERSION_TABLE])
    }


def test_a_new_database_is_as_migrations_make_one(empty_url: str, second_url: str) -> None:
    migrated = made_by_migrations(empty_url)
    with contextlib.closing(open_store(second_url)) as store:
        assert outline(store.reader) == outline(migrated)
        with store.reading() as new, migrated.connect() as old:
            query = sa.text(f"SELECT version_num FROM {VERSION_TABLE}")
            assert new.execute(query).all() == old.execute(query).all()
    migrated.dispose()


def test_optuna_takes_its_tables_for_the_newest(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tuner.db"
    open_store(url).close()
    # It checks them as it opens.
    storage = RDBStorage(url)
    assert storage.get_current_version() == storage.get_head_version()
    storage.engine.dispose()


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
