"""Random search spaces, and random text and values in their place."""

import math
from itertools import pairwise
from typing import Any

import optuna
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tuner.errors import SpaceError
from tuner.search_space import Space, make_space, parse_space
from tuner.search_space.configurations import space_differences
from tuner.search_space.parameter_types import equal_values

optuna.logging.set_verbosity(optuna.logging.ERROR)
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

NAMES = "abcdef"
BOTH = st.sampled_from([True, False])
WORDS = st.sampled_from(["x", "y", "z", 1, 2.5, False, "no", "1e-4"])


@st.composite
def ranges(draw: st.DrawFn, finite: bool) -> Any:
    kind = draw(st.sampled_from(["int", "float", "categorical", "constant"]))
    if kind == "constant":
        return draw(WORDS)
    if kind == "categorical":
        choices = draw(st.lists(WORDS, min_size=1, max_size=3, unique=True))
        return {"type": kind, "choices": choices}
    if kind == "int":
        low = draw(st.integers(0, 2))
        said = {"type": kind, "low": low, "high": low + draw(st.integers(0, 2))}
        return said | draw(st.sampled_from([{}, {"step": 2}, {"log": True} if low else {}]))
    said = {"type": kind, "low": draw(st.floats(0.5, 1).map(lambda x: round(x, 3))), "high": 1.5}
    if finite:
        return said | {"step": draw(st.sampled_from([0.25, 0.3, 0.7]))}
    return said | draw(st.sampled_from([{}, {"log": True}, {"step": 0.1}]))


MLP: dict[str, list[Any]] = {
    "depth": [2, 3, {"type": "int", "low": 0, "high": 3}],
    "width": [64, {"type": "int", "low": 64, "high": 192, "step": 64}],
    "activation": ["relu", {"type": "categorical", "choices": ["relu", "tanh"]}],
    "dropout": [0.5, {"type": "float", "low": 0, "high": 0.75, "step": 0.25}],
    "batch_norm": [True, {"type": "categorical", "choices": [True, False]}],
    "optimizer": ["sgd", {"type": "categorical", "choices": ["adam", "sgd"]}],
    "momentum": [0.9, {"type": "categorical", "choices": [0.0, 0.5]}],
}


@st.composite
def mlp_spaces(draw: st.DrawFn) -> Space | None:
    """Spaces of the shipped network, where the catalogue's defaults and conditions come in; None
    for one that is refused (momentum without sgd, a circle)."""
    parameters: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(sorted(MLP)), unique=True)):
        said = draw(st.sampled_from(MLP[name]))
        if isinstance(said, dict) and draw(BOTH):
            parent = draw(st.sampled_from(["depth", "activation", "batch_norm", "optimizer"]))
            wanted = {"depth": 2, "activation": "relu", "batch_norm": False, "optimizer": "sgd"}
            said = said | {"when": {parent: wanted[parent]}}
        if isinstance(said, dict) and name in ("width", "dropout") and draw(BOTH):
            said = said | {"repeat": "depth"}
        parameters[name] = said
    try:
        return make_space("mlp", parameters)
    except SpaceError:
        return None


def values(said: Any) -> list[Any]:
    if not isinstance(said, dict):
        return [said]
    if said["type"] == "categorical":
        return list(said["choices"])
    return list(range(said["low"], said["high"] + 1, said.get("step", 1)))


@st.composite
def spaces(draw: st.DrawFn, finite: bool = False) -> Space:
    """A network of one's own with up to six parameters, each perhaps depending on earlier ones."""
    parameters: dict[str, Any] = {}
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        said = draw(ranges(finite))
        if isinstance(said, dict):
            _depend(draw, said, parameters)
        parameters[name] = said
    names = draw(st.permutations(list(parameters)))  # a file may name a child before its parent
    return make_space("net.py:build", {name: parameters[name] for name in names})


def _some(items: list[Any], least: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(items), min_size=least, max_size=2, unique=True)


def _depend(draw: st.DrawFn, said: dict[str, Any], earlier: dict[str, Any]) -> None:
    single = {n: s for n, s in earlier.items() if not (isinstance(s, dict) and "repeat" in s)}
    parents = [n for n, s in single.items() if not (isinstance(s, dict) and s["type"] == "float")]
    counts = [n for n in parents if isinstance(single[n], dict) and single[n]["type"] == "int"]
    if draw(BOTH) and parents:
        chosen = draw(_some(parents, 0))
        said["when"] = {n: draw(_some(values(single[n]), 1)) for n in chosen}
    if draw(BOTH) and counts:
        said["repeat"] = draw(st.sampled_from(counts))


@quick
@given(spaces() | mlp_spaces(), st.integers(0, 2**32 - 1))
def test_a_trials_stored_parameters_resolve_to_what_was_sampled(
    space: Space | None, seed: int
) -> None:
    assume(space)
    assert space
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    params = space.sample(trial)
    assert space.resolve(trial.params) == params
    assert trial.distributions.items() <= space.distributions().items()
    flat = space.flatten(params)  # a trial's parameters can be queued again as they are
    assert flat.keys() == trial.params.keys()
    assert space.resolve(flat) == params


@quick
@given(spaces(finite=True) | mlp_spaces())
def test_grid_points_are_distinct_and_as_many_as_counted(space: Space | None) -> None:
    assume(space)
    assert space
    size = space.grid_size()
    assert size is not None
    if size > 500:
        return
    points = list(space.grid())
    assert len(points) == size
    assert len({repr(sorted(point.items())) for point in points}) == size
    for point in points[:20]:
        assert space.flatten(point) == point
        study = optuna.create_study()
        study.enqueue_trial(point)
        trial = study.ask()
        assert space.sample(trial) == space.resolve(point)
        assert trial.params == point


