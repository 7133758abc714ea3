"""A model in MLflow takes rows as people have them. No TensorFlow: the network is a fake."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from described_networks import describe
from logged_tables import FakeNetwork, load_table, make_table, save_network
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel
from tracking_helpers import Search, make_spec

from tuner.data import Dataset, save_dataset
from tuner.data.load import load_dataset
from tuner.preparation.keras_file import read_description
from tuner.preparation.served_network import ServedNetwork
from tuner.settings import load_settings, python_environment
from tuner.study.spec import DataSpec
from tuner.tracking.check import find_differences
from tuner.tracking.client import Client
from tuner.tracking.model_folders import read_network, write_model
from tuner.tracking.model_signatures import signature_of
from tuner.tracking.study_delivery import StudyDelivery

Runs = Callable[[], dict[str, Any]]
Frame = pd.DataFrame


class Logged:
    """As much of MLflow's logged model as its files say."""

    artifact_location, source_run_id, model_id = "nowhere", "0" * 32, "m-0"


def write(folder: Path, dataset: Dataset) -> Path:
    """The model's folder."""
    folder.mkdir()
    network = read_network(save_network(folder.parent / "network.keras", dataset))
    write_model(folder, network, make_spec(), dataset, Logged())
    return folder


def load(folder: Path) -> PyFuncModel:
    """The model as MLflow loads it, but with a fake network."""
    description = read_description(folder / "data" / "model.keras")
    network = ServedNetwork(FakeNetwork(), description)
    return PyFuncModel(Model.load(str(folder / "MLmodel")), network)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """The table's file, and what was learnt from it."""
    folder = tmp_path_factory.mktemp("table")
    return folder / "people.csv", load_table(folder)


@pytest.fixture(scope="module")
def folder(table: tuple[Path, Dataset]) -> Path:
    """Of the table's model. Tests only read it."""
    file, dataset = table
    return write(file.parent / "model", dataset)


def test_the_signature_is_the_raw_columns(folder: Path) -> None:
    described = Model.load(str(folder / "MLmodel"))
    assert described.signature.inputs.required_input_names() == [
        *("age", "income", "city", "zip", "day", "vip")
    ]
    assert described.signature.outputs.input_names() == [
        *("prediction", "probability_no", "probability_yes")
    ]
    metadata = described.metadata
    assert (metadata["task"], metadata["labels"], metadata["metric"], metadata["trial"]) == (
        *("binary", ["no", "yes"], "val_auc", 0),
    )
    kinds = {"age": "number", "income": "number", "city": "category"}
    kinds |= {"zip": "category", "day": "date", "vip": "number"}
    assert metadata["columns"] == kinds
    requirements = (folder / "requirements.txt").read_text()
    for package in ("mlflow", "keras", "tensorflow", "pandas", "pyarrow"):
        assert f"\n{package}==" in f"\n{requirements}"


def test_a_value_is_a_number_and_a_label_a_text_in_the_signature() -> None:
    for task, labels, kinds in (
        ("regression", (), ["double"]),
        ("classes", ("a", "b", "c"), ["string", "double", "double", "double"]),
    ):
        outputs = signature_of(describe(task=task, labels=labels)).outputs
        assert [kind.name for kind in outputs.input_types()] == kinds


def test_the_example_is_the_first_training_rows_as_they_were_given(folder: Path) -> None:
    given = make_table().drop(columns="churn").astype(object)
    rows = [[None if pd.isna(v) else v for v in row] for row in given.to_numpy().tolist()]
    served = json.loads((folder / "serving_input_example.json").read_text())["dataframe_split"]
    assert served["columns"] == list(given.columns)
    places = [rows.index(row) for row in served["data"]]
    assert len(places) == 5 and places == sorted(places)  # the training split has other rows too
    example = Model.load(str(folder / "MLmodel")).load_input_example(str(folder))
    answers = load(folder).predict(make_table().iloc[places])
    pd.testing.assert_frame_equal(
        load(folder).predict(example), answers.reset_index(drop=True), check_exact=True
    )


