"""What a fresh interpreter imports, and the help of every command."""

import subprocess
import sys

import pytest

HEAVY = {"tensorflow", "keras", "mlflow", "optuna", "pandas", "sklearn"}


def imported_by(words: list[str], cwd: str) -> set[str]:
    """Top-level modules that a fresh interpreter has after running a command."""
    code = (
        "import sys\n"
        f"sys.argv = {['tuner', *words]!r}\n"
        "from tuner.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('MODULES', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("MODULES")[2].split())


def test_help_needs_no_database_and_no_study(tmp_path) -> None:
    assert not {"sqlalchemy", "pydantic", "http"} & imported_by(["--help"], str(tmp_path))


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["study", "list"],
        ["study", "show"],
        ["study", "export"],
        ["trial", "list"],
        ["trial", "show", "0"],
        ["optimize", "--help"],
        ["worker", "--help"],
        ["worker", "list"],
        ["compare", "--help"],
    ],
)
def test_light_commands_import_nothing_heavy(words, tmp_path, tuner):
    tuner("study", "create", "--data", "digits")
    assert imported_by(words, str(tmp_path)) & HEAVY == set()


COMMANDS = [
    ["study", "create"],
    ["study", "list"],
    ["study", "show"],
    ["study", "best"],
    ["study", "export"],
    ["study", "code"],
    ["study", "plot"],
    ["study", "repair"],
    ["study", "stop"],
    ["study", "pause"],
    ["study", "resume"],
    ["study", "set"],
    ["worker"],
    ["worker", "list"],
    ["study", "watch"],
    ["study", "delete"],
    ["optimize"],
    ["study", "import"],
    ["compare"],
    ["predict"],
    ["evaluate"],
    ["export"],
    ["promote"],
    ["trial", "list"],
    ["trial", "show"],
    ["trial", "plot"],
    ["trial", "add"],
    ["trial", "retry"],
    ["trial", "stop"],
    ["space", "list"],
    ["space", "show"],
    ["space", "parameters"],
    ["space", "schema"],
    ["activations"],
    ["data", "describe"],
    ["db", "backup"],
    ["db", "copied"],
    ["db", "moved"],
    ["db", "upgrade"],
    ["gc"],
    ["doctor"],
    ["sync"],
    ["metrics"],
    ["ui"],
    ["ui", "adduser"],
    ["ui", "removeuser"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_an_example_of_the_command_itself(words, tuner):
    done = tuner(*words, "--help")
    assert done.code == 0
    assert f"Example: tuner {' '.join(words)}" in " ".join(done.out.split())


def _is_command(group):
    settings = (group.info, group.registered_callback)
    return any(each and each.invoke_without_command is True for each in settings)


def test_every_command_is_listed_above():
    from tuner.cli.commands import app

    groups = {group.name: group.typer_instance for group in app.registered_groups}
    found = [[command.name] for command in app.registered_commands]
    for name, group in groups.items():
        # The name of such a group alone is a command too.
        found += [[name]] if _is_command(group) else []
        found += [[name, command.name] for command in group.registered_commands]
    assert sorted(found) == sorted(COMMANDS)


def test_version(tuner):
    from importlib.metadata import version

    assert tuner("--version").out.strip() == f"tuner {version('tuner')}"
