"""`tuner.Model`: what it takes, gives, logs and shows. The network is a fake."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from described_networks import FakeNetwork, OneAtATime, describe, write_plain_network

from tuner.errors import DatasetError, UsageError
from tuner.models.model import Model
from tuner.preparation.keras_file import read_description
from tuner.preparation.preparation import Preparation
from tuner.preparation.served_network import ServedNetwork

ROWS = {"age": [60.0, None], "town": ["Oslo", "Rome"]}


def model(**changes: Any) -> Model:
    return Model(describe(**changes), FakeNetwork())  # type: ignore[arg-type]


def test_rows_of_a_table_in_any_form() -> None:
    # age 60 and Oslo: (60 + 1) / 3; the gap becomes 30, and Rome no feature: 30 / 3.
    frame = pd.DataFrame(ROWS, index=["a", "b"])
    given = model().predict(frame[["town", "age"]])
    assert given["probability_yes"].tolist() == pytest.approx([61 / 3, 10.0])
    assert list(given.columns) == ["prediction", "probability_no", "probability_yes"]
    assert list(given.index) == ["a", "b"]
    records = frame.to_dict("records")
    for rows in (ROWS, records, {"age": 60.0, "town": "Oslo"}, frame.iloc[0]):
        again = model().predict(rows)
        count = len(again)
        assert again["probability_yes"].tolist() == given["probability_yes"].tolist()[:count]


def test_what_rows_have_shown_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    network = model()
    with caplog.at_level(logging.WARNING, "tuner"):
        network.predict(pd.DataFrame(ROWS).assign(left="yes", shoe=1))
    lines = [record.getMessage() for record in caplog.records]
    assert lines == network.findings.lines() and len(lines) == 4
    assert all(any(name in line for line in lines) for name in ("left", "shoe", "age", "Rome"))
    with pytest.raises(DatasetError, match=r"town.*Rome.*leave strict out"):
        network.predict(pd.DataFrame(ROWS), strict=True)


def test_arrays_and_single_rows() -> None:
    image = Preparation(input_shape=(2, 2), value_range=(0.0, 255.0))
    network = model(preparation=image, task="regression", labels=())
    rows = np.arange(12.0).reshape(3, 2, 2)
    assert network.predict(rows)["prediction"].tolist() == [1.5, 5.5, 9.5]
    assert network.predict(rows.tolist())["prediction"].tolist() == [1.5, 5.5, 9.5]
    assert network.predict(rows[1])["prediction"].tolist() == [5.5]
    assert network.columns is None


def test_threads_may_share_it() -> None:
    network = Model(describe(), OneAtATime())  # type: ignore[arg-type]
    ages = [float(age) for age in range(40)]
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda age: network.predict({"age": age, "town": "Bern"}), ages))
    assert [each["probability_yes"][0] for each in given] == pytest.approx(
        [(age + 1) / 3 for age in ages]
    )


def test_threads_of_a_server_may_share_a_served_network() -> None:
    network = ServedNetwork(OneAtATime(), describe())
    rows = pd.DataFrame([{"age": 6.0, "town": "Bern"}], index=["a"])
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(network.predict, [rows] * 40))
    assert [each["probability_yes"]["a"] for each in given] == pytest.approx([7 / 3] * 40)


class SavableNetwork(FakeNetwork):
    def save(self, path: Path) -> None:
        write_plain_network(path)


def test_it_is_saved_with_its_preparation(tmp_path: Path) -> None:
    network = Model(describe(trial=7), SavableNetwork())  # type: ignore[arg-type]
    for _ in range(2):  # an existing file is replaced
        network.save(str(tmp_path / "mine.keras"))
    assert read_description(tmp_path / "mine.keras") == describe(trial=7)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.keras"]
    with pytest.raises(UsageError, match=r"must end in \.keras"):
        network.save(tmp_path / "mine.h5")
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        network.save(tmp_path / "nowhere" / "mine.keras")
    with pytest.raises(UsageError, match="an export cannot become"):
        model().save(tmp_path / "mine.keras")


def test_it_says_what_it_is() -> None:
    text = repr(model())
    assert text == (
        "Model(study='people', trial=3, data='people.csv', metric='val_auc', task='binary', "
        "labels='no, yes', takes='age, town')"
    )
    many = tuple(map(str, range(100)))
    assert "labels='0, 1, 2, 3, 4, …'" in repr(model(task="classes", labels=many))
    assert "&lt;b&gt;" in model(study="<b>")._repr_html_()
    assert repr(model(study="", trial=None)).startswith("Model(data=")
