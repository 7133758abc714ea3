"""KerasTuner's functions and HyperModels: unchanged, they ask tuner for what they ask KerasTuner
for, and are trained."""

import hashlib
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tuner.errors import NetworkError
from tuner.search_space.function_kinds import FunctionKind
from tuner.study.messages import (
    Ended,
    FunctionCode,
    Goal,
    Reply,
    Report,
    Suggest,
    TrialRequest,
    WorkerSetup,
)

pytestmark = pytest.mark.tensorflow

EXAMPLES = Path(__file__).parents[1] / "support" / "keras_tuner_examples.py"
NAMES = {
    "build_model": ("val_accuracy", "max"),
    "preprocessing": ("val_accuracy", "max"),
    "TunableFit": ("val_accuracy", "max"),
    "Conditional": ("val_loss", "min"),
    "OwnLoop": ("my_metric", "min"),
}
SEARCHED = ("TunableFit", "OwnLoop")


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    y = np.arange(48) % 3
    return draw.normal(size=(48, 4, 4)).astype(np.float32) + y[:, None, None], y


@pytest.fixture(scope="module")
def lab(tmp_path_factory, rows):
    """Opens sessions on the same rows, without processes: lab.session(name, text)."""
    from tuner.data import load_dataset, save_dataset
    from tuner.settings import Settings
    from tuner.study.spec import DataSpec
    from tuner.training.session import TrainingSession

    folder = tmp_path_factory.mktemp("hypermodels")
    np.savez(folder / "rows.npz", x=rows[0], y=rows[1])
    settings = Settings("sqlite://", "sqlite://", folder, folder / "c", folder / "k")
    spec = DataSpec(source=str(folder / "rows.npz"), task="classes", scaling="none")
    save_dataset(load_dataset(spec, settings), folder / "data")

    def session(name, text=None):
        text = EXAMPLES.read_text() if text is None else text
        code = FunctionCode("models.py", name, text)
        return TrainingSession(
            WorkerSetup(folder / "data", code=code, function_kind=FunctionKind.HYPERMODEL)
        )

    return SimpleNamespace(session=session, folder=folder)


class Loop:
    """Answers a session as a loop does, with random values. `prunes`: at the first report."""

    def __init__(self, seed=0, prunes=False, refuses=()):
        self._draw, self._prunes, self._refuses = random.Random(seed), prunes, refuses
        self.asked, self.events, self.values = {}, [], {}

    def tell(self, event):
        self.events.append(event)
        if not isinstance(event, Suggest):
            return Reply(stop=isinstance(event, Ended) or (self._prunes and bool(self.reports)))
        if event.name in self._refuses:
            return Reply(problem="CategoricalDistribution does not support dynamic value space.")
        from tuner.training.hypermodel_check import random_value

        self.asked[event.name] = event.distribution
        self.values[event.name] = random_value(event.distribution, self._draw)
        return Reply(value=self.values[event.name])

    @property
    def reports(self):
        return [event for event in self.events if isinstance(event, Report)]


def request(metric="val_accuracy", direction="maximize", epochs=2, **params):
    params = {"epochs": epochs, "patience": 9, "batch_size": 16, "class_weight": "none"} | params
    return TrialRequest("models.py:it", params, 1, Goal(metric, direction))


def asked_of_keras_tuner(name, rows, folder):
    """What the example asks for in a search of KerasTuner: (class, conditions, values) by name."""
    import keras_tuner

    sys.modules.pop("keras_tuner_examples", None)
    examples = __import__("keras_tuner_examples")
    made = getattr(examples, name)
    metric, direction = NAMES[name]
    search = keras_tuner.RandomSearch(
        made() if isinstance(made, type) else made,
        objective=keras_tuner.Objective(metric, direction),
        max_trials=1,
        directory=folder,
        project_name=name,
    )
    if name in SEARCHED:  # the others have asked for all when they were built
        x, y = rows
        search.search(x[:32], y[:32], validation_data=(x[32:], y[32:]), verbose=0)
    return sorted(map(of_keras_tuner, search.oracle.get_space().space))


def of_keras_tuner(hp):
    config = hp.get_config()
    conditions = [(each.name, list(each.values)) for each in hp.conditions]
    if config.get("step") is None and "sampling" in config:
        values = [config["min_value"], config["max_value"], config["sampling"]]
    else:
        values = list(hp.values)
    return hp.name, type(hp).__name__, conditions, values


def of_tuner(asked):
    distribution = asked.distribution
    if distribution.choices:
        values = list(distribution.choices)
    elif distribution.step is None and (distribution.kind == "float" or distribution.log):
        values = [distribution.low, distribution.high, "log" if distribution.log else "linear"]
    else:
        step = distribution.step or 1
        count = round((distribution.high - distribution.low) / step) + 1
        values = [distribution.low + step * index for index in range(count)]
    conditions = [(each.name, list(each.values)) for each in asked.conditions]
    return asked.name, asked.kind, conditions, values


