"""Trials that share a worker process: what becomes of them when it dies under all of them."""

from typing import Any

import pytest
from test_runner_trials import SQLITE
from toy_study import Bench, any_of

pytestmark = SQLITE
THREE = {"lanes": 3}


# What a worker of this suite holds before it trains, and some room.
MEMORY: dict[str, Any] = {"trial_memory_bytes": 400 * 2**20}


def search(
    bench: Bench,
    *acts: str,
    crashes: int = 1,
    pace: float = 0.2,
    epochs: int = 4,
    asked: Any = THREE,
    **limits: Any,
) -> list[list[str | None]]:
    """A trial for each act, in one process with three workers; how each one's attempts ended. On a
    busy machine, three trials begin within 2 epochs of `pace` seconds."""
    kinds = any_of("learn", "crash", "hang", "grow")
    parameters = {"act": kinds, "x": 0.5, "crashes": crashes, "epochs": epochs}
    bench.create(parameters | {"pace": pace}, [{"act": act} for act in acts])
    bench.run(len(acts), asked=asked, **limits)
    return [[attempt.end for attempt in trial.attempts] for trial in bench.trials]


def test_three_at_a_time_in_one_process(bench: Bench) -> None:
    assert search(bench, *["learn"] * 6) == [["complete"]] * 6
    attempts = [trial.attempts[0] for trial in bench.trials]
    assert {attempt.worker for attempt in attempts} == {0, 1, 2}
    last_begun = max(attempt.started_at for attempt in attempts[:3])
    assert last_begun < min(attempt.ended_at or 0.0 for attempt in attempts)


def test_all_of_a_process_that_dies_are_trained_again(bench: Bench) -> None:
    assert search(bench, "learn", "crash", "learn") == [["shared_loss", "complete"]] * 3


@pytest.mark.parametrize(
    ("act", "asked", "alone"),
    [("crash", {}, ["worker_lost"] * 3), ("grow", MEMORY, ["out_of_memory"])],
)
def test_what_a_trial_does_counts_against_no_other(
    bench: Bench, act: str, asked: Any, alone: list[str]
) -> None:
    acts = ["learn", act, "learn", "learn", "learn"]
    # It needs a second or more to grow, before the others end.
    ends = search(bench, *acts, crashes=99, pace=0.5, epochs=7, asked=THREE | asked)
    assert ends.pop(1) == ["shared_loss", *alone]
    assert all(of_trial[-1] == "complete" for of_trial in ends), ends
    assert {end for of_trial in ends for end in of_trial[:-1]} == {"shared_loss"}
    others = [trial.attempts[-1] for trial in bench.trials if trial.params["act"] == "learn"]
    for attempt in bench.trials[1].attempts[1:]:  # it was alone in its process
        assert all(
            (other.ended_at or 0.0) <= attempt.started_at
            or other.started_at >= (attempt.ended_at or 0.0)
            for other in others
        )


def test_who_is_beside_a_trial_past_its_limit_is_trained_again(bench: Bench) -> None:
    epochs = {"type": "int", "low": 6, "high": 7}
    trials = [{"act": "hang", "epochs": 7}, *[{"act": "learn", "epochs": n} for n in (6, 6, 7)]]
    bench.create({"act": any_of("learn", "hang"), "epochs": epochs, "pace": 0.5}, trials)
    # The last begins at 3 s, and would end at 6.5 s: a busy machine may be 1.5 s late.
    bench.run(4, asked=THREE, trial_timeout_s=5.0)
    ends = [[attempt.end for attempt in trial.attempts] for trial in bench.trials]
    hanging = ["shared_loss", "time_limit"]
    assert ends == [hanging, ["complete"], ["complete"], ["interrupted", "complete"]]


def test_a_trial_is_the_same_in_company(bench: Bench) -> None:
    bench.create(name="alone")
    bench.run(5)
    alone = [(trial.params, trial.value) for trial in bench.trials]
    bench.create(name="together")
    bench.run(5, asked=THREE)
    assert {str(t.params): t.value for t in bench.trials} == {str(p): v for p, v in alone}