@quick
@given(spaces())
def test_json_keeps_a_space(space: Space) -> None:
    again = Space.model_validate_json(space.model_dump_json())
    assert again == space
    assert space_differences(again, space) == []


@quick
@given(spaces(), st.data())
def test_fixing_a_parameter_leaves_a_valid_space(space: Space, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(space.parameters)))
    point = space.sample(optuna.create_study().ask())
    value = point.get(name)
    if value is None or isinstance(value, list):
        return
    fixed = space.override({name: value})
    assert name not in fixed.varying()
    assert fixed.sample(optuna.create_study().ask())[name] == value


def refused_or_read(text: str) -> None:
    """Nothing but a space or a SpaceError of one line."""
    try:
        space = parse_space(text, "random.yaml")
    except SpaceError as error:
        assert "\n" not in str(error)
        assert str(error).startswith("random.yaml")
    else:
        space.sample(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask())
        space.grid_size()
        space.rows()


FRAGMENTS = st.sampled_from(
    [
        "network: mlp\n", "parameters:\n", "  depth: ", "  width: ", "  momentum: ", "x: ", "- ",
        "{type: int, low: 1, high: 4}", "{type: float, low: 1e-4, high: .inf}", "type: ", "low: ",
        "when: {optimizer: sgd}", "repeat: depth", "baselines:\n", "&a ", "*a", "!!int ", "? ",
        "{", "}", "[", "]", ",", "'", '"', "\\", "|", ">", "\n", "  ", "\t", "#", "---", "...", "%",
        "0x", "1e400", "-", "~", "\x00", "\ud800", "é", "\u2028", "<<: ",
    ]
)  # fmt: skip


@settings(quick, max_examples=200)
@given(st.one_of(st.text(max_size=60), st.lists(FRAGMENTS, max_size=20).map("".join)))
def test_random_text_is_refused_in_one_line(text: str) -> None:
    refused_or_read(text)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70),
    st.integers(),
    st.floats(),
    st.sampled_from(["mlp", "net.py:build", "int", "float", "categorical", "sgd", "depth", "relu"]),
    st.text(max_size=5),
)
KEYS = st.sampled_from(
    ["network", "parameters", "baselines", "type", "low", "high", "log", "step", "choices", "when",
     "repeat", "depth", "width", "optimizer", "momentum", "epochs", "dropout", "own", "\n"]
)  # fmt: skip
OBJECTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=30,
)


@settings(quick, max_examples=120)
@given(OBJECTS, st.dictionaries(KEYS, OBJECTS, max_size=6), st.sampled_from(["mlp", "n.py:f"]))
def test_random_values_are_refused_in_one_line(
    content: Any, parameters: dict[str, Any], network: str
) -> None:
    refused_or_read(yaml.safe_dump(content, allow_unicode=True))
    refused_or_read(yaml.safe_dump({"network": network, "parameters": parameters}))


@settings(quick, max_examples=80)
@given(st.dictionaries(KEYS, OBJECTS, max_size=6))
def test_random_configurations_are_refused_in_one_line(configuration: dict[str, Any]) -> None:
    space = parse_space(
        "network: mlp\nparameters:\n  depth: {type: int, low: 1, high: 2}\n"
        "  width: {type: int, low: 1, high: 8, repeat: depth}\n"
        "  optimizer: {type: categorical, choices: [adam, sgd]}\n"
        "  momentum: {type: float, low: 0, high: 0.9}\n",
        "test.yaml",
    )
    for attempt in (space.flatten, space.override):
        try:
            attempt(configuration)
        except SpaceError as error:
            assert "\n" not in str(error)


NUMBERS = st.one_of(st.integers(-(2**54), 2**54), st.floats(allow_nan=True))


@settings(quick, max_examples=200)
@given(st.sampled_from(["int", "float"]), NUMBERS, NUMBERS, st.none() | NUMBERS, st.booleans())
def test_every_accepted_range_can_be_sampled(
    kind: str, low: float, high: float, step: float | None, log: bool
) -> None:
    said = {"type": kind, "low": low, "high": high, "log": log}
    try:
        space = make_space("n.py:f", {"p": said | ({} if step is None else {"step": step})})
    except SpaceError:
        return
    sampled = [
        space.sample(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask())
        for seed in range(3)
    ]
    for params in sampled:
        value = params["p"]
        assert isinstance(value, int | float)
        assert math.isfinite(value)
        assert low <= value <= high
        assert space.flatten({"p": value}) == {"p": value}


def test_endless_counts_are_not_tried() -> None:
    with pytest.raises(SpaceError, match="1000 parameters"):
        make_space("n.py:f", {f"p{n}": n for n in range(1001)})


def elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@quick
@given(spaces() | mlp_spaces(), st.integers(0, 2**32 - 2))
def test_choices_hold_whatever_is_sampled_and_no_constant(space: Space | None, seed: int) -> None:
    assume(space)
    assert space
    choices = space.choices()
    assert set(choices) <= set(space.varying())
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    params = space.sample(trial)
    for name in choices.keys() & params.keys():
        ordered = space.parameters[name].type in ("int", "float")  # type: ignore[union-attr]
        for value in elements(params[name]):
            if ordered:
                assert min(choices[name]) <= value <= max(choices[name])
            else:
                assert any(equal_values(value, choice) for choice in choices[name])
    # What is in no choices is the same in all trials that have it.
    fixed = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed + 1)).ask()
    for name, value in space.sample(fixed).items():
        if name in params and name not in choices:
            values = [*elements(value), *elements(params[name])]
            assert all(equal_values(value, other) for value, other in pairwise(values))
