"""Shared programs train the network that a program of its own structure trains."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from optuna import create_study
from optuna.samplers import RandomSampler
from tensorflow_helpers import make_dataset, make_request, outcome, train, weights

import tuner
from tuner.data import Dataset
from tuner.networks import export_network
from tuner.search_space import Space, load_space
from tuner.search_space.parameters import ACTIVATIONS, OPTIMIZERS
from tuner.study.messages import TrialRequest
from tuner.training.engines.lanes import padded_widths
from tuner.training.engines.tiered import TieredProgram
from tuner.training.engines.xla import LaneProgram
from tuner.training.program_key import program_key_of
from tuner.training.trial import Trainer, epoch_order

pytestmark = pytest.mark.tensorflow

FOLDER = Path(tuner.__file__).parent.parent / "search_spaces"
SPACES = [
    "mlp", "binary", "regression", "tabular", "practical", "deep", "grid", "shallow",
    "from_scratch", "mnist",
]  # fmt: skip
TASKS = {"binary": "binary", "regression": "regression"}

# Seeds of configurations of one depth, so that the second finds the first one's program.
DRAWN = {"mlp": (1, 2), "tabular": (1, 3), "regression": (2,)}

# Seeds of those that the padded program trains too.
PADDED = {"mlp": 5}

# Every part that a program can leave to its trials.
OPEN: dict[str, tuple[Any, ...]] = {
    "activation": ACTIVATIONS, "optimizer": OPTIMIZERS, "batch_norm": (True, False),
    "layer_norm": (True, False), "dropout": (0.0, 0.5), "input_dropout": (0.0, 0.5),
    "l1": (0.0, 1.0), "l2": (0.0, 1.0), "max_norm": (0.0, 1.0), "clip_norm": (0.0, 1.0),
    "weight_decay": (0.0, 1.0), "label_smoothing": (0.0, 0.2), "augment_flip": (True, False),
    "augment_shift": (0, 2),
}  # fmt: skip
ADAM = {"optimizer": "adam", "learning_rate": 0.01}
CASES: dict[str, dict[str, Any]] = {
    "all dropouts, batch norm": ADAM | {
        "dropout": [0.4, 0.0], "input_dropout": 0.2, "batch_norm": True, "activation": "sigmoid"},
    "layer norm behind, no bias, penalties": {
        "layer_norm": True, "norm_position": "after", "activation": "leaky_relu", "bias": "none",
        "leaky_slope": 0.3, "l1": 0.001, "l2": 0.02, "optimizer": "nadam", "learning_rate": 0.01},
    "both norms, constant input": ADAM | {"layer_norm": True, "batch_norm": True, "bias": "input",
                                          "depth": 1, "width": 6},
    "rmsprop": {"optimizer": "rmsprop", "learning_rate": 0.01, "depth": 1, "width": 6},
    "bounds, decay, smoothing": {"max_norm": 0.7, "clip_norm": 0.2, "activation": "gelu",
                         "optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.3,
                         "label_smoothing": 0.2, "batch_norm": True, "norm_position": "after",
                         "depth": 1, "width": 6},
    "nesterov": {"momentum": 0.9, "nesterov": True, "learning_rate": 0.02, "depth": 0, "width": 7},
    "images": {"augment_flip": True, "augment_shift": 1, "activation": "arctan",
               "momentum": 0.5},
    "adagrad": {"optimizer": "adagrad", "learning_rate": 0.05, "activation": "selu"},
}  # fmt: skip
CASES_PADDED = (
    "all dropouts, batch norm", "layer norm behind, no bias, penalties", "bounds, decay, smoothing",
)  # fmt: skip


@cache
def data(task: str, images: bool = False) -> Dataset:
    return make_dataset(task, images=images)


@cache
def space(name: str) -> Space:
    return load_space(str(FOLDER / f"{name}.yaml"))


def drawn(name: str, seed: int) -> TrialRequest:
    """A configuration of a shipped space, small enough for a test, for one epoch."""
    sampler = RandomSampler(seed)
    params: dict[str, Any] = dict(space(name).sample(create_study(sampler=sampler).ask()))
    width = params["width"]
    small = [w % 23 + 3 for w in width] if isinstance(width, list) else width % 23 + 3
    shorter = {"width": small, "batch_size": min(params["batch_size"], 32), "epochs": 1}
    choices = space(name).choices() | {"width": (3, 25)}
    choices.pop("augment_flip", None)
    params.pop("augment_flip", None)
    request = make_request(seed=seed, intervals=2)
    return replace(request, params=params | shorter, choices=choices)


def explicit(case: str) -> tuple[Dataset, TrialRequest]:
    request = make_request(
        seed=4, **{"depth": 2, "width": [7, 5], "leaky_slope": 0.2} | CASES[case]
    )
    # What the case has is an input, and one activation and optimizer more than it needs.
    choices = {name: OPEN[name] for name in CASES[case] if name in OPEN}
    choices["activation"] = ("tanh", "elu", request.params["activation"])
    choices["optimizer"] = ("sgd", request.params["optimizer"])
    return data("classes", case == "images"), replace(request, choices=choices)


def by_exact(
    dataset: Dataset, request: TrialRequest
) -> tuple[list[dict[str, float]], list[np.ndarray]]:
    trainer = Trainer(dataset)
    intervals, ended = train(trainer, replace(request, engine="keras"))
    assert ended.engine in ("keras", "keras, xla")
    return [interval.metrics for interval in intervals], weights(trainer)


def agree(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """Equal to 1e-4 of each array's largest value."""
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape
        scale = max(float(np.abs(other).max()), 1e-3)
        np.testing.assert_allclose(mine / scale, other / scale, rtol=0, atol=1e-4)


