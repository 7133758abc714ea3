"""Stored results: what is found again, and what is not."""

from dataclasses import replace

import pytest

from benchmarks.search import results as results_module
from benchmarks.search.results import Results, Run
from benchmarks.search.simulator import Course

RUN = Run("tuner:tpe+asha", "abc", "taskset/one", "f00", 3, 2, "nearest")
COURSE = Course(epochs=[1, 4], scores=[2.5, 1.0], spent=50, trials=9)


def test_a_result_serves_for_budgets_up_to_its_own(tmp_path):
    results = Results(tmp_path)
    results.save(RUN, 50, COURSE)
    assert results.find(RUN, 50) == results.find(RUN, 20) == COURSE
    assert results.find(RUN, 51) is None
    results.save(RUN, 80, replace(COURSE, spent=80))
    assert results.find(RUN, 51).spent == 80


def test_a_method_with_nothing_left_to_do_has_no_longer_run(tmp_path):
    Results(tmp_path).save(RUN, 50, replace(COURSE, stuck=True))
    assert Results(tmp_path).find(RUN, 1000).stuck


@pytest.mark.parametrize(
    "change",
    [
        {"method": "tuner:tpe"},
        {"version": "abd"},
        {"table": "taskset/two"},
        {"fingerprint": "f01"},
        {"seed": 4},
        {"workers": 1},
        {"lookup": "forest"},
    ],
)
def test_another_run_has_no_result(tmp_path, change):
    results = Results(tmp_path)
    results.save(RUN, 50, COURSE)
    assert results.find(replace(RUN, **change), 50) is None


def test_results_of_another_simulator_are_not_found(tmp_path, monkeypatch):
    Results(tmp_path).save(RUN, 50, COURSE)
    monkeypatch.setattr(results_module, "SIMULATION", -1)
    assert Results(tmp_path).find(RUN, 50) is None


@pytest.mark.parametrize("text", ["", '{"run": {', "[]", "\0\0"])
def test_a_broken_file_is_no_result_and_is_written_anew(tmp_path, text):
    results = Results(tmp_path)
    results.save(RUN, 50, COURSE)
    (path,) = tmp_path.rglob("*.json")
    path.write_text(text)
    assert results.find(RUN, 50) is None
    results.save(RUN, 50, COURSE)
    assert results.find(RUN, 50) == COURSE


def test_a_save_that_is_killed_leaves_the_old_result(tmp_path, monkeypatch):
    results = Results(tmp_path)
    results.save(RUN, 50, COURSE)
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            results.save(RUN, 80, COURSE)
    assert results.find(RUN, 50) == COURSE
    assert list(results.methods()) == ["tuner:tpe+asha"]


def test_methods_and_versions_are_listed(tmp_path):
    results = Results(tmp_path)
    for version in ("old", "new"):
        results.save(replace(RUN, version=version), 50, COURSE)
    results.save(replace(RUN, method="random"), 50, COURSE)
    assert list(results.methods()) == ["random", "tuner:tpe+asha"]
    assert set(results.versions("tuner:tpe+asha")) == {"old", "new"}
    assert results.versions("none") == []
