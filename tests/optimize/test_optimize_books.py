"""The books of several loops on one study, as fast as databases go."""

from collections import Counter

import pytest
from at_once import at_once, search
from toy_study import Bench

from tuner.storage import places


@pytest.mark.parametrize("queued", [0, 12])
def test_four_loops_do_exactly_the_places_and_no_attempt_twice(bench: Bench, queued: int) -> None:
    study = bench.create(baselines=[{"x": i / 20} for i in range(queued)])
    places.ensure_places(bench.store, study.study_id, 20)
    found = at_once(search, bench.url, 20)
    assert all(isinstance(did, list) for did in found), found
    did = [entry for process in found for entry in process]
    attempts = Counter((trial, attempt) for trial, attempt, _ in did)
    assert set(attempts.values()) == {1}
    completed = [trial for trial, _, what in did if what == "complete"]
    assert sorted(completed) == list(range(20))
    assert bench.states == ["COMPLETE"] * 20
    assert [trial.params["x"] for trial in bench.trials][:queued] == [i / 20 for i in range(queued)]
    for trial in bench.trials:
        assert [row.attempt for row in trial.attempts] == list(range(1, len(trial.attempts) + 1))
