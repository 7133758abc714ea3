"""Points of a search space in the unit cube."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuner.algorithms.unit_space import UnitSpace

SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-5, 1e1, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "share": FloatDistribution(0.0, 1.0, step=0.25),
    "depth": IntDistribution(1, 4),
    "width": IntDistribution(8, 1024, log=True),
    "kernel": IntDistribution(3, 9, step=2),
    "kind": CategoricalDistribution(["a", 1, True, None, 1.0]),
}
PARAMS = st.fixed_dictionaries(
    {
        "rate": st.floats(1e-5, 1e1),
        "dropout": st.floats(0.0, 0.5),
        "share": st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
        "depth": st.integers(1, 4),
        "width": st.integers(8, 1024),
        "kernel": st.sampled_from([3, 5, 7, 9]),
        "kind": st.sampled_from(["a", 1, True, None, 1.0]),
    }
)


@settings(max_examples=60, deadline=None)
@given(PARAMS)
def test_a_configuration_survives_the_way_there_and_back(params: dict[str, Any]) -> None:
    space = UnitSpace(SPACE)
    point = space.point(params, np.random.default_rng(0))
    back = space.params(point)
    for name in ("rate", "dropout"):
        np.testing.assert_allclose(back.pop(name), params[name], rtol=1e-9, atol=1e-12)
    exact = {name: params[name] for name in back}
    assert repr(back) == repr(exact)  # 1, 1.0 and true are equal, and are different choices


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=len(SPACE), max_size=len(SPACE)))
def test_each_point_is_a_value_that_optuna_takes(places: list[float]) -> None:
    space = UnitSpace(SPACE)
    params = space.params(space.rounded(np.array([places]))[0])
    for name, distribution in SPACE.items():
        assert distribution._contains(distribution.to_internal_repr(params[name]))


def test_choices_and_whole_numbers_are_drawn_equally_often() -> None:
    space = UnitSpace({"depth": IntDistribution(1, 4), "kind": CategoricalDistribution("abcd")})
    places = np.linspace(0, 1, 4001)
    drawn = [space.params(point) for point in np.column_stack([places, places])]
    for name in ("depth", "kind"):
        _, counts = np.unique([params[name] for params in drawn], return_counts=True)
        assert counts.min() >= 999


def test_what_is_absent_has_any_place() -> None:
    space = UnitSpace(SPACE)
    one, other = (space.point({"depth": 2}, np.random.default_rng(seed)) for seed in (1, 2))
    depth = list(space.distributions).index("depth")
    assert one[depth] == other[depth]
    assert (np.delete(one, depth) != np.delete(other, depth)).any()


def test_another_choice_is_as_far_as_the_whole_range() -> None:
    space = UnitSpace({"x": FloatDistribution(0, 1), "kind": CategoricalDistribution("abc")})
    random = np.random.default_rng(0)
    points = np.stack(
        [space.point({"x": x, "kind": kind}, random) for x, kind in ((0, "a"), (1, "a"), (0, "c"))]
    )
    start, far, other = space.features(points)
    np.testing.assert_allclose([((start - p) ** 2).sum() for p in (far, other)], [1, 1])
