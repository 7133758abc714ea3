"""Commands that messages suggest are complete: they can be pasted as they stand."""

import ast
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import create_trial
from toy_study import ANY_X, Bench, toy_spec

import tuner as package
from tuner.cli.commands import app
from tuner.cli.result_output import print_outcome, print_queued
from tuner.runner import Delivered, Outcome, RunStatus
from tuner.storage import open_store
from tuner.storage.studies import create_study
from tuner.study.ends import StopReason
from tuner.system.names import command, remember_options

Command = Callable[..., Any]

# Where a suggestion begins, and where it ends.
SUGGESTED = re.compile(
    r"(?:^|: |→ |\(|, or )\s*(tuner [-a-z].*?)(?=;|, or |   |\)|$)", re.MULTILINE
)
NAMES = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def parse(text: str) -> list[str]:
    """Parses a suggestion as the command line would, without running it; its words. Unknown
    options and missing arguments raise."""
    program, *words = shlex.split(text)
    assert program == "tuner"
    group = typer.main.get_command(app)
    context = group.make_context("tuner", list(words))
    while hasattr(group, "commands"):
        rest = [*context._protected_args, *context.args]
        if not rest and group.invoke_without_command:
            break
        assert rest, f"{text}: no command"
        name, group, rest = group.resolve_command(context, rest)
        assert group is not None, f"{text}: no such command"
        context = group.make_context(name, rest, parent=context)
    return words


def suggestions(text: str) -> list[str]:
    return [each.strip() for each in SUGGESTED.findall(text)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that is not the default one, with a study of more than a page; its URL."""
    url = f"sqlite:///{tmp_path_factory.mktemp('studies')}/my studies.db"
    store = open_store(url)
    create_study(store, "toy", toy_spec({"x": ANY_X}))
    found = optuna.load_study(study_name="toy", storage=store.optuna)
    x = optuna.distributions.FloatDistribution(0, 1)
    found.add_trials(
        create_trial(params={"x": n / 101}, distributions={"x": x}, value=n) for n in range(101)
    )
    create_study(store, "empty", toy_spec({"x": ANY_X}))
    create_study(store, "damaged", toy_spec({"x": ANY_X}))
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE tuner_studies SET spec = '{' WHERE name = 'damaged'")
    store.close()
    return url


@pytest.mark.parametrize(
    "words",
    [
        ["study", "create", "iris", "--data", "iris"],
        ["study", "create", "toy", "--data", "iris"],
        ["trial", "list", "toy"],
        ["trial", "list", "toy", "--best-first", "--limit", "3"],
        ["trial", "add", "x=0.5", "--study", "toy"],
        ["study", "best", "empty"],
        ["study", "show", "damaged"],
    ],
)
def test_what_commands_suggest_parses_and_names_the_database(
    tuner: Command, study: str, words: list[str]
) -> None:
    done = tuner("--storage", study, "--tracking-uri", "sqlite:///other.db", *words)
    found = suggestions(done.out + done.err)
    assert found, done.out + done.err
    for suggestion in found:
        given_options = ["--storage", study, "--tracking-uri", "sqlite:///other.db"]
        assert parse(suggestion)[:4] == given_options


@pytest.mark.parametrize(
    "words", [["study", "list"], ["study", "show"], ["optimize", "--more", "1"]]
)
def test_without_a_study(tuner: Command, words: list[str]) -> None:
    done = tuner(*words)
    assert [parse(each) for each in suggestions(done.out + done.err)] == [
        ["study", "create", "--data", "digits"]
    ]


def test_what_is_suggested_first_works(tuner: Command) -> None:
    (suggestion,) = suggestions(tuner("study", "list").out)
    made = tuner(*shlex.split(suggestion)[1:])
    assert made.code == 0, made.err
    (then,) = suggestions(made.out)
    assert parse(then) == ["optimize", "mlp-digits", "--trials", "100"]


def test_after_a_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(tmp_path, open_store(f"sqlite:///{tmp_path}/tuner.db"))
    study = bench.create()
    remember_options(f"sqlite:///{tmp_path}/tuner.db", None)
    failed = Outcome(StopReason.ERRORS, RunStatus(3, done=3), 0, "trial 7: ValueError: no", 7)
    link = "http://host:5000/#/experiments/1/runs?viewStateShareKey=3fca58ce"
    try:
        print_outcome(bench.store, study, failed, Delivered(1, 2, "no answer"), False)
        print_outcome(
            bench.store,
            study,
            Outcome(None, RunStatus(3, done=1), 0),
            Delivered(1, 0, "x", link),
            False,
        )
        print_queued("toy", 1, 1)
    finally:
        remember_options(None, None)
        bench.store.close()
    printed = "\n".join(capsys.readouterr())
    assert printed.count(f"\n  {link}\n") == 1
    found = suggestions(printed)
    parsed = [" ".join(parse(each)[2:]) for each in found]
    assert set(parsed) == {
        "optimize toy --more 50", "optimize toy --trials 3", "optimize toy --more 1", "ui",
        "sync toy", "trial show 7 --study toy", "optimize toy",
    }  # fmt: skip


def test_the_doctor_s_advice(tuner: Command, study: str) -> None:
    done = tuner("--storage", study, "doctor", "--quick", "--json")
    checks = json.loads(done.out)["checks"]
    for check in checks:
        for suggestion in suggestions(check["advice"] or ""):
            assert parse(suggestion)[:2] == ["--storage", study]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_options_are_quoted(value: str) -> None:
    try:
        remember_options(f"sqlite:///{value}.db", None)
        words = shlex.split(command("sync", "toy"))
    finally:
        remember_options(None, None)
    assert words[:2] == ["tuner", "--storage"]
    assert words[3:] == ["sync", "toy"]


def test_passwords_are_not_suggested() -> None:
    try:
        remember_options("postgresql://me:hidden77@host/db", None)
        assert "hidden77" not in command("ui")
    finally:
        remember_options(None, None)
    assert command("ui") == "tuner ui"


def test_every_message_makes_its_commands_by_the_one_function() -> None:
    """Written out, a command lacks --storage. Docstrings are help, which shows examples."""
    written = re.compile(rf"\btuner ({'|'.join(sorted(NAMES))})\b")
    folder = Path(package.__file__).parent
    found = [
        f"{path.relative_to(folder)}:{line}: {text.strip()[:80]}"
        for path in folder.rglob("*.py")
        for line, text in messages(ast.parse(path.read_text()))
        if written.search(text) and "Example: " not in text
    ]
    found += [
        f"{path.relative_to(folder)}:{node.lineno}: a list of words"
        for path in folder.rglob("*.py")
        if path.name not in ("names.py", "consent.py")  # that repeats what was typed
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.List) and node.elts
        if isinstance(node.elts[0], ast.Constant) and node.elts[0].value == "tuner"
    ]
    assert found == []


def messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The texts of a module but its docstrings and what is given as `help`."""
    left_out = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            left_out.add(id(body[0].value))
        if isinstance(node, ast.keyword) and node.arg == "help":
            left_out |= {id(each) for each in ast.walk(node.value)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in left_out:
            yield node.lineno, node.value


def test_the_examples_of_the_help_parse() -> None:
    folder = Path(package.__file__).parent / "cli"
    texts = [path.read_text() for path in folder.glob("*.py")]
    found = [each for text in texts for each in re.findall(r"    Example: (tuner .*)", text)]
    assert len(found) > 20
    for example in found:
        parse(example.partition(" > ")[0])
