"""docs/serving.md, on loopback: MLflow's own server, where tuner is not installed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from doc_pages import Block, blocks_of
from logged_tables import FakeNetwork, load_table, make_table, save_network
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.scoring_server import invocations
from tracking_helpers import Search

from tuner.data import save_dataset
from tuner.data.load import load_dataset
from tuner.preparation.keras_file import read_description
from tuner.preparation.served_network import ServedNetwork
from tuner.settings import load_settings, python_environment
from tuner.study.spec import DataSpec
from tuner.tracking.client import Client
from tuner.tracking.study_delivery import StudyDelivery

_PAGE = "docs/serving.md"
_START_S = 120
_LAYER = """
import keras
from sizes import AXIS

@keras.saving.register_keras_serializable("nets")
class Mean(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.mean(inputs, AXIS)
"""


def block(start: str) -> Block:
    """The page's block that begins so."""
    return next(each for each in blocks_of(_PAGE) if each.code.startswith(start))


def log_table(search: Search, client: Client, folder: Path) -> str:
    """A model with a layer of the user's own for the table, and its id."""
    dataset = load_table(folder)
    save_dataset(dataset, folder / "data")
    layer = {"module": None, "class_name": "Mean", "registered_name": "nets>Mean", "config": {}}
    code = {"nets/net.py": _LAYER, "nets/sizes.py": "AXIS = 1\n"}
    file = save_network(folder / "trial-0.keras", dataset, layer, code=code)
    search.complete(search.start(), 0.5, file)
    StudyDelivery(
        search.store, client, search.study, data=folder / "data", networks=folder
    ).deliver()
    (experiment,) = [client.get_experiment_by_name(search.study.experiment)]
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert str(model.status) == "READY"
    return str(model.model_id)


class Server:
    """The page's command."""

    def __init__(self, tracking_uri: str, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        (folder / "tuner.py").write_text("raise ImportError('tuner is not installed here')\n")
        self._log = folder / "serving.log"
        command = self.here(block("export MLFLOW_TRACKING_URI").code)
        command = command.replace("sqlite:///mlruns/mlflow.db", tracking_uri)
        environment = python_environment() | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-ec", command], cwd=folder, env=environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def here(self, code: str) -> str:
        return code.replace("5001", str(self.port))

    def wait(self) -> None:
        until = time.monotonic() + _START_S
        while self._process.poll() is None and time.monotonic() < until:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5).close()
            except OSError:
                time.sleep(0.2)
            else:
                return
        raise AssertionError(self._log.read_text())

    def ask(self, request: Any) -> tuple[int, str]:
        """Status and answer."""
        body = json.dumps(request).encode()
        where = f"http://127.0.0.1:{self.port}/invocations"
        headers = {"Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(where, body, headers), timeout=60
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)  # its own session
        self._process.wait()


@pytest.fixture
def server(search: Search, client: Client, tracking_uri: str, tmp_path: Path) -> Iterator[Server]:
    model_id = log_table(search, client, tmp_path)
    client.create_registered_model("churn")
    location = client.get_logged_model(model_id).artifact_location
    version = client.create_model_version("churn", location)
    client.set_registered_model_alias("churn", "champion", version.version)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    server = Server(tracking_uri, folder)
    try:
        server.wait()
        yield server
    finally:
        server.stop()
        client.delete_registered_model("churn")  # the store is that of other tests too


@pytest.mark.tensorflow
@pytest.mark.slow
def test_the_page_s_server_answers_raw_rows(server: Server, tmp_path: Path) -> None:
    asked = subprocess.run(
        ["bash", "-ec", server.here(block("curl").code)], capture_output=True, check=True
    )
    shown = json.loads(block('{"predictions"').code)["predictions"]
    answers = json.loads(asked.stdout)["predictions"]
    assert [set(row) for row in answers] == [set(row) for row in shown]

    rows = make_table()
    rows.drop(columns="churn")[rows.columns[-2::-1]].to_csv(tmp_path / "new.csv", index=False)
    names: dict[str, Any] = {}
    code = server.here(block("import pandas, requests").code)
    exec(code.replace("new.csv", str(tmp_path / "new.csv")), names)
    predictions = names["predictions"]
    x = description_of(tmp_path).preparation.prepare(rows).inputs
    expected = 1 / (1 + np.exp(-x.mean(axis=1) / 1e4))
    np.testing.assert_allclose(predictions["probability_yes"], expected, atol=1e-5)
    assert predictions["probability_yes"].nunique() > 50

    record = json.loads(rows.iloc[[0]].to_json(orient="records"))[0]
    status, answer = server.ask({"dataframe_records": [record | {"day": "soon"}]})
    assert status == 400 and "column 'day' must hold dates" in json.loads(answer)["message"]
    del record["age"]
    status, answer = server.ask({"dataframe_records": [record]})
    assert status == 400 and "missing inputs ['age']" in json.loads(answer)["message"]


def description_of(folder: Path) -> Any:
    return read_description(folder / "trial-0.keras")


def test_images_are_inputs_of_a_request(
    search: Search, client: Client, runs: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    """What the server does with a request's text, but with a fake network."""
    dataset = load_dataset(DataSpec(source="digits"), load_settings())
    file = save_network(tmp_path / "digits.keras", dataset)
    search.complete(search.start(), 0.5, file)
    StudyDelivery(search.store, client, search.study, networks=tmp_path).deliver()
    (output,) = runs()["trial 0"].outputs.model_outputs
    folder = Path(client.get_logged_model(output.model_id).artifact_location)
    model = PyFuncModel(
        Model.load(str(folder / "MLmodel")), ServedNetwork(TenClasses(), read_description(file))
    )
    images = np.asarray(dataset.train.x[:3]).tolist()
    answer = invocations(
        json.dumps({"inputs": images}), "application/json", model, model.metadata.get_input_schema()
    )
    predictions = pd.DataFrame(json.loads(answer.response)["predictions"])
    assert list(predictions.columns) == ["prediction", *(f"probability_{n}" for n in range(10))]
    firsts = [str(int(np.asarray(image)[0, 3]) % 10) for image in images]
    assert list(predictions["prediction"]) == firsts and len(set(firsts)) > 1


class TenClasses(FakeNetwork):
    """Tells an image by one of its pixels."""

    def predict_on_batch(self, inputs: np.ndarray) -> np.ndarray:
        return np.eye(10)[inputs[:, 0, 3].astype(int) % 10]
