"""The help of every option is a sentence, and names its default."""

from collections.abc import Iterator

import pytest
import typer.main
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from tuner.algorithms.pruners import PRUNERS
from tuner.algorithms.samplers import SAMPLERS
from tuner.cli.commands import app

# Typer adds these itself.
NOT_OURS = {"--help", "--install-completion", "--show-completion"}
Parameter = TyperArgument | TyperOption


def commands(group: TyperGroup, path: str) -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def parameters() -> dict[str, Parameter]:
    """All options and arguments that the help shows, by command and name."""
    tree = typer.main.get_command(app)
    assert isinstance(tree, TyperGroup)
    return {
        f"{path} {parameter.opts[0]}": parameter
        for path, command in commands(tree, "tuner")
        for parameter in command.params
        if isinstance(parameter, TyperArgument | TyperOption)
        if not parameter.hidden and parameter.opts[0] not in NOT_OURS
    }


PARAMETERS = parameters()


def test_the_whole_tree_is_walked() -> None:
    assert len(PARAMETERS) > 100
    assert "tuner study create --sampler-option" in PARAMETERS


@pytest.mark.parametrize("name", PARAMETERS)
def test_its_help_is_a_sentence(name: str) -> None:
    text = PARAMETERS[name].help or ""
    assert text[:1].isupper() or text.startswith("auto "), text
    assert text.endswith("."), text
    assert "  " not in text


@pytest.mark.parametrize("name", PARAMETERS)
def test_its_default_is_named(name: str) -> None:
    parameter = PARAMETERS[name]
    is_named = isinstance(parameter.show_default, str) or (
        parameter.show_default and parameter.default is not None
    )
    assert parameter.required or is_named


def test_a_kind_of_value_has_one_name() -> None:
    """Numbers are N, and so on. Typer's own words, such as <int>, are never shown."""
    tree = typer.main.get_command(app)
    context = typer.Context(tree)
    options = [each for each in PARAMETERS.values() if isinstance(each, TyperOption)]
    names = {option.display_type_rich(ctx=context) for option in options}
    assert not {"<int>", "<str>", "<float>", "<bool>", "<path>"} & names


def test_help_fits_80_columns(tuner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    lines = tuner("optimize", "--help").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("Together they train exactly" in line for line in lines)  # It flows.
    assert "[default: (no limit)]" in " ".join(" ".join(lines).replace("│", " ").split())


@pytest.mark.parametrize(("option", "names"), [("sampler", SAMPLERS), ("pruner", PRUNERS)])
def test_every_sampler_and_pruner_is_named(option: str, names: dict[str, object]) -> None:
    words = (PARAMETERS[f"tuner study create --{option}"].help or "").replace(",", " ").split()
    assert {*names} <= {word.strip(".:") for word in words}