def read_back(rows: Frame) -> Frame:
    """As a request brings rows: JSON, with null for gaps."""
    return pd.DataFrame(json.loads(rows.to_json(orient="records")))


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[rows.columns[::-1]],
        lambda rows: rows.assign(age=rows["age"].astype("float64"), note="new"),
        lambda rows: rows.astype(object).where(rows.notna(), None),
        lambda rows: rows.assign(city=rows["city"].fillna("")),
        lambda rows: rows.astype({"zip": str}),
        lambda rows: rows.assign(day=pd.to_datetime(rows["day"], dayfirst=True)),
        lambda rows: rows.drop(columns="churn"),
        read_back,
    ],
    ids=["order", "extra", "objects", "blanks", "texts", "dates", "no target", "json"],
)
def test_rows_may_be_written_in_many_ways(folder: Path, change: Callable[[Frame], Frame]) -> None:
    model, rows = load(folder), make_table()
    answers = model.predict(change(rows))
    pd.testing.assert_frame_equal(answers, model.predict(rows))
    assert set(answers["prediction"]) == {"no", "yes"}


def test_rows_of_a_file_are_scored_as_the_training_rows(
    folder: Path, table: tuple[Path, Dataset]
) -> None:
    file, dataset = table
    answers = load(folder).predict(pd.read_csv(file))["probability_yes"]
    x = np.asarray(dataset.train.x, np.float64) + (0 if dataset.shift is None else dataset.shift)
    trained = FakeNetwork().predict_on_batch(x.astype(np.float32))[:, 0]
    scores = np.sort(answers)
    nearest = scores[np.clip(np.searchsorted(scores, trained - 1e-6), 0, len(scores) - 1)]
    np.testing.assert_allclose(nearest, trained, atol=1e-5)
    assert answers.nunique() > 50


def test_a_single_row_may_miss_anything(folder: Path) -> None:
    model = load(folder)
    empty = dict.fromkeys(["age", "income", "city", "zip", "day", "vip"])
    for row in (empty, empty | {"age": 39}, empty | {"city": "Rome", "zip": 1002}):
        assert model.predict(pd.DataFrame([row])).shape == (1, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="age"), r"Model is missing inputs \['age'\]"),
        (lambda rows: rows.rename(columns={"age": "Age"}), r"extra inputs: .*'Age'"),
        (lambda rows: rows.assign(income="much"), "column 'income' must hold numbers"),
        (lambda rows: rows.assign(day="tomorrow"), "column 'day' must hold dates"),
        (lambda rows: rows.iloc[:0], "holds no rows"),
    ],
)
def test_other_rows_are_refused(
    folder: Path, change: Callable[[Frame], Frame], message: str
) -> None:
    with pytest.raises(MlflowException, match=message):
        load(folder).predict(change(make_table()))


def test_a_matrix_with_names_takes_them_in_any_order(tmp_path: Path) -> None:
    dataset = load_dataset(DataSpec(source="iris"), load_settings())
    model = load(write(tmp_path / "model", dataset))
    assert dataset.features is not None
    rows = pd.DataFrame(np.asarray(dataset.train.x[:9], np.float64), columns=dataset.features)
    reversed_rows = rows[rows.columns[::-1]]
    np.testing.assert_array_equal(inputs_of(model, reversed_rows), inputs_of(model, rows))


def inputs_of(model: PyFuncModel, rows: Any) -> np.ndarray:
    """What reaches the network."""
    taken: list[np.ndarray] = []
    network: Any = model._model_impl
    labels = len(network._description.labels)

    class Recorder(FakeNetwork):
        def predict_on_batch(self, inputs: np.ndarray) -> np.ndarray:
            taken.append(inputs)
            return np.full((len(inputs), labels), 1 / labels)

    network._network = Recorder()
    model.predict(rows)
    return np.concatenate(taken)


