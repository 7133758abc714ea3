"""What a study asks of its search space."""

import subprocess
import sys
import warnings

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from tuner.errors import SpaceError
from tuner.search_space import Space, load_space, parse_space
from tuner.search_space.parameters import catalogue

LAYERED = """
network: mlp
parameters:
  depth: {type: int, low: 0, high: 2}
  width: {type: int, low: 8, high: 16, step: 8, repeat: depth}
  optimizer: {type: categorical, choices: [adam, sgd]}
  momentum: {type: categorical, choices: [0, 0.9]}
  learning_rate: 0.01
"""

NESTED = """
network: net.py:build
parameters:
  a: {type: categorical, choices: [x, y]}
  b: {type: int, low: 1, high: 3, when: {a: y}}
  c: {type: categorical, choices: [true, false], when: {b: [2, 3], a: y}}
  d: {type: float, low: 0, high: 1, step: 0.5, when: {c: true}}
"""


def space_of(text: str) -> Space:
    return parse_space(text, "test.yaml")


def test_sampled_parameters_hold_constants_defaults_and_active_ones() -> None:
    params = space_of(LAYERED).sample(
        FixedTrial({"depth": 2, "width_1": 16, "width_2": 8, "optimizer": "adam"})
    )
    assert params == {
        "depth": 2,
        "width": [16, 8],
        "optimizer": "adam",
        "learning_rate": 0.01,
    } | {
        name: known.default
        for name, known in catalogue("mlp").items()
        if name not in LAYERED and known.when in ({}, {"loss": ("auto", "cross_entropy", "mse")})
    }


def test_the_catalogue_makes_momentum_conditional_on_sgd() -> None:
    space = space_of(LAYERED)
    assert "momentum" not in space.resolve({"depth": 0, "optimizer": "adam"})
    params = space.resolve({"depth": 0, "optimizer": "sgd", "momentum": 0.9})
    assert (params["momentum"], params["width"]) == (0.9, [])


def test_constant_momentum_is_dropped_without_sgd() -> None:
    space = space_of(
        "network: mlp\nparameters:\n  momentum: 0.5\n"
        "  optimizer: {type: categorical, choices: [adam, sgd]}"
    )
    assert "momentum" not in space.resolve({"optimizer": "adam"})
    assert space.resolve({"optimizer": "sgd"})["momentum"] == 0.5
    assert space.grid_size() == len(list(space.grid())) == 2


def test_inactive_parameter_of_a_shipped_network_has_its_default() -> None:
    space = space_of(
        "network: mlp\nparameters:\n"
        "  batch_norm: {type: categorical, choices: [true, false]}\n"
        "  dropout: {type: float, low: 0.1, high: 0.5, when: {batch_norm: false}}"
    )
    assert space.resolve({"batch_norm": True})["dropout"] == 0.0
    assert space.resolve({"batch_norm": False, "dropout": 0.3})["dropout"] == 0.3
    assert space.flatten({"batch_norm": True, "dropout": 0.0}) == {"batch_norm": True}


def test_values_take_the_catalogues_type() -> None:
    params = space_of("network: mlp\nparameters: {dropout: 0, epochs: 1e1}").resolve({})
    assert type(params["dropout"]) is float
    assert type(params["epochs"]) is int


def test_missing_or_foreign_stored_values_are_refused() -> None:
    with pytest.raises(SpaceError, match="width_2"):
        space_of(LAYERED).resolve({"depth": 2, "width_1": 16, "optimizer": "adam"})
    with pytest.raises(SpaceError, match="depth = 9"):
        space_of(LAYERED).resolve({"depth": 9})


def test_float_steps_come_out_as_written() -> None:
    space = space_of(
        "network: mlp\nparameters:\n  dropout: {type: float, low: 0, high: 0.95, step: 0.1}"
    )
    assert space.resolve({"dropout": 0.1 + 0.2})["dropout"] == 0.3
    assert [point["dropout"] for point in space.grid()] == [n / 10 for n in range(10)]
    assert space.rows()[0].note == "high 0.95 is off the steps: 0.9 is the last"


