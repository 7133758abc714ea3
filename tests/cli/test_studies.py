"""Studies and trials from the command line, without training anything."""

import csv
import io
import json

import pytest


@pytest.fixture
def study(tuner):
    assert tuner("study", "create", "--data", "digits").code == 0
    return "mlp-digits"


def test_create_prints_its_name_and_the_next_command(tuner):
    done = tuner("study", "create", "--data", "digits")
    assert done.code == 0
    assert "mlp-digits" in done.out
    assert "next: tuner optimize mlp-digits --trials 100" in done.out


def test_create_says_what_it_leaves_out(tuner):
    assert "left out" not in tuner("study", "create", "--data", "digits").out
    told = "left out, because it does not apply to these data: augment_flip"
    assert told in tuner("study", "create", "--data", "iris").out


def test_a_taken_default_name_is_numbered(tuner, study):
    assert "mlp-digits-2" in tuner("study", "create", "--data", "digits").out


def test_list_in_an_empty_folder_makes_no_file(tuner, tmp_path):
    done = tuner("study", "list")
    assert done.code == 0
    assert "tuner study create" in done.out
    assert list(tmp_path.iterdir()) == []


def test_list_as_json(tuner, study):
    rows = json.loads(tuner("study", "list", "--json").out)
    assert [(row["study"], row["data"], row["finished"]) for row in rows] == [(study, "digits", 0)]


def test_a_study_keeps_its_own_copy_of_the_space(tuner, tmp_path):
    space = tmp_path / "mine.yaml"
    space.write_text("network: mlp\nparameters:\n  width: {type: int, low: 8, high: 16}\n")
    tuner("study", "create", "mine", "--space", "./mine.yaml", "--data", "digits")
    space.write_text("network: mlp\nparameters:\n  depth: {type: int, low: 1, high: 2}\n")
    assert json.loads(tuner("study", "show", "mine", "--json").out)["varies"] == ["width"]


def test_set_and_epochs_fix_parameters(tuner):
    words = ["--data", "digits", "--set", "batch_size=16", "--set", "depth=1", "--epochs", "4"]
    tuner("study", "create", *words)
    facts = json.loads(tuner("study", "show", "--json").out)
    assert facts["epochs"] == 4
    assert not {"batch_size", "depth"} & set(facts["varies"])


def test_trials_of_a_new_study_are_its_baselines(tuner, study):
    rows = json.loads(tuner("trial", "list", "--json").out)
    assert [row["state"] for row in rows] == ["waiting", "waiting"]
    assert rows[0]["params"]["width"] == 400


def test_an_added_trial_is_queued_after_the_baselines(tuner, study):
    done = tuner("trial", "add", "width=64", "depth=2")
    assert "trial 2 is queued (3 waiting)" in done.out
    assert json.loads(tuner("trial", "show", "2", "--json").out)["params"] == {
        "width": 64,
        "depth": 2,
    }


def test_export_is_csv_with_a_column_a_parameter(tuner, study):
    rows = list(csv.DictReader(io.StringIO(tuner("study", "export").out)))
    assert len(rows) == 2
    assert rows[0]["width"] == "400"
    assert json.loads(tuner("study", "export", "--format", "json").out)[0]["trial"] == 0


def test_commands_without_a_name_take_the_newest_study(tuner, study):
    tuner("study", "create", "later", "--data", "digits")
    assert json.loads(tuner("study", "show", "--json").out)["study"] == "later"


def test_a_grid_study_queues_every_point(tuner, tmp_path):
    (tmp_path / "grid.yaml").write_text(
        "network: mlp\nparameters:\n"
        "  optimizer: {type: categorical, choices: [adam, sgd]}\n"
        "  momentum: {type: float, low: 0.0, high: 0.9, step: 0.9, when: {optimizer: sgd}}\n"
    )
    done = tuner(
        "study", "create", "--space", "./grid.yaml", "--data", "digits", "--sampler", "grid"
    )
    assert done.code == 0, done.err
    assert len(json.loads(tuner("trial", "list", "--json").out)) == 3


def test_space_commands(tuner):
    assert "mlp" in [row["name"] for row in json.loads(tuner("space", "list", "--json").out)]
    assert "learning_rate" in tuner("space", "show", "mlp").out
    assert "not finite" in tuner("space", "show", "mlp").out
    assert json.loads(tuner("space", "schema").out)["type"] == "object"


def test_data_describe(tuner):
    facts = json.loads(tuner("data", "describe", "digits", "--json").out)
    assert facts["task"] == "classes"


def test_deleting_asks_and_removes(tuner, study, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert tuner("study", "delete", study, "--keep-runs").code == 130
    assert tuner("study", "delete", study, "--keep-runs", "--yes").code == 0
    assert json.loads(tuner("study", "list", "--json").out) == []
