"""Rare classes and weights on the command line: noted, set, shown, and refused where they cannot
be."""

import json

import pytest

SPACE = """network: mlp
data: {source: "t.csv:fraud", weights: trust}
parameters:
  class_weight: {type: categorical, choices: [none, balanced, {0: 1, 1: 20}]}
"""


@pytest.fixture(autouse=True)
def table(tmp_path):
    """t.csv: 7 of 100 rows are fraud; trust weighs the rows."""
    rows = [f"{i},{i % 7},{0.5 + i % 2},{int(i % 15 == 0)}\n" for i in range(100)]
    (tmp_path / "t.csv").write_text("amount,age,trust,fraud\n" + "".join(rows))
    (tmp_path / "s.yaml").write_text(SPACE)


NOTE = (
    "92.96 % of the training rows are of class '0': accuracy says little; take --metric "
    "val_pr_auc or val_f1"
)


def test_describe_shows_the_weights_and_the_rare_class(tuner):
    done = tuner("data", "describe", "t.csv:fraud", "--weights", "trust")
    assert (done.code, done.err) == (0, "")
    assert f"notes        {NOTE}, and try --set class_weight=balanced\n" in done.out
    facts = json.loads(tuner("data", "describe", "t.csv:fraud", "--weights", "trust", "--json").out)
    assert (facts["weights"]["low"], facts["weights"]["high"]) == (0.5, 1.5)
    assert facts["features"] == ["amount", "age"]
    facts = json.loads(tuner("data", "describe", "t.csv:fraud", "--json").out)
    assert facts["weights"] is None
    assert facts["features"] == ["amount", "age", "trust"]


def test_a_study_says_what_helps_unless_it_does_that_already(tuner):
    plain = tuner("study", "create", "a", "--data", "t.csv:fraud").out
    assert f"note: {NOTE}, and try --set class_weight=balanced\n" in plain
    weighed = tuner(
        "study", "create", "b", "--data", "t.csv:fraud", "--set", "class_weight={1: 9}"
    ).out
    assert f"note: {NOTE}\n" in weighed
    metric = tuner("study", "create", "c", "--data", "t.csv:fraud", "--metric", "val_f1").out
    assert "training rows" not in metric


def test_a_space_file_weighs_rows_and_its_study_is_told_apart(tuner):
    done = tuner("study", "create", "s", "--space", "./s.yaml", "--metric", "val_f1")
    assert done.code == 0, done.err
    assert tuner("study", "create", "s", "--space", "./s.yaml", "--metric", "val_f1").code == 0
    assert json.loads(tuner("study", "show", "s", "--json").out)["weights"] == "trust"
    added = tuner("trial", "add", "class_weight={1: 20, 0: 1.0}", "--study", "s")
    assert added.code == 0, added.err
    (trial,) = json.loads(tuner("trial", "list", "s", "--json").out)
    assert trial["params"]["class_weight"] == "{0: 1, 1: 20}"
    other = tuner(
        "study", "create", "s", "--space", "./s.yaml", "--metric", "val_f1", "--weights", "age"
    )
    assert other.code == 2
    assert "weights was 'trust', is 'age'" in other.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "Trust"], "no such column (did you mean 'trust'?)"),
        (["--weights", "fraud"], "weights 'fraud' is the target; name another column"),
        (["--set", "class_weight={yes: 9}"], "class_weight names 'yes', which is no class"),
        (["--set", "class_weight={1: -9}"], "class_weight must have finite weights >= 0, got -9"),
        (["--set", "class_weight={0: 0, 1: 0}"], "gives every training row the weight 0"),
        (["--set", "class_weight=equal"], "class_weight must be one of"),
    ],
)
def test_weights_that_cannot_be_are_refused(tuner, options, message):
    done = tuner("study", "create", "--data", "t.csv:fraud", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_class_weights_of_a_number_are_refused(tuner):
    done = tuner("study", "create", "--data", "t.csv:amount", "--set", "class_weight=balanced")
    assert done.code == 2
    assert "class_weight cannot apply: the target is a number" in done.err


def test_a_comparison_of_a_study_brings_its_own_weights(tuner):
    done = tuner("compare", "--study", "s", "--weights", "age")
    assert done.code == 2
    assert "leave out --column, --weights, --scaling and --set" in done.err
