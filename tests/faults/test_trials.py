"""Trials that go wrong by themselves, and disks that are full."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fault_table import OUTCOMES
from toy_study import Bench, any_of

from faults.audit import ends
from faults.victims import finish
from tuner.data import load_dataset
from tuner.errors import DatasetError
from tuner.settings import load_settings
from tuner.study.spec import DataSpec

Check = Callable[..., None]
ACTS = any_of("learn", "crash", "raise", "grow", "hang", "nan", "big")
# What a worker of this suite holds before it trains, and some room.
MEMORY_BYTES = 400 * 2**20


@pytest.mark.times(1, 5)
def test_every_way_a_trial_goes_wrong(tracked_bench: Bench, times: int, check: Check) -> None:
    bench = tracked_bench
    acts = ["crash", "learn", "raise", "learn", "grow", "hang", "nan", "learn"] * times
    baselines = [{"act": act, "x": 0.8} for act in acts]
    parameters = {"act": ACTS, "epochs": 5, "patience": 5, "at": 4, "pace": 0.02}
    bench.create(parameters, baselines)
    trials = len(acts) - acts.count("raise")
    loop = bench.start(
        trials, workers=2, asked={"trial_memory_bytes": MEMORY_BYTES}, trial_timeout_s=4.0
    )
    assert finish(loop).startswith(f"None done_here={trials}")
    check(bench, trials, "workers that exit, raise, hang, take all memory; NaN in the loss", times)
    for trial, act in zip(bench.trials, acts, strict=True):
        state, end = OUTCOMES[act]
        assert (act, trial.state, trial.end) == (act, state, end)
        if state == "PRUNED":
            assert bench.store.optuna.get_trial(trial.trial_id).constraints == {"feasible": 1.0}
            assert trial.last is not None
            assert (trial.last.detail is None) == (act == "nan")
    assert ends(bench)["worker_lost"] == 3 * times


@pytest.mark.times(1, 3)
def test_no_space_for_networks(tracked_bench: Bench, times: int, check: Check) -> None:
    """Files cannot grow beyond a size: neither networks nor MLflow's copies of them fit."""
    bench = tracked_bench
    baselines = [{"act": "big", "x": x} for x in (0.5, 0.6, 0.7)] * times
    bench.create({"act": ACTS}, baselines)
    trials = len(baselines)
    said = finish(bench.start(trials, asked={"log_models": "all"}, file_bytes=16 * 2**20))
    assert said.startswith(f"None done_here={trials}"), said
    check(bench, trials, "no space for artifacts", times)
    for trial in bench.trials:
        assert trial.last is not None
        assert trial.last.model_path is None
        assert "File too large" in (trial.last.detail or "")


def test_nan_in_the_data(tmp_path: Path) -> None:
    """Gaps in a table are filled, images with them refused: no NaN comes to training."""
    settings, spec = load_settings(), DataSpec(source=str(tmp_path / "holes.npz"), task="classes")
    table, images = np.ones((60, 4), np.float32), np.ones((60, 2, 2), np.float32)
    table[:, 0], images[7, 1, 1] = np.arange(60), np.nan
    table[7, 1] = np.nan
    np.savez(spec.source, x=images, y=np.arange(60) % 3)
    with pytest.raises(DatasetError, match=r"holes\.npz: x \(train\) holds NaN"):
        load_dataset(spec, settings)
    np.savez(spec.source, x=table, y=np.arange(60) % 3)
    loaded = load_dataset(spec, settings)
    assert all(np.isfinite(split.x).all() for split in (loaded.train, loaded.validation))
