"""Every space that ships trains: its baselines and what a sampler draws from it."""

from typing import Any

import optuna
import pytest
from tensorflow_helpers import make_dataset, train

from tuner.space import Space, load_space, shipped_spaces
from tuner.training.events import Goal, Plan
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow


def _drawn(space: Space, queued: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for configuration in queued:
        study.enqueue_trial(configuration)
    return [dict(space.sample(study.ask())) for _ in range(count)]


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_shipped_space_trains(name: str) -> None:
    space = load_space(name)
    baselines = [space.flatten(baseline) for baseline in space.baselines]
    trainer = Trainer(make_dataset())
    for params in _drawn(space, baselines, len(baselines) + 2):
        plan = Plan(space.network, params | {"epochs": 1}, 0, Goal("val_accuracy", "maximize"))
        intervals, ended = train(trainer, plan)
        assert intervals[-1].whole
        assert ended.end in ("complete", "diverged")
        assert ended.parameter_count > 0
