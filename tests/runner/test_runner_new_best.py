"""A new best is better than every trial of the study, whoever trained that one."""

from collections.abc import Callable

import pytest
from toy_study import Bench, any_of

from tuner.runner import RunStatus, Silent, loop
from tuner.runner.progress import refresh_status
from tuner.study.spec import Choice


class Listener(Silent):
    """Remembers the ends of trials that were told as the best, and does something at the first
    interval of its first trial."""

    def __init__(self, at_first: Callable[[], None] | None = None) -> None:
        self.bests: list[int] = []
        self.ends: list[str] = []
        self._at_first = at_first

    def changed(self, status: RunStatus) -> None:
        if self._at_first is not None and any(worker.epoch for worker in status.workers):
            at_first, self._at_first = self._at_first, None
            at_first()

    def trial_ended(
        self, status: RunStatus, trial: int, end: str, value: float | None, is_best: bool
    ) -> None:
        self.ends.append(end)
        if is_best:
            self.bests.append(trial)


def falling(bench: Bench, *scores: float) -> None:
    bench.create(
        {"act": any_of("flat"), "epochs": 2},
        [{"act": "flat", "x": x} for x in scores],
        pruner=Choice(name="none"),
    )


def test_a_restart_knows_the_best(bench: Bench) -> None:
    falling(bench, 0.5, 0.9, 0.1, 0.2, 0.95)
    first, second = Listener(), Listener()
    bench.run(2, watcher=first)
    bench.run(5, watcher=second)
    assert (first.bests, second.bests) == ([0, 1], [4])


def test_a_pruned_trial_of_a_restart_is_no_best(bench: Bench) -> None:
    bench.create(
        {"act": any_of("flat"), "epochs": 2},
        [{"act": "flat", "x": x} for x in (0.9, 0.1)],
        pruner=Choice(name="threshold", options={"lower": 0.5}),
    )
    bench.run(1)
    listener = Listener()
    bench.run(2, watcher=listener)
    assert (listener.ends, listener.bests) == (["pruned"], [])


def test_a_second_loop_s_best_counts_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other loop, a process of its own, ends a better trial while ours trains, and before ours
    looks around again."""
    looks = iter([refresh_status])
    monkeypatch.setattr(loop, "refresh_status", lambda *words: next(looks, lambda *_: None)(*words))
    falling(bench, 0.6, 0.9, 0.7, 0.95)

    def second_loop() -> None:
        said, _ = bench.start(4, target=0.85).communicate(timeout=60)
        assert said.startswith("target"), said

    listener = Listener(second_loop)
    bench.run(4, watcher=listener)
    assert listener.bests == [3]
    assert [trial.value for trial in bench.trials] == [0.6, 0.9, 0.7, 0.95]