def compare_graph(
    trainer: Trainer,
    request: TrialRequest,
    metrics: list[dict[str, float]],
    expected: list[np.ndarray],
) -> None:
    intervals, ended = train(trainer, request)
    assert ended.engine == "graph"
    agree(weights(trainer), expected)
    for interval, theirs in zip(intervals, metrics, strict=True):
        assert interval.metrics == pytest.approx(theirs, rel=1e-4, abs=1e-6)


def compare_padded(dataset: Dataset, request: TrialRequest, expected: list[np.ndarray]) -> None:
    found = population(dataset, request)
    agree(found.store.weights(0), expected)
    padding_is_zero(found)


def population(dataset: Dataset, request: TrialRequest) -> LaneProgram:
    """The plan's first epoch in a padded program."""
    design = program_key_of(request)
    assert design is not None
    trainer, params = Trainer(dataset), request.params
    assert trainer._data is not None
    size = int(params["batch_size"])
    found = LaneProgram(design, padded_widths(params), size, dataset, trainer._data)
    found.store.start(0, params, request.seed)
    rows = len(dataset.train.y)
    steps = -(-rows // size)
    rates = np.full(steps, params["learning_rate"], np.float32)
    found.train([epoch_order(request.seed, 1, rows)], [rates], [0], steps)
    return found


@pytest.mark.parametrize("name", SPACES)
def test_what_shipped_spaces_draw(name: str) -> None:
    dataset = data(TASKS.get(name, "classes"))
    trainer = Trainer(dataset)
    for seed in DRAWN.get(name, (0,)):
        compare_graph(trainer, drawn(name, seed), *by_exact(dataset, drawn(name, seed)))
    if name in PADDED:
        request = drawn(name, PADDED[name])
        request = replace(request, params=request.params | {"schedule": "constant"}, choices={})
        compare_padded(dataset, request, by_exact(dataset, request)[1])


@pytest.mark.parametrize("case", CASES)
def test_each_part(case: str) -> None:
    dataset, request = explicit(case)
    metrics, expected = by_exact(dataset, request)
    compare_graph(Trainer(dataset), request, metrics, expected)
    if case in CASES_PADDED:
        compare_padded(dataset, replace(request, choices={}), expected)


def padding_is_zero(found: LaneProgram) -> None:
    """Every weight beyond the trial's own units is exactly zero."""
    store = found.store
    ours = {(n, name): store._own(store.layers, 0, n, name) for n, name in store._places(0)}
    for number, layer in enumerate(store.layers):
        for name, whole in layer.items():
            mine = ours.get((number, name))
            whole = whole[0].copy()
            if mine is not None:
                whole[tuple(slice(size) for size in mine.shape)] = 0.0
                assert not whole.any(), (number, name)


def test_one_tracing_serves_all_trials_of_a_study() -> None:
    trainer, choices = Trainer(data("classes")), OPEN | {"augment_flip": (False,)}
    choices.pop("augment_shift")
    programs = set()
    for number, activation in enumerate(ACTIVATIONS):
        request = make_request(
            seed=number, activation=activation, width=5 + number, batch_size=8 + 5 * number,
            dropout=0.1 * (number % 3), batch_norm=number % 2 == 0, leaky_slope=0.2,
            optimizer=OPTIMIZERS[number % len(OPTIMIZERS)], intervals=1 + number % 2,
        )  # fmt: skip
        train(trainer, replace(request, choices=choices))
        programs.add(trainer.program)
    (program,) = programs
    assert isinstance(program, TieredProgram)
    assert program._graph._loop.experimental_get_tracing_count() == 1
    assert program._graph._score.experimental_get_tracing_count() == 1


def test_a_request_is_repeated_bit_by_bit() -> None:
    dataset, trainer = data("classes"), Trainer(data("classes"))
    request = make_request(epochs=2, intervals=2, dropout=0.3, batch_norm=True, **ADAM)
    first = outcome(trainer, request)
    assert outcome(trainer, replace(request, params=request.params | {"width": 13}))[1] != first[1]
    assert outcome(trainer, request) == first
    assert outcome(Trainer(dataset), request) == first
    assert outcome(trainer, replace(request, seed=9))[0] != first[0]


@pytest.mark.usefixtures("xla")
def test_xla_goes_on_where_the_graph_was() -> None:
    trainer = Trainer(data("classes"))
    request = make_request(epochs=3, width=[9, 6], depth=2, dropout=0.2, **ADAM)
    intervals, ended = train(trainer, request)
    found = weights(trainer)
    metrics, expected = by_exact(data("classes"), request)
    assert ended.engine == "tiered"
    assert ended.parameter_count == 6 * 9 + 9 + 9 * 6 + 6 + 6 * 3 + 3
    agree(found, expected)
    for interval, theirs in zip(intervals, metrics, strict=True):
        assert interval.metrics == pytest.approx(theirs, rel=1e-3, abs=1e-6)
    # Narrower, it finds the same program, with the former trial's weights in it.
    other = replace(request, params=request.params | {"width": [4, 2]})
    agree(_trained(trainer, other), by_exact(data("classes"), other)[1])
    for one, again in zip(_trained(trainer, request), found, strict=True):
        assert one.tobytes() == again.tobytes()


def _trained(trainer: Trainer, request: TrialRequest) -> list[np.ndarray]:
    train(trainer, request)
    return weights(trainer)


def test_what_comes_out_is_a_plain_model_of_the_true_size() -> None:
    dataset = data("classes")
    trainer = Trainer(dataset)
    request = make_request(depth=2, width=[9, 6], dropout=0.2, layer_norm=True, epochs=2, **ADAM)
    intervals, ended = train(trainer, request)
    model = export_network("mlp", request.params, dataset, weights(trainer))
    assert model.count_params() == ended.parameter_count
    rows = model(dataset.validation.x).numpy()[np.arange(33), dataset.validation.y]
    assert ended.best_epoch is not None
    best = intervals[ended.best_epoch - 1].metrics["val_loss"]
    assert -np.log(rows).mean() == pytest.approx(best, rel=1e-5)