@pytest.mark.parametrize(
    ("configuration", "flat"),
    [
        ({}, {}),
        ({"depth": 2, "width": [8, 16]}, {"depth": 2, "width_1": 8, "width_2": 16}),
        ({"depth": 2, "width": 8}, {"depth": 2, "width_1": 8, "width_2": 8}),
        ({"depth": 2, "width_2": 8}, {"depth": 2, "width_2": 8}),
        ({"width": 8}, {"width_1": 8, "width_2": 8}),
        ({"depth": 0, "width": []}, {"depth": 0}),
        ({"depth": 1.0, "learning_rate": 0.01, "epochs": 27}, {"depth": 1}),
        ({"optimizer": "sgd", "momentum": 0}, {"optimizer": "sgd", "momentum": 0.0}),
    ],
)
def test_configurations_flatten(configuration: dict[str, object], flat: dict[str, object]) -> None:
    assert space_of(LAYERED).flatten(configuration) == flat


def test_configuration_mistakes_are_space_errors() -> None:
    with pytest.raises(SpaceError, match=r"^width must be in 8 … 16, step 8; got 9$"):
        space_of(LAYERED).flatten({"depth": 1, "width": [9]})
    with pytest.raises(SpaceError, match=r"^learning_rate is fixed to 0\.01, got 0\.1$"):
        space_of(LAYERED).flatten({"learning_rate": 0.1})


def test_grid_lists_each_active_combination_once() -> None:
    points = list(space_of(NESTED).grid())
    assert points == [
        {"a": "x"},
        {"a": "y", "b": 1},
        *(
            {"a": "y", "b": b, "c": True, "d": d} if c else {"a": "y", "b": b, "c": False}
            for b in (2, 3)
            for c, d in ((True, 0.0), (True, 0.5), (True, 1.0), (False, None))
        ),
    ]
    assert space_of(NESTED).grid_size() == len(points) == 10


def test_grid_of_layers() -> None:
    space = space_of(LAYERED)
    assert space.grid_size() == (1 + 2 + 4) * 3 == len(list(space.grid()))


def test_huge_grids_are_counted_and_begun_at_once() -> None:
    lines = "".join(f"  p{n}: {{type: int, low: 1, high: 1000000}}\n" for n in range(900))
    space = space_of(f"network: net.py:build\nparameters:\n{lines}")
    assert space.grid_size() == 10**5400
    assert next(space.grid()) == {f"p{n}": 1 for n in range(900)}


def test_many_independent_conditions_are_counted() -> None:
    parents = "".join(f"  p{n}: {{type: int, low: 0, high: 9}}\n" for n in range(100))
    children = "".join(
        f"  c{n}: {{type: int, low: 1, high: 3, when: {{p{n}: 7}}}}\n" for n in range(100)
    )
    space = space_of(f"network: net.py:build\nparameters:\n{parents}{children}")
    assert space.grid_size() == 12**100


def test_entangled_conditions_give_up_in_time() -> None:
    parents = "".join(f"  p{n}: {{type: int, low: 0, high: 9}}\n" for n in range(40))
    wanted = ", ".join(f"p{n}: 7" for n in range(40))
    space = space_of(
        f"network: net.py:build\nparameters:\n{parents}"
        f"  child: {{type: int, low: 1, high: 3, when: {{{wanted}}}}}\n"
    )
    assert space.grid_size() is None
    with pytest.raises(SpaceError, match="entangled"):
        space.grid()


def test_space_with_a_continuous_float_has_no_grid() -> None:
    space = load_space("mlp")
    assert space.grid_size() is None
    with pytest.raises(SpaceError, match=r"dropout, .*learning_rate, momentum, .* have no step"):
        space.grid()


