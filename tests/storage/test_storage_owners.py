"""Without a name, a command takes the newest study of its own user, and nobody else's."""

import pytest
import sqlalchemy as sa
from toy_study import toy_spec

from tuner.errors import StudyError
from tuner.storage import Store
from tuner.storage.identity import machine_id, user_name
from tuner.storage.schema import studies
from tuner.storage.studies import create_study, load_study


def made_by(store: Store, name: str, owner: str | None, machine: str | None) -> None:
    create_study(store, name, toy_spec())
    values = {"owner": owner, "owner_machine": machine}
    with store.writing() as connection:
        connection.execute(sa.update(studies).where(studies.c.name == name).values(**values))


def is_file(store: Store) -> bool:
    return store.url.get_backend_name() == "sqlite"


def test_a_new_study_has_its_owner(store: Store) -> None:
    study = create_study(store, "mine", toy_spec())
    assert (study.owner, study.owner_machine) == (user_name(), machine_id())


def test_a_newer_study_of_somebody_else_is_not_taken(store: Store) -> None:
    made_by(store, "mine", user_name(), machine_id())
    made_by(store, "theirs", "somebody", machine_id())
    assert load_study(store).name == "mine"
    assert load_study(store, "theirs").owner == "somebody"


def test_where_all_are_somebody_else_s_it_is_said_whose(store: Store) -> None:
    made_by(store, "theirs", "some\x1b[2Jbody", "elsewhere")
    with pytest.raises(StudyError) as refused:
        load_study(store)
    told = str(refused.value)
    assert "created by some\\x1b[2Jbody on another machine" in told
    assert "tuner optimize theirs --trials" in told


def test_the_same_user_on_another_machine(store: Store) -> None:
    """On a server, root of one machine is not root of another; a file was taken along."""
    made_by(store, "there", user_name(), "elsewhere")
    if is_file(store):
        assert load_study(store).name == "there"
    else:
        with pytest.raises(StudyError, match="on another machine"):
            load_study(store)


def test_a_study_of_before_has_no_owner(store: Store) -> None:
    made_by(store, "old", None, None)
    if is_file(store):
        assert load_study(store).name == "old"
    else:
        with pytest.raises(StudyError, match="created by an earlier version of tuner"):
            load_study(store)
