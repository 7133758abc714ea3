"""Every space that ships trains: its baselines and what a sampler draws from it."""

from typing import Any

import optuna
import pytest
from tensorflow_helpers import make_dataset, train

from tuner.data import Dataset, load_dataset
from tuner.data.readers.bundled import SKLEARN
from tuner.manage.wanted_study import file_data
from tuner.search_space import Space, SpaceFile, load_file, shipped_spaces
from tuner.settings import load_settings
from tuner.study.fitting import choose_objective, fit_space
from tuner.study.messages import Goal, TrialRequest
from tuner.study.metrics import direction_of
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow


def _drawn(space: Space, queued: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for configuration in queued:
        study.enqueue_trial(configuration)
    return [dict(space.sample(study.ask())) for _ in range(count)]


def _data(file: SpaceFile) -> Dataset:
    """The file's own data where they ship with scikit-learn, else a few small images."""
    if file.data.get("source") in SKLEARN:
        return load_dataset(file_data(file, 0), load_settings())
    return make_dataset(images=True)


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_shipped_space_trains(name: str) -> None:
    file = load_file(name)
    dataset = _data(file)
    space = fit_space(file.space, dataset.task, dataset.input_shape)
    metric = choose_objective(space, dataset.task, None)
    goal = Goal(metric, direction_of(metric))
    baselines = [space.flatten(baseline) for baseline in space.baselines]
    trainer = Trainer(dataset)
    for params in _drawn(space, baselines, len(baselines) + 2):
        intervals, ended = train(
            trainer, TrialRequest(space.network, params | {"epochs": 1}, 0, goal)
        )
        assert intervals[-1].whole
        assert ended.end in ("complete", "diverged")
        assert ended.parameter_count > 0
