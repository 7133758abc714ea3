"""The parameters that a user's own `build` is given."""

import copy
import json
import operator
import pickle
from typing import Any

import pytest

from tuner.networks.custom import GivenParams, HiddenParameter, MissingParameter
from tuner.search_space.parameters import training_only_names

pytestmark = pytest.mark.tensorflow

VALUES = {"units": 4, "act": "relu"}


def given() -> GivenParams:
    return GivenParams(VALUES, training_only_names())


def match_units(params: Any) -> Any:
    match params:
        case {"units": units}:
            return units


@pytest.mark.parametrize(
    ("read", "names"),
    [
        (lambda p: p["units"], {"units"}),
        (lambda p: p.get("units", 3), {"units"}),
        (lambda p: p.pop("units"), {"units"}),
        (lambda p: p.setdefault("units", 3), {"units"}),
        (lambda p: "units" in p, {"units"}),
        (operator.itemgetter("units"), {"units"}),
        (lambda p: "{units}".format_map(p), {"units"}),
        (match_units, {"units"}),
        (lambda p: (lambda units, **_: units)(**p), set(VALUES)),
        (lambda p: {**p}, set(VALUES)),
        (lambda p: dict(p), set(VALUES)),
        (lambda p: p | {"more": 1}, set(VALUES)),
        (lambda p: {"more": 1} | p, set(VALUES)),
        (lambda p: p.copy(), set(VALUES)),
        (copy.deepcopy, set(VALUES)),
        (lambda p: pickle.loads(pickle.dumps(p)), set(VALUES)),
        (json.dumps, set(VALUES)),
        (list, set(VALUES)),
        (lambda p: list(p.values()), set(VALUES)),
        (lambda p: p.popitem(), set(VALUES)),
        (repr, set(VALUES)),
        (len, set()),
    ],
)
def test_every_way_to_read_is_seen_and_gives_what_a_dict_gives(read: Any, names: Any) -> None:
    params = given()
    assert read(params) == read(dict(VALUES))
    assert params.read == names


@pytest.mark.parametrize("name", sorted(training_only_names()))
def test_a_hidden_name_says_why(name: str) -> None:
    for again in (given(), given().copy(), copy.deepcopy(given())):
        with pytest.raises(
            HiddenParameter, match=f"tuner sets the {name.replace('_', ' ')} itself"
        ):
            again[name]
    params = given()
    assert params.get(name, 3) == 3
    assert params.asked == {name}
    assert name not in params


def test_another_name_says_what_there_is() -> None:
    for read in (lambda p: p["unitz"], lambda p: p.pop("unitz")):
        with pytest.raises(
            MissingParameter, match="no parameter 'unitz'; build is given: units, act"
        ):
            read(given())
    with pytest.raises(KeyError):
        given()["unitz"]
    assert given().pop("unitz", 1) == 1


def test_what_build_changes_is_its_own() -> None:
    params = given()
    params["units"] = 7
    params["learning_rate"] = 0.1
    assert (params["units"], params["learning_rate"], params.asked) == (7, 0.1, set())
