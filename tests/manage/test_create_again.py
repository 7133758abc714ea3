"""`tuner study create` under a name that exists: the same study again, or a refusal."""

import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import optuna
import pytest

from tuner.errors import StudyError
from tuner.manage.creation import create_study
from tuner.manage.wanted_study import Wanted, data_spec
from tuner.search_space.parameters import TRAINING
from tuner.settings import load_settings
from tuner.storage import open_store
from tuner.storage.studies import load_study

SPACE = """
network: mlp
parameters:
  learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}
  optimizer: {type: categorical, choices: [adam, sgd]}
baselines:
  - {optimizer: adam}
"""
CODE = """
import numpy as np
def load():
    return np.arange(60.0).reshape(30, 2), np.arange(30) % 3
"""
CREATE = ["study", "create", "x", "--space", "./mine.yaml", "--data", "mine.py:load"]


@pytest.fixture
def again(tuner, tmp_path):
    """again(*words) repeats the command that has made study x, with more words."""
    (tmp_path / "mine.yaml").write_text(SPACE)
    (tmp_path / "mine.py").write_text(CODE)
    assert tuner(*CREATE).code == 0
    return lambda *words: tuner(*CREATE, *words)


def finish(tmp_path):
    """A trial of study x has finished: its code is what that score is of."""
    study = optuna.load_study(study_name="x", storage=f"sqlite:///{tmp_path}/tuner.db")
    study.add_trial(optuna.trial.create_trial(value=0.5))


def edit(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def differences(done):
    """What the one line of a refusal names."""
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    start, end = "tuner: study 'x' exists with another definition: ", "; choose another name"
    assert line.startswith(start)
    assert line.endswith(f"{end}, or delete that study first: tuner study delete x")
    return line.removeprefix(start).rpartition(end)[0].split("; ")


def test_the_same_definition_is_the_same_study(again, tuner):
    done = again("--seed", "0", "--sampler", "curves")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "study x exists already, with this definition: val_accuracy, maximize",
        "next: tuner optimize x --trials 100",
    ]
    assert len(json.loads(tuner("study", "list", "--json").out)) == 1
    assert len(json.loads(tuner("trial", "list", "--json").out)) == 1


def test_methods_that_are_not_asked_for_stay(again, tuner, tmp_path):
    """As of a study from a time with other defaults."""
    create = ["study", "create", "old", *CREATE[3:]]
    methods = ["--sampler", "tpe", "--pruner", "hyperband", "--pruner-option", "reduction_factor=4"]
    assert tuner(*create, *methods).code == 0
    assert "exists already, with this definition" in tuner(*create).out
    spec = load_study(open_store(f"sqlite:///{tmp_path}/tuner.db"), "old").spec
    assert (spec.sampler.name, spec.pruner.name) == ("tpe", "hyperband")
    assert "sampler was tpe, is random" in tuner(*create, "--sampler", "random").err


@pytest.mark.parametrize(
    "source", ["./mine.py:load", "{here}/mine.py:load", "../{name}/mine.py:load", "link.py:load"]
)
def test_another_spelling_of_the_same_data_is_the_same_study(again, tuner, tmp_path, source):
    (tmp_path / "link.py").symlink_to(tmp_path / "mine.py")
    words = ["--data", source.format(here=tmp_path, name=tmp_path.name)]
    assert "exists already, with this definition" in again(*words).out
    # The seed of the split makes another fingerprint of the same data.
    told = differences(again(*words, "--seed", "1"))
    assert told[-1] == "seed was 0, is 1"
    finish(tmp_path)
    edit(tmp_path / "mine.py", "import", "# better\nimport")
    told = differences(again(*words))
    assert told[-1] == "1 trial has finished with the former code"
    assert len(told) == 2


def test_another_folder_and_the_same_data(again, tuner, tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    words = ["--storage", f"sqlite:///{tmp_path}/tuner.db", *CREATE]
    words[words.index("./mine.yaml")] = "../mine.yaml"
    assert "exists already, with this definition" in tuner(*words).out


def test_data_that_have_gone_are_one_line_before_anything_is_done(again, tuner, tmp_path):
    (tmp_path / "mine.py").rename(tmp_path / "moved.py")
    for words in ([], ["--data", "nowhere.py:load"]):
        done = tuner("optimize", "x", "--trials", "3", *words)
        assert (done.code, done.out) == (2, "")
        (line,) = done.err.splitlines()
        assert str(tmp_path) in line
        assert line.endswith("say where the data lie now: --data PATH")
    (tmp_path / "moved.py").write_text(CODE + "# another")
    done = tuner("optimize", "x", "--trials", "3", "--data", "moved.py:load")
    assert "moved.py has changed since the study was created" in done.err


def test_a_comment_in_the_space_file_is_no_difference(again, tmp_path):
    edit(tmp_path / "mine.yaml", "network", "# mine\nnetwork")
    assert again().code == 0


def test_a_changed_range_is_told_in_the_file_s_words(again, tmp_path):
    edit(tmp_path / "mine.yaml", "1e-1", "1")
    assert differences(again()) == ["learning_rate was float 0.0001–0.1 log, is float 0.0001–1 log"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--seed 1", "seed was 0, is 1"),  # the split is another one: that is no news of the data
        ("--epochs 5", "epochs was 27 by default, is 5"),
        ("--set optimizer=sgd", "optimizer was [adam, sgd], is sgd"),
        ("--sampler random", "sampler was curves, is random"),
        ("--pruner-option reduction_factor=4", "promotion, is promotion reduction_factor=4"),
        ("--metric val_loss", "metric was val_accuracy, is val_loss"),
        ("--validation 0.25", "validation share was 0.166667, is 0.25"),
        ("--scaling none", "scaling was auto, is none"),
        ("--data digits", "data was mine.py:load, is digits"),
        ("--experiment team", "MLflow experiment was x, is team"),
    ],
)
def test_a_changed_option_is_told(again, words, told):
    assert told in "; ".join(differences(again(*words.split())))


