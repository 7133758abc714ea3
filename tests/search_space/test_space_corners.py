"""Configurations that show whether a network can be built all over a space."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.search_space import Space, make_space

NAMES = ("p", "q", "r", "s")


def test_the_smallest_and_the_largest_corner_come_first() -> None:
    space = make_space(
        "net.py:build",
        {
            "units": {"type": "int", "low": 8, "high": 17, "step": 4},
            "rate": {"type": "float", "low": 0.1, "high": 0.5},
            "kind": {"type": "categorical", "choices": ["a", "b", "c"]},
            "inner": {"type": "categorical", "choices": ["x", "y"], "when": {"kind": "b"}},
            "deep": {"type": "float", "low": 1, "high": 2, "when": {"inner": "y"}},
            "depth": {"type": "int", "low": 0, "high": 2},
            "act": {"type": "categorical", "choices": ["relu", "tanh", "elu"], "repeat": "depth"},
        },
    )
    first, second, *others = space.corners()
    assert (first["units"], first["rate"], first["kind"], first["act"]) == (8, 0.1, "a", [])
    assert (second["units"], second["rate"], second["kind"]) == (16, 0.5, "c")
    assert "inner" not in first
    assert {params.get("inner") for params in others} >= {"x", "y"}
    assert any("deep" in params for params in others)
    acts = [act for params in (second, *others) for act in params["act"]]  # type: ignore[union-attr]
    assert set(acts) == {"relu", "tanh", "elu"}
    assert len(others) <= 4


def parameters(draw: st.DrawFn) -> dict[str, Any]:
    """Parameters of all kinds, each perhaps only there for some choice of the one before."""
    said: dict[str, Any] = {}
    parent: str | None = None
    for name in NAMES:
        kind = draw(st.sampled_from(["int", "float", "categorical", "constant"]))
        if kind == "constant":
            said[name] = 3
            continue
        if kind == "categorical":
            said[name] = {"type": kind, "choices": list("abc"[: draw(st.integers(1, 3))])}
        else:
            said[name] = {"type": kind, "low": 1, "high": draw(st.integers(1, 4))}
        if parent is not None and draw(st.booleans()):
            said[name]["when"] = {parent: said[parent]["choices"][-1]}
        if kind == "categorical":
            parent = name
    return said


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_choice_comes_and_all_are_trials_of_the_space(data: st.DataObject) -> None:
    said = data.draw(st.composite(parameters)())
    space = make_space("net.py:build", said)
    found = list(space.corners())
    for params in [*found, *space.random(3)]:
        assert is_trial(space, params)
    for name, declared in said.items():
        values = {params[name] for params in found if name in params}
        if not isinstance(declared, dict):
            assert values == {3}
        elif declared["type"] == "categorical":
            assert values == set(declared["choices"])
        else:
            assert values & {declared["low"], declared["high"]}
    assert len(found) == len({repr(params) for params in found})


def is_trial(space: Space, params: Any) -> bool:
    varying = {name: params[name] for name in space.varying() if name in params}
    return space.resolve(space.flatten(varying)) == params
