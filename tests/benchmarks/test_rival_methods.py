"""Other libraries' methods behind the bench's contract, where `make rivals` has installed them:

    export PYTHONPATH=.
    benchmarks/search/rivals/.venv/bin/python -m pytest --noconftest tests/benchmarks/test_rival*

They are skipped in the project's own environment, which lacks the libraries.
"""

import math
from functools import lru_cache
from importlib import import_module

import numpy as np
import pytest

from benchmarks.search.contract import Answer, NewTrial, PausedTrial, Setting
from benchmarks.search.spaces import TableParameter, TableSpace

SPACE = TableSpace(
    (
        TableParameter("rate", "float", 1e-5, 1.0, log=True),
        TableParameter("layers", "int", 1, 4),
        TableParameter("units", "int", 8, 512, log=True),
        TableParameter("optimizer", "categorical", choices=("sgd", "adam", "lion")),
        TableParameter("momentum", "float", 0.0, 0.99, condition=("optimizer", ("sgd",))),
        TableParameter("batch", "int", 32, 32),
    )
)
PRIOR = {"rate": 1e-3, "layers": 2, "units": 64, "optimizer": "adam", "batch": 32}
METHODS = {
    "syne_tune": ("asha", "bohb", "cqr", "asha-cqr"),
    "neps": ("priorband+default",),
    "keras_tuner": ("hyperband",),
}
# Fitting conformal regression anew for each proposal takes half a second.
SLOW = ("cqr", "asha-cqr")
ALL = [(library, form) for library, forms in METHODS.items() for form in forms]


def build(library: str, form: str, seed: int = 0, max_epochs: int = 9):
    pytest.importorskip("syne_tune")  # keras_tuner alone is in the project's environment too
    module = import_module(f"benchmarks.search.rivals.{library}_search")
    return module.build(form, Setting(SPACE, max_epochs, seed, 2, priors={"default": PRIOR}))


class Trainer:
    """One worker: trains what the method asks for. A trial's values fall with its epochs, those of
    sgd from a higher start; a rate above 0.3 begins well and diverges in epoch 2."""

    def __init__(self, method, max_epochs: int = 9) -> None:
        self.method = method
        self.max_epochs = max_epochs
        self.params: dict[int, dict] = {}
        self.epochs: dict[int, int] = {}
        self.paused: set[int] = set()
        self.ended: set[int] = set()
        self.record: list = []

    def work(self) -> None:
        asked = self.method.ask()
        self.record.append(asked)
        if isinstance(asked, NewTrial):
            assert asked.trial not in self.params
            self.params[asked.trial] = asked.params
            self.epochs[asked.trial] = 0
        else:
            assert isinstance(asked, PausedTrial)
            self.paused.remove(asked.trial)
        self._train(asked.trial)

    def _train(self, trial: int) -> None:
        params = self.params[trial]
        while True:
            self.epochs[trial] += 1
            epoch = self.epochs[trial]
            if params["rate"] > 0.3 and epoch == 2:
                self.ended.add(trial)
                return self.method.finished(trial, math.nan)
            start = 2.0 if params["optimizer"] == "sgd" else 1.0
            value = start + (-1.0 if params["rate"] > 0.3 else params["rate"]) - 0.01 * epoch
            answer = self.method.report(trial, epoch, value)
            if epoch == self.max_epochs:
                self.ended.add(trial)
                return self.method.finished(trial, value)
            if answer != Answer.GO_ON:
                (self.paused if answer == Answer.PAUSE else self.ended).add(trial)
                return None


@lru_cache
def trained(library: str, form: str) -> Trainer:
    trainer = Trainer(build(library, form))
    for _ in range(20 if form in SLOW else 80):
        trainer.work()
    return trainer


@pytest.mark.parametrize(("library", "form"), ALL)
def test_a_method_proposes_configurations_of_the_space(library, form):
    trainer = trained(library, form)
    for params in trainer.params.values():
        places = SPACE.places(params)
        assert set(params) == {
            p.name for p, x in zip(SPACE.parameters, places, strict=True) if x == x
        }
        assert SPACE.at(np.nan_to_num(places, nan=0.5)).keys() == params.keys()
        assert params["batch"] == 32
        assert 1 <= params["layers"] <= 4 and isinstance(params["layers"], int)
        assert 1e-5 <= params["rate"] <= 1.0
    if form not in SLOW:
        optimizers = {params["optimizer"] for params in trainer.params.values()}
        assert optimizers == {"sgd", "adam", "lion"}
        assert {1, 2, 3, 4} == {params["layers"] for params in trainer.params.values()}


@pytest.mark.parametrize(("library", "form"), ALL)
def test_whole_trials_are_trained_and_diverged_ones_never_go_on(library, form):
    trainer = trained(library, form)
    whole = [trial for trial, epoch in trainer.epochs.items() if epoch == trainer.max_epochs]
    assert len(whole) >= 2
    if form not in SLOW:
        assert any(trainer.params[trial]["rate"] > 0.3 for trial in trainer.ended)


@pytest.mark.parametrize(("library", "form"), [m for m in ALL if m[1] != "cqr"])
def test_few_trials_get_all_epochs(library, form):
    trainer = trained(library, form)
    epochs = list(trainer.epochs.values())
    whole = sum(epoch == trainer.max_epochs for epoch in epochs)
    assert whole < (0.7 if form in SLOW else 0.5) * len(epochs)


@pytest.mark.parametrize(("library", "form"), ALL)
def test_equal_calls_give_equal_answers(library, form):
    asks = 10 if form in SLOW else 25
    first = Trainer(build(library, form, seed=4))
    for _ in range(asks):
        first.work()
    # Others draw from the global generators in between.
    second, other = Trainer(build(library, form, seed=4)), Trainer(build(library, form, seed=5))
    for _ in range(asks):
        second.work()
        other.work()
        np.random.random()
    assert second.record == first.record
    assert other.record != first.record


def test_truncated_normals_are_those_of_scipy():
    pytest.importorskip("syne_tune")
    from scipy.stats import truncnorm

    from benchmarks.search.rivals.syne_tune_search import draw_truncated_normal

    ours, scipys = np.random.RandomState(3), np.random.RandomState(3)
    for place, width in [(0.0, 0.01), (0.3, 0.003), (0.7, 0.5), (1.0, 0.1)]:
        low, high = -place / width, (1 - place) / width
        number = draw_truncated_normal(low, high, loc=place, scale=width, random_state=ours)
        expected = truncnorm.rvs(low, high, loc=place, scale=width, random_state=scipys)
        assert number == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_strong_prior_draws_proposals_to_itself():
    trainer = trained("neps", "priorband+default")
    places = [SPACE.places(params)[0] for params in trainer.params.values()]
    prior = SPACE.places(PRIOR)[0]
    # Uniform proposals are 0.26 away in the mean.
    assert np.mean(np.abs(np.array(places) - prior)) < 0.23


@pytest.mark.parametrize(
    ("library", "form", "said"),
    [
        ("syne_tune", "dehb", "asha, bohb"),
        ("neps", "hyperband", "priorband"),
        ("neps", "priorband+good", "default"),
        ("keras_tuner", "random", "hyperband"),
    ],
)
def test_an_unknown_form_is_refused(library, form, said):
    with pytest.raises(ValueError, match=said):
        build(library, form)
