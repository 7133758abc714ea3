"""Tables made of the trials of a study, without a network."""

import json

import numpy as np
import pytest
from pyarrow import parquet
from tried_trials import EPOCHS, tried_study

from benchmarks.search.make_tables import (
    SOURCES,
    TableSource,
    describe_space,
    study_table,
    write_table,
)
from benchmarks.search.spaces import TableSpace
from tuner.search_space import load_space, make_space
from tuner.storage import open_store
from tuner.storage.trials import list_trials, trial_curve

SOURCE = TableSource("tried", "mlp", "mlp", "digits", default=1)


@pytest.fixture
def store(tmp_path, made_tables):
    opened = open_store(f"sqlite:///{tmp_path}/tuner.db")
    yield opened
    opened.close()


@pytest.mark.parametrize("name", SOURCES)
def test_a_shipped_space_is_the_table_s_space(name):
    space = load_space(SOURCES[name].space)
    described = TableSpace.from_json(json.loads(json.dumps(describe_space(space))))
    assert described.names == list(space.varying())
    places = np.random.default_rng(0).random((50, len(described.names)))
    for params in map(described.at, places):
        stepped = {"filters"}  # 16 to 32 by 8: a table's parameter has no step
        flat = {name: value for name, value in params.items() if name not in stepped}
        space.flatten(flat)  # refuses what the space does not allow


def test_a_parameter_with_two_conditions_is_refused():
    ranges = {"type": "float", "low": 0.0, "high": 0.9}
    choices = {"type": "categorical", "choices": ["adam", "sgd"]}
    deep = {"type": "int", "low": 1, "high": 3}
    content = {"optimizer": choices, "depth": deep}
    content["momentum"] = ranges | {"when": {"optimizer": "sgd", "depth": 2}}
    with pytest.raises(ValueError, match="momentum: a table's parameter has at most one"):
        describe_space(make_space("mlp", content))


def test_a_study_s_curves_are_read_back_from_its_table(store, tmp_path):
    study = tried_study(store, 40)
    table = study_table(store, study, SOURCE, EPOCHS)
    trials = [t for t in list_trials(store, study) if t.end in ("complete", "diverged")]
    assert 5 < len(table) == len(trials) < 40
    write_table(table, tmp_path / "tried.parquet")
    assert not list(tmp_path.glob("*.partial"))
    stored = parquet.read_table(tmp_path / "tried.parquet")
    facts = json.loads(stored.schema.metadata[b"tuner"])
    assert facts["further_metrics"] == {"loss": "minimize"} and facts["kind"] == "mlp"
    frame = stored.to_pandas()
    for row, trial in enumerate(trials):
        applies = trial.params["size"] in (64, 128)
        assert np.isfinite(frame["learning_rate"][row]) == applies
        assert frame["kind"][row] == trial.params["kind"]
        curve = {r.epoch: r.metrics for r in trial_curve(store, study, trial)}
        for prefix, metric in (("epoch", study.spec.metric), ("loss", "val_loss")):
            known, missing = [], False
            for epoch in range(1, EPOCHS + 1):
                value = curve.get(epoch, {}).get(metric, np.nan)
                missing = missing or not np.isfinite(value)
                known.append(np.nan if missing else value)
            columns = [f"{prefix}_{epoch:02d}" for epoch in range(1, EPOCHS + 1)]
            np.testing.assert_allclose(frame.loc[row, columns].to_numpy(float), known, rtol=1e-6)
