"""Mistakes: one line on stderr, exit code 2, nothing half-made."""

import pytest

CREATE = ["study", "create", "--data", "digits"]

MISTAKES = {
    "no study": (["study", "show"], "tuner study create"),
    "no study to optimize": (["optimize", "--trials", "3"], "tuner study create"),
    "no trials": (["optimize", "--trials", "0"], "--trials must be between 1"),
    "trials and more": (["optimize", "--trials", "3", "--more", "2"], "either --trials"),
    "neither": (["optimize"], "either --trials"),
    "no workers": (["optimize", "--trials", "3", "--workers", "0"], "--workers"),
    "no population": (["optimize", "--trials", "3", "--lanes", "0"], "--lanes"),
    "too many": (["optimize", "--trials", "3", "--lanes", "65"], "between 1 and 64"),
    "no time": (["optimize", "--trials", "3", "--timeout", "soon"], "--timeout"),
    "no size": (["optimize", "--trials", "3", "--data-memory", "big"], "--data-memory"),
    "no engine": (["optimize", "--trials", "3", "--engine", "fast"], "--engine"),
    "NaN target": (["optimize", "--trials", "3", "--target", "nan"], "--target"),
    "unknown data": (["study", "create", "--data", "nope"], "digits"),
    "missing csv": (["study", "create", "--data", "nope.csv:y"], "nope.csv"),
    "unknown space": ([*CREATE, "--space", "nope"], "mlp"),
    "missing space": ([*CREATE, "--space", "./nope.yaml"], "nope.yaml"),
    "unknown sampler": ([*CREATE, "--sampler", "tep"], "tpe"),
    "unknown option": ([*CREATE, "--sampler-option", "n=1"], "n_startup_trials"),
    "unknown pruner": ([*CREATE, "--pruner", "hyper"], "hyperband"),
    "grid of floats": ([*CREATE, "--sampler", "grid"], "learning_rate"),
    "unknown metric": ([*CREATE, "--metric", "val_f2"], "val_accuracy"),
    "wrong direction": ([*CREATE, "--direction", "minimize"], "maximize"),
    "bad set": ([*CREATE, "--set", "depth"], "--set"),
    "set out of range": ([*CREATE, "--set", "dropout=1.5"], "dropout"),
    "set unknown": ([*CREATE, "--set", "widht=3"], "width"),
    "epochs 0": ([*CREATE, "--epochs", "0"], "epochs"),
    "bad name": (["study", "create", "../x", "--data", "digits"], "name"),
    "bad seed": ([*CREATE, "--seed", "-1"], "tuner: the seed must be"),
    "bad share": ([*CREATE, "--validation", "1.5"], "validation"),
    "unknown storage": (["--storage", "oracle://x/y", *CREATE], "sqlite or postgresql"),
    "no folder": (["--storage", "sqlite:////no/such/folder/x.db", *CREATE], "/no/such/folder"),
    "no url": (["--storage", "tuner.db", *CREATE], "sqlite:///"),
    "unknown command": (["optimise"], "optimise"),
    "unknown option of a command": (["study", "list", "--all"], "--all"),
    "not a number": (["optimize", "--trials", "many"], "--trials must be a whole number"),
    "no such choice": (["optimize", "--log-models", "some"], "--log-models: 'some' is not one of"),
    "trial is no number": (["trial", "show", "x"], "NUMBER must be a whole number, got 'x'"),
}


@pytest.mark.parametrize(("words", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_makes_nothing(words, said, tuner, tmp_path):
    done = tuner(*words)
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1
    assert said in done.err
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_database_hides_its_password(tuner):
    done = tuner("--storage", "postgresql://me:s3cret@127.0.0.1:1/x", "study", "list")
    assert done.code == 2
    assert "s3cret" not in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_an_unknown_study_lists_those_there_are(tuner):
    tuner(*CREATE)
    for words in (["study", "show"], ["study", "delete"], ["optimize", "--trials", "1"]):
        done = (
            tuner(words[0], *words[1:2], "nope", *words[2:])
            if words[0] == "study"
            else tuner("optimize", "nope", "--trials", "1")
        )
        assert done.code == 2
        assert "mlp-digits" in done.err


def test_unknown_trials_and_values_are_refused(tuner):
    tuner(*CREATE)
    for words in (["trial", "show", "99"], ["trial", "add", "width=1"], ["trial", "add", "x=1"]):
        assert tuner(*words).code == 2


def test_traceback_shows_more(tuner):
    done = tuner("--traceback", "study", "show")
    assert done.code == 2
    assert "Traceback" in done.err


def test_changed_user_code_is_refused(tuner, tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(
        "import numpy as np\n"
        "def load():\n    return np.arange(60.0).reshape(30, 2), np.arange(30) % 3\n"
    )
    assert tuner("study", "create", "own", "--data", "mine.py:load").code == 0
    own.write_text(own.read_text() + "# changed\n")
    done = tuner("optimize", "own", "--trials", "1")
    assert done.code == 2
    assert "mine.py has changed" in done.err
