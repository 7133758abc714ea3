"""A table's space as other libraries see it. Their methods: test_rival_methods.py."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.search.rivals.library_spaces import (
    GlobalRandom,
    choice_texts,
    decoded,
    encoded,
    searched,
)
from benchmarks.search.spaces import TableParameter, TableSpace

SPACE = TableSpace(
    (
        TableParameter("rate", "float", 1e-5, 10.0, log=True),
        TableParameter("layers", "int", 1, 4),
        TableParameter("units", "int", 8, 512, log=True),
        TableParameter("optimizer", "categorical", choices=("sgd", "adam", "lion")),
        TableParameter("momentum", "float", 0.0, 0.99, condition=("optimizer", ("sgd",))),
        TableParameter("shuffle", "categorical", choices=(True,)),
        TableParameter("batch", "int", 32, 32),
    )
)


@given(st.integers(0, 2**32 - 1))
def test_configurations_survive_the_way_to_a_library_and_back(seed):
    params = SPACE.sample(np.random.default_rng(seed))
    values = {p.name: encoded(p, params[p.name]) for p in searched(SPACE) if p.name in params}
    assert decoded(SPACE, values) == params


def test_parameters_with_one_value_are_not_searched_but_given_back():
    assert [parameter.name for parameter in searched(SPACE)] == [
        "rate",
        "layers",
        "units",
        "optimizer",
        "momentum",
    ]
    values = {"rate": 1e-3, "layers": 2, "units": 64, "optimizer": "1", "momentum": 0.5}
    assert decoded(SPACE, values) == {
        "rate": 1e-3,
        "layers": 2,
        "units": 64,
        "optimizer": "adam",
        "shuffle": True,
        "batch": 32,
    }


def test_proposals_outside_the_range_are_clipped():
    values = {"rate": 11.0, "layers": 0, "units": 64.4, "optimizer": "0", "momentum": -1.0}
    params = decoded(SPACE, values)
    assert (params["rate"], params["layers"], params["units"]) == (10.0, 1, 64)
    assert params["momentum"] == 0.0


def test_choices_are_texts():
    assert choice_texts(SPACE.parameters[3]) == ["0", "1", "2"]


def test_global_numbers_are_a_methods_own_and_disturb_no_other():
    def draw(random: GlobalRandom) -> float:
        with random:
            return float(np.random.random())

    np.random.seed(3)
    undisturbed = np.random.random(2)
    alone = [draw(random) for random in [GlobalRandom(7)] for _ in range(3)]

    np.random.seed(3)
    first, second = GlobalRandom(7), GlobalRandom(8)
    mixed = []
    outside = []
    for index in range(3):
        mixed.append(draw(first))
        draw(second)
        if index < 2:
            outside.append(np.random.random())
    assert mixed == alone
    assert outside == list(undisturbed)


def test_a_further_generator_is_put_back_too():
    state = {"now": 5}

    def write(value: int) -> None:
        state["now"] = value

    random = GlobalRandom(0, read=lambda: state["now"], write=write)
    state["now"] = 1
    with random:
        assert state["now"] == 5
        state["now"] = 6
    assert state["now"] == 1
    with random:
        assert state["now"] == 6
