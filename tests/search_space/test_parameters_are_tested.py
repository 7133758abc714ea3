"""Each parameter of the catalogue has a test that sees what it does.

A module names the parameters that its tests see at work in a constant: `EXERCISES = {"l1":
"test_penalties_are_those_of_keras"}`. It is read from the text, so that no module is imported.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

from tuner.search_space.parameters import NETWORKS, catalogue

TESTS = Path(__file__).parents[1]
KNOWN = {name for network in NETWORKS for name in catalogue(network)}


@cache
def claims() -> list[tuple[Path, str, str]]:
    """Where, which parameter, and the function that is said to exercise it."""
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXERCISES":
                for parameter, function in ast.literal_eval(node.value).items():
                    found.append((path, parameter, function))
    return found


@pytest.mark.parametrize("parameter", sorted(KNOWN))
def test_a_parameter_is_exercised(parameter: str) -> None:
    assert any(name == parameter for _, name, _ in claims()), f"no EXERCISES names {parameter}"


def test_what_is_claimed_is_there() -> None:
    for path, parameter, function in claims():
        assert parameter in KNOWN, f"{path}: the catalogue has no {parameter}"
        body = ast.parse(path.read_text(encoding="utf-8")).body
        tests = {node.name for node in body if isinstance(node, ast.FunctionDef)}
        assert function in tests, f"{path}: no {function}"
