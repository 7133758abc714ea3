"""The examples of the API's docstrings, run on a small finished study."""

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import tuner

MODULES = (
    "tuner.api.trials",
    "tuner.api.spaces",
    "tuner.api.create",
    "tuner.api.studies",
    "tuner.api.models",
    "tuner.models.model",
)

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module", autouse=True)
def example(tmp_path_factory: pytest.TempPathFactory, own_fork_server: None) -> Iterator[Path]:
    """The current folder, with a study of two trials: two small networks for digits."""
    folder = tmp_path_factory.mktemp("example")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for variable in ("TUNER_STORAGE", "MLFLOW_TRACKING_URI", "TUNER_CHECKPOINTS"):
            patch.delenv(variable, raising=False)
        parameters = {"width": tuner.Int(16, 64), "learning_rate": 0.01, "epochs": 2}
        study = tuner.create_study(
            "example", space=tuner.Space("mlp", parameters), data="digits", pruner="none"
        )
        study.optimize(trials=2, workers=1, tracking=False, progress=False)
        yield folder


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of(name: str) -> None:
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert (failed, tried > 0) == (0, True)
