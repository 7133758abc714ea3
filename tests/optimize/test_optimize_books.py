"""Several loops on one study: exactly its places, nothing twice."""

from collections import Counter

from at_once import at_once, run_toy, search
from toy_study import Bench

from tuner.storage import places


def test_four_loops_do_exactly_the_places_and_no_attempt_twice(bench: Bench) -> None:
    queued = [i / 20 for i in range(6)]
    study = bench.create(baselines=[{"x": x} for x in queued])
    places.ensure_places(bench.store, study.study_id, 14)
    found = at_once(search, bench.url, 14)
    assert all(isinstance(did, list) for did in found), found
    did = [entry for process in found for entry in process]
    attempts = Counter((trial, attempt) for trial, attempt, _ in did)
    assert set(attempts.values()) == {1}
    completed = [trial for trial, _, what in did if what == "complete"]
    assert sorted(completed) == list(range(14))
    assert bench.states == ["COMPLETE"] * 14
    assert [trial.params["x"] for trial in bench.trials][:6] == queued
    for trial in bench.trials:
        assert [row.attempt for row in trial.attempts] == list(range(1, len(trial.attempts) + 1))


def test_two_loops_do_the_total_between_them(bench: Bench) -> None:
    bench.create({"pace": 0.02})
    done = at_once(run_toy, str(bench.folder), bench.url, 12, count=2)
    assert sum(done) == 12
    assert bench.states == ["COMPLETE"] * 12
    assert bench.places == {"done": 12}
    assert [len(trial.attempts) for trial in bench.trials] == [1] * 12
    assert len({trial.params["x"] for trial in bench.trials}) == 12
