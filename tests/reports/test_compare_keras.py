"""What a comparison trains and scores, for real: against Keras alone on the test split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensorflow_helpers import make_dataset, make_request, outcome, train

from tuner.data import Split, load_dataset, save_dataset
from tuner.reports.comparisons import of_file, prepare
from tuner.runner import trained_on
from tuner.settings import load_settings
from tuner.storage import open_store
from tuner.study.messages import Ended, Goal, TrialRequest, WorkerSetup
from tuner.training.session import TrainingSession
from tuner.training.trial import Trainer

pytestmark = pytest.mark.tensorflow

FILE = """
network: mlp
data: {source: digits, scaling: center}
parameters:
  depth: {type: int, low: 1, high: 2}
  width: {type: int, low: 8, high: 64, repeat: depth}
  learning_rate: 0.01
  epochs: 3
baselines:
  - {depth: 2, width: [32, 16]}
"""


def test_the_score_is_keras_s_on_the_test_split(tmp_path: Path) -> None:
    import keras

    (tmp_path / "mine.yaml").write_text(FILE)
    settings = load_settings(f"sqlite:///{tmp_path}/tuner.db")
    subject = of_file(str(tmp_path / "mine.yaml"), {}, 0)
    spec = prepare(subject, 1, settings, lambda: open_store(settings.storage)).spec
    save_dataset(trained_on(settings, spec), tmp_path / "data")
    session = TrainingSession(WorkerSetup(tmp_path / "data", float("inf")))
    (flat,) = spec.space.configurations()
    goal = Goal(spec.metric, spec.direction)
    request = TrialRequest(
        "mlp", spec.space.resolve(flat), 5, goal, spec.first_epoch_reports, held_out=spec.held_out
    )
    *_, ended = session.events(request)
    session.save(tmp_path / "net.keras")
    test = load_dataset(spec.data, settings).test
    model = keras.models.load_model(tmp_path / "net.keras")
    hits = np.argmax(model(np.asarray(test.x, np.float32)), axis=1) == test.y
    assert isinstance(ended, Ended)
    assert ended.score == pytest.approx(float(hits.mean()), abs=1e-6)
    assert ended.score > 0.8


def test_a_search_never_reads_the_test_split() -> None:
    dataset = make_dataset()
    nonsense = Split(np.full_like(dataset.test.x, np.nan), dataset.test.y)
    request = make_request(epochs=2)
    spoilt = Trainer(replace(dataset, test=nonsense))
    assert outcome(Trainer(dataset), request) == outcome(spoilt, request)
    held_out = replace(request, held_out="test", goal=Goal("test_loss", "minimize"))
    _, ended = train(Trainer(replace(dataset, test=nonsense).for_test()), held_out)
    assert ended.end == "diverged"
