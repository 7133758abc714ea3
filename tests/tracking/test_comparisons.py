"""What MLflow shows of a study that is evaluated on the test split."""

import json
from typing import Any

from toy_study import toy_spec

from tuner.data import load_dataset
from tuner.settings import load_settings
from tuner.study.spec import Choice, DataSpec
from tuner.tracking.content import dataset_inputs, study_params

HELD_OUT: dict[str, Any] = {
    "held_out": "test",
    "metric": "test_accuracy",
    "sampler": Choice(name="listed"),
}


def test_the_study_says_so() -> None:
    params = study_params(toy_spec(baselines=[{"x": 0.5}], **HELD_OUT))
    assert (params["held_out"], params["metric"]) == ("test", "test_accuracy")
    assert "held_out" not in study_params(toy_spec())


def test_the_splits_are_logged_as_they_were_used() -> None:
    dataset = load_dataset(DataSpec(source="iris"), load_settings())
    spec = toy_spec(baselines=[{"x": 0.5}], **HELD_OUT)
    profile = json.loads(dataset_inputs(spec, dataset.for_test())[0].dataset.profile)
    assert profile["train_rows"] == len(dataset.train) + len(dataset.validation)
    assert profile["test_rows"] == len(dataset.test)
    assert "validation_rows" not in profile
    search = json.loads(dataset_inputs(toy_spec(), dataset)[0].dataset.profile)
    assert search["validation_rows"] == len(dataset.validation)
