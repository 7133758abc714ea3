import pytest
from toy_study import toy_spec

from tuner.storage import Store
from tuner.storage.studies import StudyRow, create_study


@pytest.fixture
def study(store: Store) -> StudyRow:
    return create_study(store, "toy", toy_spec())
