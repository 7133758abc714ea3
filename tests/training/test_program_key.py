"""Which trials share a program. No TensorFlow: a loop asks without it."""

from dataclasses import replace
from typing import Any

import pytest
from optuna import create_study
from optuna.samplers import RandomSampler

from tuner.search_space import load_space, make_space, shipped_spaces
from tuner.search_space.parameters import TRAINING, defaults
from tuner.study.messages import Goal, TrialRequest
from tuner.training.program_key import (
    ProgramKey,
    program_key,
    program_key_of,
    slower_engine_reason,
    slower_space_reason,
    structure_key,
)

ADAM = {"optimizer": "adam", "learning_rate": 0.01}
MLP_SPACES = [name for name in shipped_spaces() if load_space(name).network == "mlp"]


def make_params(network: str = "mlp", **params: Any) -> dict[str, Any]:
    small = {"depth": 1, "width": 8, "activation": "tanh", "optimizer": "sgd", "learning_rate": 0.1}
    return defaults(network) | small | params


def make_request(network: str = "mlp", **params: Any) -> TrialRequest:
    complete = make_params(network, **params)
    if complete["optimizer"] != "sgd":
        del complete["momentum"], complete["nesterov"]
    return TrialRequest(network, complete, seed=1, goal=Goal("val_loss", "minimize"))


def key_of(request: TrialRequest) -> ProgramKey:
    key = program_key_of(request)
    assert key is not None
    return key


def test_trials_of_a_study_have_one_key_where_inputs_differ() -> None:
    choices = {"activation": ("relu", "tanh"), "dropout": (0.0, 0.5), "optimizer": ("adam", "sgd")}
    base = replace(make_request(activation="relu"), choices=choices)

    def key(**params: Any) -> str:
        return program_key(replace(base, params=base.params | params))

    assert key() == key(width=99, activation="tanh", dropout=0.3, batch_size=64, **ADAM)
    assert key() != key(depth=2)
    assert key() != key(batch_norm=True)  # the study has none
    assert program_key(replace(base, engine="keras")) == ""  # type: ignore[arg-type]
    assert program_key(replace(base, network="cnn")) == ""
    assert program_key(replace(base, network="nets.py:build")) == ""


@pytest.mark.parametrize("name", MLP_SPACES)
def test_a_shipped_space_has_one_program_for_each_depth(name: str) -> None:
    space, study, requests = load_space(name), create_study(sampler=RandomSampler(0)), []
    for _ in range(60):
        params: dict[str, Any] = dict(space.sample(study.ask()))
        requests.append(replace(make_request(), params=params, choices=space.choices()))
    kinds = {(request.params["depth"], request.params["loss"]) for request in requests}
    assert len({program_key(request) for request in requests}) == len(kinds)


def test_momentum_is_in_a_program_if_a_trial_may_have_it() -> None:
    def included(request: TrialRequest) -> frozenset[str]:
        return key_of(request).included

    assert included(make_request()) == frozenset()
    assert included(make_request(momentum=0.5)) == {"momentum"}
    assert included(replace(make_request(), choices={"momentum": (0.0, 0.9)})) == {"momentum"}
    # One momentum for all trials of sgd, which those of adam do not tell.
    both = {"optimizer": ("adam", "sgd")}
    sgd, adam = (replace(make_request(**p), choices=both) for p in ({"momentum": 0.9}, ADAM))
    assert program_key(sgd) == program_key(adam)
    assert included(adam) == {"momentum", "nesterov"}
    assert key_of(adam).optimizers == ("adam", "sgd")
    # The same where momentum is searched, from a number above 0 on.
    searched = both | {"momentum": (0.1, 0.9)}
    sgd, adam = (replace(make_request(**p), choices=searched) for p in ({"momentum": 0.9}, ADAM))
    assert program_key(sgd) == program_key(adam)


def test_always_names_what_no_trial_of_the_study_lacks() -> None:
    request = make_request(batch_norm=True, layer_norm=True, l1=0.1)
    assert {"batch_norm", "layer_norm", "l1"} <= key_of(request).always
    varying = replace(request, choices={"batch_norm": (True, False), "l1": (0.0, 0.1)})
    assert key_of(varying).always == {"layer_norm"}
    assert {"batch_norm", "layer_norm", "l1"} <= key_of(varying).included


def test_trials_that_only_the_keras_engine_trains_are_explained() -> None:
    params = make_params()
    assert slower_engine_reason("mlp", params) is None
    assert slower_engine_reason("cnn", {}) == "network cnn has no shared program"
    assert slower_engine_reason("nets.py:build", {}) == "the network is not one of tuner's own"
    unknown = slower_engine_reason("mlp", params | {"novelty": 1})
    assert unknown == "parameter novelty is in no shared program"


def test_a_space_of_which_no_trial_has_a_shared_program_is_explained() -> None:
    assert slower_space_reason(load_space("mlp")) is None
    assert slower_space_reason(load_space("cnn")) == "network cnn has no shared program"
    own = make_space("nets.py:build", {"units": 4})
    assert slower_space_reason(own) == "the network is not one of tuner's own"