@pytest.mark.parametrize("name", NAMES)
def test_an_unchanged_example_asks_for_the_same_and_trains(name, lab, rows):
    from tuner.training.hypermodel_check import random_value
    from tuner.training.hyperparameters import HyperParameters

    print(f"{EXAMPLES.name} sha256 {hashlib.sha256(EXAMPLES.read_bytes()).hexdigest()}")
    metric, direction = NAMES[name]
    session, loop, spaces = lab.session(name), Loop(), {}
    session.run(request(metric, "maximize" if direction == "max" else "minimize"), loop.tell)
    draw = random.Random(0)
    for _ in range(8):  # models alone, until each branch was taken
        hp = HyperParameters(lambda asked: random_value(asked.distribution, draw))
        model = session._hypermodel.make_model(hp, session.trainer.dataset)
        if session._hypermodel.own_fit is not None and not spaces:
            x, y = rows
            session._hypermodel.own_fit(hp, model, x, y, validation_data=(x, y), callbacks=[])
        spaces |= {(asked.name, asked.conditions): asked for asked in hp.space}
    assert sorted(map(of_tuner, spaces.values())) == asked_of_keras_tuner(name, rows, lab.folder)
    *_, ended = loop.events
    assert (ended.end, ended.engine, ended.epochs) == ("complete", "fit", 2)
    best = (max if direction == "max" else min)(r.metrics[metric] for r in loop.reports)
    assert ended.score == best


@pytest.mark.parametrize("name", ["preprocessing", "OwnLoop"])
def test_a_pruned_trial_ends_at_its_report(lab, name):
    loop = Loop(prunes=True)
    lab.session(name).run(request(NAMES[name][0]), loop.tell)
    assert len(loop.reports) == 1
    assert not isinstance(loop.events[-1], Ended)


def test_the_saved_network_has_the_best_epochs_weights(lab, tmp_path):
    import keras

    session, loop = lab.session("preprocessing"), Loop()
    session.run(request(epochs=3), loop.tell)
    session.save(tmp_path / "best.keras")
    held_out = session.trainer.dataset.validation
    predicted = np.asarray(keras.saving.load_model(tmp_path / "best.keras")(held_out.x))
    accuracy = float(np.mean(predicted.argmax(axis=1) == held_out.y))
    assert accuracy == pytest.approx(loop.events[-1].score, abs=1e-6)


def test_one_name_with_two_ranges_gets_its_conditions_where_optuna_refuses_it(lab):
    loop = Loop(seed=3, refuses=("size",))
    lab.session("Conditional").run(request("val_loss", "minimize", epochs=1), loop.tell)
    assert any(name.startswith("size [kind=") for name in loop.asked), loop.asked
    assert loop.events[-1].end == "complete"


def test_a_name_whose_range_has_changed_is_the_users_error(lab):
    loop = Loop(refuses=("kind",))
    with pytest.raises(NetworkError, match=r"hp.Choice\('kind'\): CategoricalDistribution does"):
        lab.session("Conditional").run(request(), loop.tell)


HEAD = "import keras\n"
DENSE = "keras.Sequential([keras.layers.Flatten(), keras.layers.Dense({}, 'softmax')])"
BROKEN = {
    "not compiled; call model.compile": f"def it(hp):\n  return {DENSE.format(3)}\n",
    "must return a keras.Model, got NoneType": "def it(hp):\n  pass\n",
    "outputs of shape (None, 3), got (None, 4)": (
        f"def it(hp):\n  model = {DENSE.format(4)}\n  model.compile('sgd', 'mse')\n  return model\n"
    ),
    "is made with classes: write an instance": (
        "class it:\n  def __init__(self, classes): pass\n  def build(self, hp): pass\n"
    ),
    "no function or HyperModel 'it'": "that = 1\n",
    "raises (line 3): ValueError: hp.Int('a'): min_value 3 is larger": (
        "def it(hp):\n  hp.Int('a', 3, 1)\n"
    ),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_a_mistake_is_one_line_when_the_study_is_created(problem, lab, tmp_path):
    from tuner.networks.custom import CustomNetwork
    from tuner.training.hypermodel_check import check_hypermodel
    from tuner.training.trial_builds import TrialBuilds

    dataset = lab.session("build_model").trainer.dataset
    builds = TrialBuilds(
        code=(),
        dataset=dataset,
        train_rows=40,
        described="",
        configurations=[request().params],
        more=[],
        varying=[],
        own=[],
        declared=[],
        goal=Goal("val_accuracy", "maximize"),
        until=0.0,
        folder=tmp_path,
    )
    with pytest.raises(NetworkError) as refused:
        check_hypermodel(CustomNetwork("models.py", "it", HEAD + BROKEN[problem]), builds)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)