def test_images_are_a_tensor(tmp_path: Path) -> None:
    dataset = load_dataset(DataSpec(source="digits"), load_settings())
    folder = write(tmp_path / "model", dataset)
    model = load(folder)
    (taken,) = model.metadata.signature.inputs.inputs
    assert (taken.shape, str(taken.type)) == ((-1, 8, 8), "float32")
    example = model.metadata.load_input_example(str(folder))
    np.testing.assert_array_equal(example, dataset.train.x[:2])
    np.testing.assert_array_equal(inputs_of(model, example), dataset.train.x[:2])


def test_it_loads_where_tuner_is_not_installed(
    tmp_path: Path, folder: Path, table: tuple[Path, Dataset]
) -> None:
    """In another folder, with layers of the user's own, by a Keras that is only pretended."""
    code = {
        "nets/net.py": "import blocks\nimport keras\nkeras.REGISTERED.append(blocks.NAME)\n",
        "nets/blocks.py": "NAME = 'mine'\n",
    }
    rows, dataset = table
    folder = shutil.copytree(folder, tmp_path / "model")
    save_network(folder / "data" / "model.keras", dataset, code=code)
    for name, text in {
        "tuner": "raise ImportError('tuner is not here')",
        "keras": "REGISTERED = []\nimport saving",
        "saving": "def load_model(file, compile):\n"
        "    import keras\n    assert keras.REGISTERED == ['mine']\n    return Network()\n"
        "class Network:\n"
        "    def predict_on_batch(self, x):\n        return 0 * x[:, :1] + 0.75\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    loader = Model.load(str(folder / "MLmodel")).flavors["python_function"]["loader_module"]
    program = (
        "import sys, importlib, pandas\n"
        "folder, loader, rows = sys.argv[1:]\n"
        "sys.path.insert(0, f'{folder}/code')\n"
        "model = importlib.import_module(loader)._load_pyfunc(f'{folder}/data')\n"
        "answers = model.predict(pandas.read_csv(rows))\n"
        "assert 'mlflow' not in sys.modules\n"
        "print(len(answers), *answers.iloc[0])\n"
    )
    command = [sys.executable, "-c", program, str(folder), loader, str(rows)]
    environment = python_environment() | {"PYTHONPATH": str(tmp_path)}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        command, env=environment, cwd=elsewhere, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "60 yes 0.25 0.75\n"), done.stderr


def deliver(search: Search, client: Client, file: Path, data: Path | None = None) -> None:
    search.complete(search.start(), 0.5, file)
    StudyDelivery(search.store, client, search.study, data=data, networks=file.parent).deliver()


def test_a_network_that_cannot_be_loaded_is_not_logged(
    search: Search, client: Client, runs: Runs, tmp_path: Path, table: tuple[Path, Dataset]
) -> None:
    problem = "Keras could not load the saved network"
    file = save_network(tmp_path / "a.keras", table[1], problem=problem)
    deliver(search, client, file)
    run = runs()["trial 0"]
    assert run.data.tags["model"] == f"a.keras: {problem}"
    assert run.info.status == "FINISHED" and not run.outputs.model_outputs
    result = find_differences(search.store, client, search.study, networks=tmp_path)
    assert result.differences == []


def test_a_model_that_would_read_rows_in_another_way_is_not_logged(
    search: Search, client: Client, runs: Runs, tmp_path: Path, table: tuple[Path, Dataset]
) -> None:
    dataset = table[1]
    save_dataset(dataset, tmp_path / "data")
    index = tmp_path / "data" / "dataset.json"
    content = json.loads(index.read_text())
    content["examples"]["income"] = [1.0] * 5
    index.write_text(json.dumps(content))
    deliver(search, client, save_network(tmp_path / "a.keras", dataset), tmp_path / "data")
    run = runs()["trial 0"]
    assert "would not read the training rows as training did" in run.data.tags["model"]
    assert run.info.status == "FINISHED"
