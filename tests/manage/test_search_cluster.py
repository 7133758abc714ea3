"""The options that say where a search runs, and their mistakes."""

import math

import pytest
from command_line import Command

from tuner.errors import UsageError
from tuner.manage.searching import SearchWanted

WRONG = [
    ({"trial_cpus": 2}, "trial_cpus is for workers on a cluster: give on too"),
    ({"trial_gpus": 0.5}, "trial_gpus is for workers on a cluster: give on too"),
    ({"on": "mars"}, "on must be ray, ray://HOST:10001 or HOST:6379, got 'mars'"),
    ({"on": ""}, "on must be ray"),
    ({"on": "ray", "trial_cpus": 0}, "trial_cpus must be above 0 and up to 1024"),
    ({"on": "ray", "trial_cpus": -1}, "trial_cpus must be above 0 and up to 1024"),
    ({"on": "ray", "trial_cpus": math.nan}, "trial_cpus must be a number"),
    ({"on": "ray", "trial_cpus": "2"}, "trial_cpus must be a number"),
    ({"on": "ray", "trial_gpus": True}, "trial_gpus must be a number"),
    ({"on": "ray", "trial_gpus": 2}, "trial_gpus must be from 0 up to 1, such as 0.25"),
    ({"on": "ray", "trial_gpus": 0.00001}, "trial_gpus must be from 0 up to 1, such as 0.25"),
    ({"on": "ray", "lanes": 4}, "lanes above 1 is for a GPU: give trial_gpus too"),
]


@pytest.mark.parametrize(("given", "problem"), WRONG)
def test_mistakes(given: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError) as raised:
        SearchWanted(trials=1, **given).options(spell=str)  # type: ignore[arg-type]
    assert str(raised.value).startswith(problem)


@pytest.mark.parametrize(
    "given",
    [
        {"on": "ray"},
        {"on": "ray://head:10001", "trial_cpus": 0.5, "trial_gpus": 0.25, "lanes": 4},
        {"on": "ray", "trial_gpus": 0},
        {"lanes": 4},
    ],
)
def test_what_may_be_given(given: dict[str, object]) -> None:
    options = SearchWanted(trials=1, **given).options()  # type: ignore[arg-type]
    assert options.lanes == given.get("lanes", 1)


def test_the_command_names_its_options(tuner: Command) -> None:
    done = tuner("optimize", "--trials", "1", "--trial-gpus", "0.5")
    assert (done.code, done.err) == (
        2,
        "tuner: --trial-gpus is for workers on a cluster: give --on too\n",
    )
