"""What a new study knows beforehand: a portfolio, earlier studies, a prior."""

import json
import sqlite3
from contextlib import closing

import optuna
import pytest

import tuner as tuner_api
from tuner.errors import UsageError
from tuner.storage import open_store
from tuner.storage.studies import load_study

SPACE = """
network: mlp
parameters:
  depth: {type: int, low: 1, high: 2}
  learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}
  optimizer: {type: categorical, choices: [adam, sgd]}
  batch_size: 16
"""
CREATE = ["--space", "./mine.yaml", "--data", "iris"]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A database with study old, which is made once and copied for each test."""
    folder = tmp_path_factory.mktemp("earlier")
    space = SPACE.replace("batch_size: 16", "width: {type: int, low: 8, high: 64}")
    (folder / "old.yaml").write_text(space)
    storage = str(folder / "tuner.db")
    tuner_api.create_study("old", space=str(folder / "old.yaml"), data="wine", storage=storage)
    store = open_store(f"sqlite:///{storage}")
    distributions = load_study(store, "old").spec.space.distributions()
    store.close()
    study = optuna.load_study(study_name="old", storage=f"sqlite:///{storage}")
    for number in range(9):
        rate = 10 ** (-3.9 + number / 10)
        params = {"depth": 2, "learning_rate": rate, "optimizer": "sgd", "width": 8 + number}
        score = 0.5 + number / 100 if number < 8 else 0.1
        study.add_trial(
            optuna.trial.create_trial(value=score, params=params, distributions=distributions)
        )
    return folder / "tuner.db"


@pytest.fixture
def earlier(database, tmp_path):
    """Study old, of two parameters that a new one searches too: the best trial is number 7."""
    (tmp_path / "mine.yaml").write_text(SPACE)
    with (
        closing(sqlite3.connect(database)) as source,
        closing(sqlite3.connect(tmp_path / "tuner.db")) as copied,
    ):
        source.backup(copied)
    return optuna.load_study(study_name="old", storage=f"sqlite:///{tmp_path}/tuner.db")


def spec_of(tmp_path, name):
    store = open_store(f"sqlite:///{tmp_path}/tuner.db")
    spec = load_study(store, name).spec
    store.close()
    return spec


def create(tuner, name, *words):
    return tuner("study", "create", name, *CREATE, *words)


def test_the_best_of_an_earlier_study_is_tried_first_and_is_the_prior(earlier, tuner, tmp_path):
    done = create(tuner, "new", "--learn-from", "old")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1:3] == [
        "learns from study old: the best of its 9 complete trials; without use here: width",
        "tried first, behind the baselines: 4 of earlier studies",
    ]
    prior = spec_of(tmp_path, "new").prior
    assert prior.learned_from == ("old",)
    best = {"depth": 2, "learning_rate": earlier.best_params["learning_rate"], "optimizer": "sgd"}
    assert prior.learned[0] == prior.centres[0] == best
    waiting = json.loads(tuner("trial", "list", "new", "--json").out)
    assert waiting[0]["params"] == best and len(waiting) == 4
    facts = json.loads(tuner("study", "show", "new", "--json").out)
    assert facts["prior"] == "study old"
    assert facts["tried_first"] == "4 of earlier studies"


def test_the_same_command_is_the_same_study_also_once_the_earlier_one_has_gone_on(earlier, tuner):
    assert create(tuner, "new", "--learn-from", "old").code == 0
    known = earlier.trials[0]
    better = optuna.trial.create_trial(
        value=0.99, params={**known.params, "width": 64}, distributions=known.distributions
    )
    earlier.add_trial(better)
    again = create(tuner, "new", "--learn-from", "old")
    assert again.code == 0 and "exists already" in again.out
    other = create(tuner, "new")
    assert other.code == 2 and "prior was study old, is none" in other.err


def test_what_there_is_nothing_to_learn_from(earlier, tuner, tmp_path):
    def refusal(*words):
        done = create(tuner, "new", *words)
        assert (done.code, done.out) == (2, "")
        (line,) = done.err.splitlines()
        return line

    assert "no study named 'nobody'" in refusal("--learn-from", "nobody")
    assert create(tuner, "empty").code == 0
    assert "'empty' has no finished trial yet" in refusal("--learn-from", "empty")
    assert "cannot learn from itself" in refusal("--learn-from", "new")
    for sampler in ("grid", "listed"):
        set_ = ["--set", "learning_rate=0.1", "--sampler", sampler]
        assert f"sampler {sampler} tries a fixed list" in refusal("--learn-from", "old", *set_)
        assert f"sampler {sampler} tries a fixed list" in refusal("--portfolio", *set_)
    (tmp_path / "mine.yaml").write_text(
        "network: mlp\nparameters: {dropout: {type: float, low: 0.0, high: 0.5}}"
    )
    assert "study old searched nothing that mlp searches here" in refusal("--learn-from", "old")
    assert "new" not in tuner("study", "list", "--json").out


def test_no_database_is_made_to_learn_from(tuner, tmp_path):
    (tmp_path / "mine.yaml").write_text(SPACE)
    done = create(tuner, "new", "--learn-from", "old")
    assert (done.code, done.err) == (2, "tuner: unknown study 'old': there is no database yet\n")
    assert not (tmp_path / "tuner.db").exists()


def test_portfolio_and_prior_are_stored(earlier, tuner, tmp_path):
    done = create(tuner, "new", "--portfolio", "--prior")
    assert (done.code, done.err) == (0, "")
    prior = spec_of(tmp_path, "new").prior
    assert prior.portfolio and prior.of_defaults and prior.centres and not prior.learned
    assert len(json.loads(tuner("trial", "list", "new", "--json").out)) == len(prior.portfolio)
    other = create(tuner, "new", "--no-portfolio", "--prior")
    assert "portfolio was yes, is no" in other.err
    recurrent = tuner("study", "create", "r", "--space", "rnn", "--data", "digits", "--portfolio")
    assert "there is no portfolio for rnn; there are: " in recurrent.err


def test_the_api_offers_the_same(earlier, tmp_path):
    storage = str(tmp_path / "tuner.db")
    old = tuner_api.load_study("old", storage=storage)
    options = {"space": str(tmp_path / "mine.yaml"), "data": "iris", "storage": storage}
    tuner_api.create_study("one", learn_from=old, prior=True, **options)
    tuner_api.create_study("two", learn_from=["old"], prior=True, **options)
    assert spec_of(tmp_path, "one").prior == spec_of(tmp_path, "two").prior
    for wrong in ({"learn_from": 3}, {"learn_from": [old, 3]}, {"prior": "yes"}, {"portfolio": 1}):
        with pytest.raises(UsageError):
            tuner_api.create_study("three", **options, **wrong)
