"""Which compiler the trials of a test use."""

import pytest


@pytest.fixture
def xla(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials are compiled by XLA; without this fixture tests are too small for it."""
    for name in ("worth_compiling", "worth_lanes"):
        monkeypatch.setattr(f"tuner.training.trial.{name}", lambda *_: True)