def test_a_newer_default_is_no_difference_until_it_is_asked_for(again, monkeypatch):
    newer = replace(TRAINING["patience"], default=9)
    monkeypatch.setitem(TRAINING, "patience", newer)
    assert again().code == 0
    assert again("--set", "patience=5").code == 0
    assert differences(again("--set", "patience=9")) == ["patience was 5 by default, is 9"]


def test_a_study_of_an_older_tuner_is_the_same_study(again, tuner, tmp_path, monkeypatch):
    """Its row has no defaults: it goes on with those of its time."""
    with sqlite3.connect(tmp_path / "tuner.db") as database:
        (text,) = database.execute("select spec from tuner_studies").fetchone()
        content = json.loads(text)
        assert content.pop("defaults")
        database.execute("update tuner_studies set version = null, spec = ?", [json.dumps(content)])
    monkeypatch.setitem(TRAINING, "epochs", replace(TRAINING["epochs"], default=3))
    assert again().code == 0
    shown = json.loads(tuner("study", "show", "x", "--json").out)
    assert (shown["epochs"], shown["made_by"]) == (27, None)
    assert differences(again("--epochs", "3")) == ["epochs was 27 by default, is 3"]


def test_a_study_says_which_tuner_made_it(again, tuner):
    shown = json.loads(tuner("study", "show", "x", "--json").out)
    assert shown["made_by"] == tuner("--version").out.strip()


def test_one_option_is_one_difference(again):
    assert differences(again("--seed", "1")) == ["seed was 0, is 1"]
    assert differences(again("--validation", "0.25")) == ["validation share was 0.166667, is 0.25"]


def test_a_file_that_has_changed_is_named(again, tmp_path):
    edit(tmp_path / "mine.py", "import", "# better\nimport")
    finish(tmp_path)
    reason = "1 trial has finished with the former code"
    assert differences(again()) == ["mine.py has changed", reason]
    assert differences(again("--seed", "1"))[-1] == "mine.py has changed"


def test_data_that_have_changed_are_told_by_their_fingerprints(again, tmp_path):
    before = load_study(open_store(f"sqlite:///{tmp_path}/tuner.db")).spec.fingerprint
    edit(tmp_path / "mine.py", "np.arange(60.0)", "np.arange(60.0)[::-1]")
    finish(tmp_path)
    data, code, _ = differences(again())
    assert data.startswith("data have changed (fingerprint ")
    assert data.endswith(f" was {before[:12]}…)")
    assert code == "mine.py has changed"


def test_of_many_differences_four_are_told(again):
    told = differences(again("--seed", "1", "--epochs", "3", "--sampler", "random", *MORE))
    assert len(told) == 5
    assert told[-1] == "and 3 more"


MORE = ["--pruner", "none", "--validation", "0.2", "--test", "0.2", "--scaling", "minmax"]


def test_an_experiment_that_is_shared_belongs_to_the_command(tuner):
    words = ["study", "create", "y", "--data", "digits", "--experiment", "team"]
    assert tuner(*words).code == 0
    assert "exists already" in tuner(*words).out
    assert "MLflow experiment was team, is y" in tuner(*words[:-2]).err


def test_a_name_that_is_not_given_is_always_a_new_one(tuner):
    for name in ("mlp-digits", "mlp-digits-2"):
        assert f"created study {name}:" in tuner("study", "create", "--data", "digits").out


def test_a_name_of_optuna_s_own_is_refused(tuner, tmp_path):
    tuner("study", "create", "--data", "digits")
    optuna.create_study(storage=f"sqlite:///{tmp_path}/tuner.db", study_name="theirs")
    done = tuner("study", "create", "theirs", "--data", "digits")
    assert (done.code, done.out) == (2, "")


def test_of_two_commands_at_once_one_makes_the_study(store, storage_url):
    wanted = Wanted(name="x", data=data_spec(source="digits"))

    def command(_number):
        opened = open_store(storage_url)
        try:
            return create_study(wanted, load_settings(storage_url), lambda: opened).is_new
        except StudyError as error:
            return str(error)
        finally:
            opened.close()

    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(command, range(4)))
    assert ends.count(True) == 1
    # The others found it, or found its name taken by a study that was not whole yet.
    assert all("x" in end for end in ends if isinstance(end, str))
    waiting = store.optuna.get_all_trials(load_study(store, "x").study_id)
    assert len(waiting) == len(load_study(store, "x").spec.first_trials())


def test_commands_at_once_that_give_no_name_make_a_study_each(store, storage_url):
    wanted = Wanted(data=data_spec(source="digits"))
    start = threading.Barrier(4)

    def command(_number):
        opened = open_store(storage_url)
        try:
            start.wait()
            return [
                create_study(wanted, load_settings(storage_url), lambda: opened) for _ in range(2)
            ]
        finally:
            opened.close()

    with ThreadPoolExecutor(4) as pool:
        made = [created for some in pool.map(command, range(4)) for created in some]
    assert all(created.is_new for created in made)
    expected = {"mlp-digits", *(f"mlp-digits-{number}" for number in range(2, 9))}
    assert {created.study.name for created in made} == expected
