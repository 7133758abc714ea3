"""A study keeps the defaults that it was made with, whatever a later version of tuner says."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tuner.errors import SpecError
from tuner.manage.definition import define_study
from tuner.manage.wanted_study import Wanted
from tuner.search_space import Space, load_space, make_space, shipped_spaces
from tuner.search_space.parameter_types import Parameter, Role, equal_values
from tuner.search_space.parameters import DEFAULTS_BEFORE, NETWORKS, TRAINING, catalogue
from tuner.settings import load_settings
from tuner.study.spec import DataSpec, StudySpec
from tuner.study.study_differences import study_differences
from tuner.tracking.content import study_params
from tuner.values import Scalar

# Of parameters with another default in a newer network, that of the first.
KNOWN = {
    name: known for network in reversed(NETWORKS) for name, known in catalogue(network).items()
}
# A searched parameter has its default while its condition fails, and `depth` counts the layers.
CONDITIONAL = {
    "width": {"type": "int", "low": 4, "high": 8, "repeat": "depth"},
    "batch_norm": {"type": "categorical", "choices": [True, False]},
    "dropout": {"type": "float", "low": 0.1, "high": 0.5, "when": {"batch_norm": False}},
}
OWN = {"rate": {"type": "float", "low": 0.0, "high": 1.0}}
SPACES: dict[str, Space] = {
    **{name: load_space(name) for name in shipped_spaces()},
    "conditional": make_space("mlp", CONDITIONAL),
    "own": make_space("nets.py:build", OWN),
}
# Studies of before defaults were stored have no other shipped networks.
NEWER_NETWORKS = {*NETWORKS} - {"mlp", "cnn"}
STORED = [
    (name, old)
    for name, space in SPACES.items()
    for old in (False, True)
    if not (old and space.network in NEWER_NETWORKS)
]


def spec(space: Space, **changes: Any) -> StudySpec:
    values: dict[str, Any] = {
        "data": DataSpec(source="digits", task="classes"),
        "fingerprint": "0" * 64,
        "train_rows": 50_000,
        "task": "classes",
        "metric": "val_accuracy",
        "direction": "maximize",
    }
    return StudySpec(space=space, **values | changes)


def stored(one: StudySpec, old: bool) -> str:
    """What SQL holds of it; `old`: as it was before defaults were stored."""
    content = json.loads(one.model_dump_json())
    if old:
        del content["defaults"]
    return json.dumps(content)


@contextmanager
def changed(*others: Parameter) -> Iterator[None]:
    """The catalogue of a later version, with these in place of its own, or beside them."""
    patch = pytest.MonkeyPatch()
    for other in others:
        tables = [
            table
            for table in (TRAINING, *(kind.parameters for kind in NETWORKS.values()))
            if other.name in table
        ]
        for table in tables or [TRAINING]:
            patch.setitem(table, other.name, other)
    try:
        yield
    finally:
        patch.undo()


class Draws:
    """A trial of which values are drawn at random, and remembered as Optuna would."""

    def __init__(self, seed: int) -> None:
        self._random, self.flat = random.Random(seed), dict[str, Scalar]()

    def _keep(self, name: str, value: Any) -> Any:
        return self.flat.setdefault(name, value)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        return self._keep(name, self._random.randrange(low, high + 1, step))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return self._keep(name, self._random.choice([low, high]))

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self._keep(name, self._random.choice(list(choices)))


def seen(one: StudySpec, flats: list[dict[str, Scalar]]) -> dict[str, Any]:
    """All that a search, a listing or MLflow is told of a study and its trials."""
    space = one.space
    return {
        "params": [space.resolve(flat) for flat in flats],
        "drawn": [space.sample(Draws(seed)) for seed in range(5)],
        "steps": (one.epochs, one.first_epoch_reports, one.max_step),
        "choices": one.choices(),
        "rows": space.rows(),
        "largest": [space.largest(name) for name in ("epochs", "patience", "batch_size")],
        "conditional": space.is_conditional(),
        "grid": space.grid_size(),
        "first": one.first_trials(),
        "fixed": space.override({"epochs": 3}).resolve(flats[0]),
        "winner": space.only(space.resolve(flats[0])).resolve(flats[0]),
        "json": space.model_dump_json(),
    }


@st.composite
def other_defaults(draw: st.DrawFn) -> list[Parameter]:
    """Parameters with another default than today."""
    names = draw(st.lists(st.sampled_from(sorted(KNOWN)), min_size=1, max_size=6, unique=True))
    return [replace(KNOWN[name], default=draw(_values(KNOWN[name]))) for name in names]


def _values(known: Parameter) -> st.SearchStrategy[Scalar]:
    if known.choices:
        values: st.SearchStrategy[Scalar] = st.sampled_from(known.choices)
    elif known.kind == "int":
        values = st.integers(int(known.low or 0), int(min(known.high or 64, 64)))
    else:
        values = st.floats(0.001, 0.9)
    return values.filter(lambda value: not equal_values(value, known.default))


@pytest.mark.parametrize(("name", "old"), STORED)
@settings(max_examples=25, deadline=None)
@given(others=other_defaults())
def test_a_changed_default_changes_no_study(name: str, old: bool, others: list[Parameter]) -> None:
    one = spec(SPACES[name])
    text, trials = stored(one, old), [Draws(seed) for seed in range(5)]
    for trial in trials:
        one.space.sample(trial)
    flats = [trial.flat for trial in trials]
    before = seen(one, flats)
    with changed(*others):
        later = StudySpec.from_json(text)
        assert seen(later, flats) == before
        assert seen(StudySpec.from_json(later.model_dump_json()), flats) == before
        # A definition made now of the same words is no other study, where it is legal at all.
        with suppress(ValidationError):
            now = spec(Space.model_validate_json(one.space.model_dump_json()))
            assert study_differences(later, now) == []


def another_value(known: Parameter) -> Scalar:
    candidates = known.choices or (3, 4) if known.kind != "float" else (0.25, 0.75)
    return next(value for value in candidates if not equal_values(value, known.default))


@pytest.mark.parametrize("parameter", sorted(KNOWN))
def test_every_default_is_the_study_s_own(parameter: str) -> None:
    network = next(network for network in NETWORKS if parameter in catalogue(network))
    known = KNOWN[parameter]
    other = another_value(known)
    free = replace(known, default=other, when={})
    with changed(replace(known, when={})):
        text = stored(spec(make_space(network, {})), old=False)
        old_text = stored(spec(make_space(network, {})), old=True)
    with changed(free):
        assert equal_values(make_space(network, {}).resolve({})[parameter], other)
        for one in map(StudySpec.from_json, (text, old_text)):
            assert equal_values(one.space.resolve({})[parameter], known.default)


def test_the_table_of_before_is_complete() -> None:
    """It never changes, so this test is the only place where it is compared with anything."""
    assert len(DEFAULTS_BEFORE) == 46
    for name, value in DEFAULTS_BEFORE.items():
        assert name in KNOWN, f"{name}: older studies have it"
        assert equal_values(KNOWN[name].cast(value), value)


def test_newer_parameters_say_what_is_off() -> None:
    """A parameter that is added needs a value for the studies of before."""
    silent = [
        name for name, known in KNOWN.items() if name not in DEFAULTS_BEFORE and known.off is None
    ]
    assert silent == []


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("newer", "value"),
    [
        (Parameter("mixup", "float", 0.2, role=Role.SCALAR, low=0.0), 0.0),
        (Parameter("cutout", "int", 4, role=Role.SCALAR, low=0), 0),
        (Parameter("amsgrad", "bool", True, role=Role.SWITCH, choices=(True, False)), False),
        (
            Parameter(
                "merge", "categorical", "sum", role=Role.CHOICE, choices=("none", "sum"), off="none"
            ),
            "none",
        ),
        (Parameter("scale", "float", 2.0, role=Role.SCALAR, low=0.0, low_open=True, off=1.0), 1.0),
    ],
)
def test_a_newer_parameter_is_off(old: bool, newer: Parameter, value: Scalar) -> None:
    text = stored(spec(SPACES["conditional"]), old)
    with changed(newer):
        one = StudySpec.from_json(text)
        assert equal_values(one.space.sample(Draws(1))[newer.name], value)
        assert equal_values(spec(SPACES["conditional"]).space.defaults[newer.name], newer.default)
        # MLflow's run was sent without it, and sync would miss it.
        assert newer.name in one.newer_parameters
        assert f"space.{newer.name}" not in study_params(one)
        assert f"space.{newer.name}" in study_params(spec(make_space("mlp", CONDITIONAL)))
        assert study_differences(one, spec(make_space("mlp", CONDITIONAL))) == []


def test_a_space_stays_legal_with_the_defaults_it_was_made_with() -> None:
    """Momentum needs sgd, which was the default when this study was made."""
    sgd, adam = (replace(KNOWN["optimizer"], default=name) for name in ("sgd", "adam"))
    with changed(sgd):
        text = stored(spec(make_space("mlp", {"momentum": 0.9})), old=False)
    with changed(adam):
        params = StudySpec.from_json(text).space.resolve({})
    assert (params["optimizer"], params["momentum"]) == ("sgd", 0.9)


def test_differences_name_the_study_s_own_default() -> None:
    was = StudySpec.from_json(stored(spec(make_space("mlp", {})), old=True))
    with changed(replace(KNOWN["patience"], default=9)):
        assert study_differences(was, spec(make_space("mlp", {}))) == []
        assert study_differences(was, spec(make_space("mlp", {"patience": 5}))) == []
        asked = spec(make_space("mlp", {"patience": 9}))
        assert study_differences(was, asked) == ["patience was 5 by default, is 9"]
        assert study_differences(asked, was) == ["patience was 9, is 5 by default"]


@pytest.mark.parametrize(
    ("defaults", "told"),
    [
        ({"epochs": "many"}, "defaults.epochs must be a whole number, got 'many'"),
        ({"epochs": 0}, "defaults.epochs must be >= 1, got 0"),
        ({"mixup": 0.2}, "defaults.mixup is a parameter that this version does not know"),
        ({"batch_norm": 1}, "defaults.batch_norm must be true or false, got 1"),
        ({"epochs": [1]}, r"defaults.epochs must be a whole number, got \[1\]"),
        (None, "defaults "),
        ([], "defaults "),
        (3, "defaults "),
    ],
)
def test_damaged_defaults_are_told_in_one_line(defaults: object, told: str) -> None:
    content = json.loads(stored(spec(load_space("mlp")), old=False))
    if isinstance(defaults, dict):
        defaults = content["defaults"] | defaults
    with pytest.raises(SpecError, match=f"^[^\n]*{told}[^\n]*$"):
        StudySpec.from_json(json.dumps(content | {"defaults": defaults}))


def test_unknown_keys_are_still_refused() -> None:
    content = json.loads(stored(spec(load_space("mlp")), old=True))
    with pytest.raises(SpecError, match="is no known key"):
        StudySpec.from_json(json.dumps(content | {"surprise": 1}))
    with pytest.raises(SpecError, match="is no known key"):
        StudySpec.from_json(json.dumps(content | {"space": content["space"] | {"defaults": {}}}))


def test_a_study_is_defined_with_all_defaults() -> None:
    one = define_study(load_space("mlp"), Wanted(data=DataSpec(source="digits")), load_settings())
    assert one.defaults == {name: known.default for name, known in catalogue("mlp").items()}


def test_a_default_without_use_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Label smoothing by default would refuse every study of a number."""
    from tuner.study.fitting import fit_space

    with changed(replace(KNOWN["label_smoothing"], default=0.1)):
        space = fit_space(make_space("mlp", {}), "regression", (4,))
        assert space.resolve({})["label_smoothing"] == 0.0
        named = make_space("mlp", {"label_smoothing": 0.1})
        with pytest.raises(SpecError, match="label_smoothing cannot apply"):
            fit_space(named, "regression", (4,))
