"""A worker's session: opened on prepared data, saving what a trial found, telling failures."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from tensorflow_helpers import make_dataset, make_request, on_disk

from tuner.data import Dataset
from tuner.errors import NetworkError
from tuner.preparation.keras_file import read_description
from tuner.runner import KERAS
from tuner.study.artifacts import FolderArtifacts
from tuner.study.messages import Ended, WorkerSetup
from tuner.training.engines.feeds import ResidentFeed, StreamingFeed
from tuner.training.engines.tiered import TieredProgram
from tuner.training.session import TrainingSession, open_session

pytestmark = pytest.mark.tensorflow

OWN = dedent("""
    import keras

    def build(params, input_shape, outputs):
        return keras.Sequential([keras.layers.Dense(outputs, activation="softmax")])
""")

LAYERS = dedent("""
    import keras
    from blocks import Twice

    @keras.saving.register_keras_serializable("mine")
    def bend(x):
        return keras.ops.tanh(x)

    def build(params, input_shape, outputs):
        layers = [keras.layers.Dense(4, activation=bend), Twice()]
        return keras.Sequential([*layers, keras.layers.Dense(outputs, activation="softmax")])
""")
BLOCKS = dedent("""
    import keras

    @keras.saving.register_keras_serializable("mine")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x
""")
# A fresh process: it prints why the network is refused, then its outputs once it is trusted.
LOADING = dedent("""
    import json, re
    import numpy, tuner

    rows = numpy.load("../rows.npy")
    try:
        tuner.load_model("../own.keras")
    except tuner.CodeError as error:
        print(error)
        hashes = re.findall("[0-9a-f]{64}", str(error))
    tuner.load_model("../own.keras", trust_code=hashes)
    print(json.dumps(tuner.load_model("../own.keras").outputs(rows).tolist()))  # remembered
""")


def test_keras_is_imported_without_what_is_not_used() -> None:
    """Keras imports both for wrappers and plots, which takes a worker 1.3 s."""
    code = f"import sys, {', '.join(KERAS.preload)}; "
    code += "print(sorted({'matplotlib', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return on_disk(make_dataset(), tmp_path / "data")


@pytest.fixture
def setup(dataset: Dataset, tmp_path: Path) -> WorkerSetup:
    return WorkerSetup(tmp_path / "data", float("inf"))


def test_a_gpu_that_is_gone_leaves_the_processor(
    setup: WorkerSetup, caplog: pytest.LogCaptureFixture
) -> None:
    session = open_session(replace(setup, gpu=99, threads=4))
    *_, ended = session.events(make_request(epochs=1))
    assert isinstance(ended, Ended)
    assert "sees no GPU 99: this worker trains on the processor" in caplog.text


def test_a_session_trains_and_saves_the_best_network(
    setup: WorkerSetup, dataset: Dataset, tmp_path: Path
) -> None:
    session = open_session(setup)
    *_, ended = session.events(make_request(epochs=3, dropout=0.2))
    assert isinstance(ended, Ended)
    target = tmp_path / "models" / "trial-3.keras"
    artifacts = FolderArtifacts(tmp_path)
    artifacts.put("models/trial-3.keras", session.save)
    artifacts.put("models/trial-3.keras", session.save)
    assert [path.name for path in target.parent.iterdir()] == ["trial-3.keras"]
    y = dataset.validation.y
    probabilities = keras.models.load_model(target)(dataset.validation.x).numpy()
    loss = -np.log(probabilities[np.arange(len(y)), y]).mean()
    assert loss == pytest.approx(ended.score, rel=1e-5)


def test_a_failed_save_leaves_the_former_file_whole(
    setup: WorkerSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = TrainingSession(setup)
    list(session.events(make_request()))
    target = tmp_path / "best.keras"
    artifacts = FolderArtifacts(tmp_path)
    artifacts.put(target.name, session.save)
    before = target.read_bytes()

    def full_disk(model: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(keras.Model, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        artifacts.put(target.name, session.save)
    assert target.read_bytes() == before
    assert len(list(tmp_path.glob("*.keras"))) == 1


def test_nothing_is_saved_before_a_trial(setup: WorkerSetup, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no trial"):
        TrainingSession(setup).save(tmp_path / "best.keras")


def test_a_users_own_network_in_a_session(
    setup: WorkerSetup, dataset: Dataset, tmp_path: Path
) -> None:
    own = WorkerSetup(setup.data, setup.budget_bytes, ("nets.py", "build", OWN))
    session = TrainingSession(own)
    *_, ended = session.events(make_request(epochs=2))
    assert isinstance(ended, Ended)
    session.save(tmp_path / "own.keras")
    model = keras.models.load_model(tmp_path / "own.keras")
    rows = model(dataset.validation.x).numpy()[np.arange(33), dataset.validation.y]
    assert -np.log(rows).mean() == pytest.approx(ended.score, rel=1e-5)


def test_own_layers_load_in_a_fresh_process_with_their_code(
    setup: WorkerSetup, dataset: Dataset, tmp_path: Path
) -> None:
    """In another folder, once the user has agreed to the code that the file carries."""
    modules = (("blocks.py", BLOCKS),)
    own = WorkerSetup(setup.data, setup.budget_bytes, ("nets/own.py", "build", LAYERS, modules))
    session = TrainingSession(own)
    list(session.events(make_request(epochs=1)))
    session.save(tmp_path / "own.keras")
    assert read_description(tmp_path / "own.keras").code == {
        "nets/own.py": LAYERS,
        "nets/blocks.py": BLOCKS,
    }
    expected = keras.models.load_model(tmp_path / "own.keras")(dataset.validation.x[:3]).numpy()
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "rows.npy", dataset.validation.x[:3])
    done = subprocess.run(
        [sys.executable, "-c", LOADING],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path / "elsewhere",
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")},
    )
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in (LAYERS, BLOCKS)]
    refused, given = done.stdout.splitlines()
    assert refused == (
        "the network would run code that is not a file of this machine: nets/own.py, "
        "nets/blocks.py; read it with: tuner study code ../own.keras; then allow it with: "
        f"tuner.load_model('../own.keras', trust_code=['{hashes[0]}', '{hashes[1]}'])"
    )
    assert np.array(json.loads(given)) == pytest.approx(expected, rel=1e-5)


def test_a_budget_of_memory_decides_on_streaming(setup: WorkerSetup, dataset: Dataset) -> None:
    small = WorkerSetup(setup.data, budget_bytes=dataset.nbytes - 1)
    for engine, resident in (("keras", ResidentFeed), ("auto", TieredProgram)):
        request = make_request(engine=engine)  # type: ignore[arg-type]
        feeds = [TrainingSession(s).trainer.prepare(request)[1] for s in (setup, small)]
        assert [type(feed) for feed in feeds] == [resident, StreamingFeed]


@pytest.mark.parametrize(
    ("error", "own", "kind"),
    [
        (ValueError("bad\nnews"), False, "error"),
        (ValueError("bad\nnews"), True, "user_error"),
        (NetworkError("bad\nnews"), False, "user_error"),
        (MemoryError("bad\nnews"), True, "out_of_memory"),
        (tf.errors.ResourceExhaustedError(None, None, "bad\nnews"), False, "out_of_memory"),
    ],
)
def test_failures(setup: WorkerSetup, error: Exception, own: bool, kind: str) -> None:
    code = ("nets.py", "build", OWN) if own else None
    session = TrainingSession(WorkerSetup(setup.data, setup.budget_bytes, code))
    failed = session.failure(error)
    assert (failed.kind, failed.message) == (kind, f"{type(error).__name__}: bad")
    assert failed.detail.endswith("news")
