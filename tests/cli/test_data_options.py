"""Each field of DataSpec is an option of the commands that read data, and of the Python API."""

import inspect

import typer.main

import tuner as api
from tuner.cli.commands import app
from tuner.study.data_spec import DataSpec

NOT_CHOSEN = {"skipped", "reading"}
ONLY_IN_CREATE = {"scaling", "validation", "test", "seed"}
ONLY_IN_PYTHON_AND_FILES = {"inputs", "targets"}


def command_parameters(*path):
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    return {parameter.name for parameter in command.params}


def test_each_field_is_an_option_of_each_command_that_reads_new_data():
    fields = set(DataSpec.model_fields) - NOT_CHOSEN - {"source"}
    assert fields <= set(inspect.signature(api.create_study).parameters)
    options = fields - ONLY_IN_PYTHON_AND_FILES
    assert options <= command_parameters("study", "create")
    assert options - ONLY_IN_CREATE <= command_parameters("data", "describe")


def test_a_new_study_names_the_command_that_describes_its_data_in_full(tuner, tmp_path):
    rows = "".join(f"{i % 7},{i % 5},{i % 3}\n" for i in range(60))
    (tmp_path / "t.csv").write_text(f"a,w,y\n{rows}")
    options = "--column a=category --weights w --task regression"
    done = tuner("study", "create", "s", "--data", "t.csv:y", *options.split())
    assert (done.code, done.err) == (0, "")
    assert f"all columns: tuner data describe t.csv:y {options}\n" in done.out
    described = tuner("data", "describe", "t.csv:y", *options.split())
    assert described.code == 0
    assert "regression" in described.out