@pytest.fixture
def newer_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an optimizer and a number that only the Keras engine has."""
    optimizer = TRAINING["optimizer"]
    lion = replace(optimizer, choices=(*optimizer.choices, "lion"), keras_only=("lion",))
    monkeypatch.setitem(TRAINING, "optimizer", lion)
    noise = replace(TRAINING["l1"], name="noise", keras_only=True)
    monkeypatch.setitem(TRAINING, "noise", noise)


@pytest.mark.usefixtures("newer_catalogue")
def test_a_value_that_only_the_keras_engine_has_sends_its_trials_there() -> None:
    params = make_params()
    lion, noisy = params | {"optimizer": "lion"}, params | {"noise": 0.1}
    assert slower_engine_reason("mlp", lion) == "optimizer lion has no shared program"
    assert slower_engine_reason("mlp", noisy) == "noise 0.1 has no shared program"
    assert slower_engine_reason("mlp", params | {"noise": 0.0}) is None
    assert program_key(replace(make_request(), params=lion)) == ""


@pytest.mark.usefixtures("newer_catalogue")
def test_programs_of_other_trials_leave_such_values_out() -> None:
    choices = {"optimizer": ("adam", "lion", "sgd"), "noise": (0.0, 0.1)}
    key = key_of(replace(make_request(noise=0.0), choices=choices))
    assert key.optimizers == ("adam", "sgd")
    assert "noise" not in key.included


@pytest.mark.usefixtures("newer_catalogue")
def test_a_space_notes_the_values_that_train_more_slowly() -> None:
    searched = {"type": "categorical", "choices": ["adam", "lion"]}
    space = make_space("mlp", {"optimizer": searched, "noise": 0.1, "l1": 0.1})
    notes = {row.name: row.note for row in space.rows()}
    assert notes["optimizer"] == "slower: only the keras engine trains lion"
    assert notes["noise"] == "slower: only the keras engine trains 0.1"
    assert notes["l1"] == ""
    assert slower_space_reason(space) == "noise 0.1 has no shared program"


BASE = make_params(depth=2, dropout=0.2, momentum=0.5) | {
    "nesterov": False, "loss": "auto", "label_smoothing": 0.1, "weight_decay": 0.1,
    "clip_norm": 1.0, "l1": 0.1, "l2": 0.1, "max_norm": 2.0, "huber_delta": 1.0, "taper": 1.0,
    "schedule": "constant", "warmup_epochs": 0.0, "initializer": "auto", "bias": "all",
    "input_dropout": 0.1, "layer_norm": False, "norm_position": "before",
    "augment_shift": 1, "augment_flip": False, "leaky_slope": 0.2,
}  # fmt: skip
CNN_BASE = make_params("cnn", blocks=1, filters=4, block_dropout=0.3) | BASE


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.5},
        {"momentum": 0.9},
        {"dropout": 0.7},
        {"dropout": [0.1, 0.2]},
        {"input_dropout": 0.5},
        {"epochs": 9, "patience": 2},
        {"schedule": "plateau", "plateau_factor": 0.1, "plateau_patience": 3},
        {"plateau_min_delta": 0.1, "warmup_epochs": 2.0},
        {"schedule": "cosine", "cosine_floor": 0.1},
        {"schedule": "exponential", "decay": 0.5},
        {"schedule": "one_cycle", "cycle_rise": 0.5},
        {"initializer": "normal", "init_sigma": 0.3},
        {"initializer": "orthogonal"},
        {"label_smoothing": 0.2},
        {"huber_delta": 0.3},
        {"weight_decay": 0.2},
        {"clip_norm": 3.0},
        {"l1": 0.2},
        {"l2": 0.02},
        {"max_norm": 9.0},
        {"augment_shift": 3},
        {"leaky_slope": 0.5},
    ],
    ids=str,
)
def test_params_that_share_a_program(change: dict[str, Any]) -> None:
    assert structure_key("mlp", BASE | change) == structure_key("mlp", BASE)
    assert structure_key("cnn", CNN_BASE | change) == structure_key("cnn", CNN_BASE)


OWN_PROGRAM: list[dict[str, Any]] = [
    {"depth": 3},
    {"width": 9},
    {"taper": 0.5},
    {"activation": "relu"},
    {"bias": "none"},
    {"bias": "input"},
    {"batch_norm": True},
    {"layer_norm": True},
    {"norm_position": "after"},
    {"optimizer": "adam"},
    {"nesterov": True},
    {"batch_size": 17},
    {"loss": "mse"},
    {"augment_flip": True},
    *(
        {name: 0.0}
        for name in (
            "momentum", "dropout", "input_dropout", "label_smoothing", "weight_decay", "clip_norm",
            "l1", "l2", "max_norm", "augment_shift",
        )
    ),
    {"dropout": [0.2, 0.0]},
]  # fmt: skip


@pytest.mark.parametrize("change", OWN_PROGRAM, ids=str)
def test_params_that_need_a_program_of_their_own(change: dict[str, Any]) -> None:
    assert structure_key("mlp", BASE | change) != structure_key("mlp", BASE)
    assert structure_key("cnn", CNN_BASE | change) != structure_key("cnn", CNN_BASE)


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": 2},
        {"convolutions": 2},
        {"filters": 5},
        {"filter_growth": 1.0},
        {"kernel": 2},
        {"padding": "valid"},
        {"pool": 1},
        {"block_dropout": 0.0},
    ],
    ids=str,
)
def test_convolutions_that_need_a_program_of_their_own(change: dict[str, Any]) -> None:
    assert structure_key("cnn", CNN_BASE | change) != structure_key("cnn", CNN_BASE)


def test_convolutions_that_share_a_program() -> None:
    assert structure_key("cnn", CNN_BASE | {"block_dropout": 0.7}) == structure_key("cnn", CNN_BASE)
    assert structure_key("cnn", CNN_BASE) != structure_key("mlp", CNN_BASE)


def test_what_a_users_network_may_read_is_part_of_its_structure() -> None:
    own = "build@0123"
    params = {"units": 4, "dropout": 0.1, "learning_rate": 0.1, "optimizer": "adam"}
    assert structure_key(own, params | {"learning_rate": 0.2}) == structure_key(own, params)
    assert structure_key(own, params | {"units": 5}) != structure_key(own, params)
    assert structure_key(own, params | {"dropout": 0.2}) != structure_key(own, params)
    assert structure_key("build@4567", params) != structure_key(own, params)