def test_distributions_are_optunas() -> None:
    space = space_of(LAYERED)
    assert space.distributions() == {
        "depth": IntDistribution(0, 2),
        "width_1": IntDistribution(8, 16, step=8),
        "width_2": IntDistribution(8, 16, step=8),
        "optimizer": CategoricalDistribution(["adam", "sgd"]),
        "momentum": CategoricalDistribution([0.0, 0.9]),
    }
    log = load_space("mlp").distributions()["learning_rate"]
    assert log == FloatDistribution(1e-4, 1e-1, log=True)


def test_optuna_stays_quiet_about_steps() -> None:
    space = space_of(
        "network: mlp\nparameters:\n"
        "  width: {type: int, low: 1, high: 10, step: 4}\n"
        "  dropout: {type: float, low: 0, high: 0.95, step: 0.1}"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space.sample(optuna.create_study().ask())
        space.distributions()


def test_largest() -> None:
    space = space_of(LAYERED)
    assert (space.largest("epochs"), space.largest("depth"), space.largest("width")) == (27, 2, 16)
    assert space.override({"epochs": 3}).largest("epochs") == 3
    with pytest.raises(SpaceError, match="optimizer is no number"):
        space.largest("optimizer")
    with pytest.raises(SpaceError, match="did you mean epochs"):
        space.largest("epoch")


def test_rows_show_ranges_constants_and_defaults() -> None:
    rows = {row.name: row for row in space_of(LAYERED).rows()}
    assert rows["width"][1:] == ("int", "8 … 16, step 8", "", "one a layer (depth)")
    assert rows["momentum"].condition == "optimizer is sgd"
    assert rows["learning_rate"][1:3] == ("constant", "0.01")
    assert rows["epochs"][1:3] == ("default", "27")


def test_override_fixes_and_drops_what_is_moot() -> None:
    space = load_space("mlp").override({"optimizer": "adam", "epochs": 10, "width": 1024})
    assert "momentum" not in space.parameters
    assert "width" not in space.varying()
    params = space.resolve(space.flatten(space.baselines[0]) | {"depth": 1})
    assert (params["optimizer"], params["epochs"], params["width"]) == ("adam", 10, 1024)
    assert "momentum" not in space.baselines[0]


def test_override_of_a_value_that_a_condition_lists() -> None:
    space = space_of(NESTED).override({"b": 2})
    assert space.grid_size() == 1 + 4
    assert set(space_of(NESTED).override({"a": "x"}).parameters) == {"a"}


def test_override_names_defaults_and_keeps_layers() -> None:
    space = space_of(LAYERED + "baselines: [{depth: 2, width: [8, 16]}, {depth: 1}]")
    changed = space.override({"depth": 1, "dropout": 0.25})
    assert changed.parameters["dropout"] == 0.25
    assert changed.baselines == ()
    assert changed.flatten({"width": [8]}) == {"width_1": 8}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, r"^epochs must be >= 1, got 0$"),
        ({"epoch": 3}, r"^epoch is no parameter of mlp; did you mean epochs\?"),
        ({"depth": "two"}, "depth must be a whole number, got 'two'"),
        ({"optimizer": "adam", "momentum": 0.5}, "momentum only matters when optimizer is sgd"),
        ({"width": [1, 2]}, "width must be a number, a string or true/false, got a list"),
    ],
)
def test_override_mistakes(values: dict[str, object], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        space_of(LAYERED).override(values)


def test_override_keeps_the_kind_of_a_network_of_ones_own() -> None:
    space = space_of(NESTED)
    with pytest.raises(SpaceError, match="b must be a number"):
        space.override({"b": "two"})
    with pytest.raises(SpaceError, match="a must be one of x, y; got 'z'"):
        space.override({"a": "z"})
    assert space.override({"b": 7, "new": "z"}).resolve({"a": "y"})["new"] == "z"


@pytest.mark.parametrize("text", [LAYERED, NESTED])
def test_json_round_trip(text: str) -> None:
    space = space_of(text)
    assert Space.model_validate_json(space.model_dump_json()) == space


def test_import_needs_no_optuna() -> None:
    code = "import sys, tuner.search_space, tuner.study.spec; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"optuna", "numpy", "tensorflow", "mlflow"} & set(done.stdout.split())
