"""Which compiler the trials of a test use."""

import pytest


@pytest.fixture
def xla(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials are compiled by XLA; without this fixture tests are too small for it."""
    monkeypatch.setattr("tuner.training.trial.worth_compiling", lambda request, dataset: True)
    monkeypatch.setattr("tuner.training.trial.worth_xla", lambda request, inputs, rows: True)
