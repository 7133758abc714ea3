"""A notebook's code lies in a folder that is named by its text: where the text is corrected, the
study's definition goes on with the new folder."""

import pytest
from toy_study import toy_spec

from tuner.search_space import make_space
from tuner.study.spec import CodeFile, DataSpec, OwnMetricSpec, StudySpec
from tuner.study.study_differences import corrected_study, study_differences

OLD, NEW = (f".tuner/code/{digit * 16}" for digit in "a1")


def definition(network: str, text: str = "", **options: object) -> StudySpec:
    path = network.partition(":")[0]
    space = make_space(network, {"units": {"type": "int", "low": 1, "high": 9}})
    return toy_spec(space=space, **{"code": {path: CodeFile.of(text.encode())}, **options})


@pytest.mark.parametrize("project", ["", "/home/me/"])
def test_a_corrected_network_is_taken(project: str) -> None:
    was = definition(f"{project}{OLD}/build.py:build", "one")
    now = definition(f"{project}{NEW}/build.py:build", "two")
    assert study_differences(was, now) == [f"{project}{NEW}/build.py has changed"]
    assert corrected_study(was, now) == now
    assert study_differences(was, was) == []


@pytest.mark.parametrize("network", ["other.py:build", "build.py:other"])
def test_another_function_is_another_definition(network: str) -> None:
    was = definition(f"{OLD}/build.py:build", "one")
    now = definition(f"{NEW}/{network}", "two")
    assert any("network was" in line for line in study_differences(was, now))
    assert corrected_study(was, now) is None


def test_a_file_of_the_user_is_no_notebook_s() -> None:
    was, now = definition("old/build.py:build", "one"), definition("new/build.py:build", "two")
    assert corrected_study(was, now) is None


def test_a_corrected_data_function_is_taken() -> None:
    def with_data(folder: str, text: str, fingerprint: str) -> StudySpec:
        return definition(
            "mlp.py:build",
            data=DataSpec(source=f"{folder}/load.py:load", task="classes"),
            code={"mlp.py": CodeFile.of(b""), f"{folder}/load.py": CodeFile.of(text.encode())},
            fingerprint=fingerprint * 64,
        )

    was, now = with_data(OLD, "one", "0"), with_data(NEW, "two", "1")
    assert corrected_study(was, now) == now
    same = with_data(NEW, "one", "1")
    assert corrected_study(was, same) is None  # the same code, so the data have changed


def test_a_corrected_metric_is_taken() -> None:
    def with_metric(folder: str, text: str) -> StudySpec:
        path = f"{folder}/gain.py"
        return definition(
            "mlp.py:build",
            record=("val_gain",),
            own_metrics={"gain": OwnMetricSpec(path=path, function="gain")},
            code={"mlp.py": CodeFile.of(b""), path: CodeFile.of(text.encode())},
        )

    was, now = with_metric(OLD, "one"), with_metric(NEW, "two")
    assert corrected_study(was, now) == now
    assert study_differences(was, now) == [f"{NEW}/gain.py has changed"]
