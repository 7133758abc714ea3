"""The figure by which a network of several heads is promoted: the loss of all of them. Arrays only:
no TensorFlow."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from tuner.data import Dataset, load_dataset
from tuner.data.preparing import given_targets
from tuner.models.champions import Judge
from tuner.settings import load_settings
from tuner.study.data_spec import DataSpec, TargetSpec


@dataclass
class _Spec:
    """As much of a study's as the judge reads."""

    metric: str = "val_loss"
    own_metrics: dict[str, Any] = field(default_factory=dict)
    own_networks: tuple[()] = ()


@dataclass
class _Study:
    spec: _Spec = field(default_factory=_Spec)


@pytest.fixture
def homes(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(0)
    size = rng.normal(80, 20, 300)
    columns = {"size": size, "price": 2000 * size, "kind": np.where(size > 70, "house", "flat")}
    pd.DataFrame(columns).to_csv(tmp_path / "homes.csv", index=False)
    heads = {"price": TargetSpec(weight=0.5), "kind": TargetSpec()}
    spec = DataSpec(source=str(tmp_path / "homes.csv"), targets=heads)
    return load_dataset(spec, load_settings())


def test_loss_is_the_weighted_sum_of_the_heads_as_they_are_trained(
    homes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.models.champions.user_metrics", lambda *_: {})
    y = given_targets(homes, homes.test)
    rng = np.random.default_rng(1)
    outputs = {
        "price": (y["price"] + rng.normal(0, 5000, len(y["price"])))[:, np.newaxis],
        "kind": rng.uniform(0.05, 0.95, (len(y["kind"]), 1)),
    }
    judge = Judge(load_settings(), _Study(), homes, ())  # type: ignore[arg-type]
    evaluation, figures = judge.evaluate(outputs)  # type: ignore[arg-type]
    price = homes.heads[0]
    scaled = price.scaling.apply(homes.test.y.parts["price"])
    wanted = 0.5 * np.mean(
        (scaled - price.scaling.apply(outputs["price"][:, 0] - np.float64(price.shift))) ** 2
    ) + log_loss(y["kind"], outputs["kind"][:, 0])
    assert next(iter(figures)) == "loss"
    assert figures["loss"].value == pytest.approx(wanted, rel=1e-4)
    assert "price_mae" in evaluation.metrics


def test_the_loss_of_several_values_weighs_them_as_training_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.models.champions.user_metrics", lambda *_: {})
    size = np.random.default_rng(0).normal(80, 20, 300)
    columns = {"size": size, "price": 2000 * size, "rooms": size / 20}
    pd.DataFrame(columns).to_csv(tmp_path / "homes.csv", index=False)
    spec = DataSpec(source=f"{tmp_path / 'homes.csv'}:price,rooms")
    homes = load_dataset(spec, load_settings())
    y = given_targets(homes, homes.test)
    deviations = np.asarray(homes.targets[0].scaling.scale) ** -1
    judge = Judge(load_settings(), _Study(), homes, ())  # type: ignore[arg-type]
    _, figures = judge.evaluate(y + [0.1, 0.5] * deviations)
    assert figures["loss"].value == pytest.approx((0.1**2 + 0.5**2) / 2, rel=1e-4)
