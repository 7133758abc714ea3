"""A mistyped command or option: one line that names the nearest ones."""

from typing import Any

import pytest
from typer.testing import CliRunner

from tuner.cli.app import new_typer

URL = "sqlite:///other.db"

COMMANDS = {
    "best": "tuner study best",
    "create --data digits": "tuner study create --data digits",
    "list": "tuner study list, or tuner worker list, or tuner trial list",
    "plot history": "tuner study plot, or tuner trial plot",
    "optimise --trials 3": "tuner optimize --trials 3",
    "study optimize toy": "tuner optimize toy",
    "study bst": "tuner study best",
    "study ad x=1": "tuner trial add x=1",
    "trial best": "tuner study best",
    "trails": "tuner trial",
    "trails list toy": "tuner trial list toy",
    "trails lst --all": "tuner trial list --all",
    f"--storage {URL} best": f"tuner --storage {URL} study best",
    f"--storage {URL} trial shw 3": f"tuner --storage {URL} trial show 3",
}  # fmt: skip

OPTIONS = {
    "optimize --trial 3": "--trial; did you mean --trials? see tuner optimize --help",
    "study list --jsn": "--jsn; did you mean --json? see tuner study list --help",
    "--stroage x study list": "--stroage; did you mean --storage? see tuner --help",
    "study list --storage x": "--storage here; it stands between tuner and study list",
    "optimize --epochs 3": "--epochs; it is an option of: tuner study create",
    "optimize --metric val_f1": "--metric; it is an option of: tuner study create, "
    "or tuner study import",
    "compare --record val_f1": "--record; it is an option of: tuner study create",
    "optimize --populatio 3": "--populatio; see tuner optimize --help",
    "optimize --zzzzz": "--zzzzz; see tuner optimize --help",
}


@pytest.mark.parametrize(("words", "nearest"), COMMANDS.items(), ids=COMMANDS)
def test_a_mistyped_command_names_the_nearest(words: str, nearest: str, tuner: Any) -> None:
    done = tuner(*words.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(f"'; did you mean: {nearest}\n")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(("words", "message"), OPTIONS.items(), ids=OPTIONS)
def test_a_mistyped_option_names_the_nearest(words: str, message: str, tuner: Any) -> None:
    done = tuner(*words.split())
    assert (done.code, done.out, done.err) == (2, "", f"tuner: no such option {message}\n")


def test_what_is_like_no_command_points_to_the_help(tuner: Any) -> None:
    assert tuner("zzz").err == "tuner: no such command 'zzz'; see tuner --help\n"
    assert tuner("study", "zz").err == "tuner: no such command 'study zz'; see tuner study --help\n"
    assert "\x1b" not in tuner("\x1b[31mred").err


def test_the_tree_is_all_it_needs() -> None:
    """A command that is added is found, without another list of commands."""
    app = new_typer("Some commands.")
    inner = new_typer("A group.")

    @inner.command("prepare")
    def prepare() -> None:
        """Prepare."""

    @inner.command("secret", hidden=True)
    def secret() -> None:
        """Not in the help."""

    app.add_typer(inner, name="deep")

    @app.callback()
    def root(storage: str | None = None, tracking_uri: str | None = None) -> None:
        """The root."""

    for word, message in {
        "prepare": "did you mean: tuner deep prepare",
        "perpare": "did you mean: tuner deep prepare",
        "secret": "see tuner --help",
    }.items():
        result = CliRunner().invoke(app, [word])
        assert message in str(result.exception)
