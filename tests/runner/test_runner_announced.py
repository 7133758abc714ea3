"""What is told of real searches: by one loop of several, without delay for any."""

import threading
from collections.abc import Iterator

import pytest
from lost_answers import LostAnswers
from notice_servers import WebTarget
from test_runner_limits import SQLITE
from toy_study import Bench
from toy_training import TOY

from tuner.errors import DatasetError, StudyError
from tuner.manage.searching import SearchWanted, search_study
from tuner.runner import (
    Limits,
    Outcome,
    RunStatus,
    SearchOptions,
    Silent,
    announcing,
    optimize,
    slots_wanted,
    study_announcer,
)
from tuner.runner.announcing import AnnouncedSearch
from tuner.storage import Store, notices_told, slots
from tuner.storage.studies import StudyRow, delete_study, load_study
from tuner.study.ends import StopReason, TrialEnd


@pytest.fixture
def target() -> Iterator[WebTarget]:
    with WebTarget().serving() as serving:
        yield serving


def search(bench: Bench, target: WebTarget, trials: int) -> None:
    """What `tuner optimize --notify` does."""
    study = load_study(bench.store)
    total = slots_wanted(bench.store, study, trials, None)
    options = SearchOptions(Limits(total), workers=1, tracking=False)
    with study_announcer(bench.store, [target.url]) as announcer:
        optimize(bench.settings, bench.store, study, options, entry=TOY, announcer=announcer)


def test_new_bests_and_the_end_are_told(bench: Bench, target: WebTarget) -> None:
    bench.create({"x": 0.5}, name="toy")
    search(bench, target, 3)
    first, last = target.posts[0], target.posts[-1]
    assert target.kinds() in (["best", "done"], ["done"])
    assert (last["kind"], last["done"], last["total"]) == ("done", 3, 3)
    assert last["trial"] == bench.trials[last["trial"]].number
    assert first["study"] == "toy"
    search(bench, target, 3)  # nothing is left to do, and nothing to tell
    assert target.kinds().count("done") == 1
    search(bench, target, 4)
    assert target.posts[-1]["done"] == 4


def test_three_failures_are_told(bench: Bench, target: WebTarget) -> None:
    bench.create({"act": "raise", "at": 1})
    search(bench, target, 5)
    assert target.kinds() == ["failing"]
    text = target.posts[0]["text"]
    assert "three trials in a row failed: trial 2: ValueError" in text


def ended(store: Store, study: StudyRow, target: WebTarget, reason: StopReason | None) -> None:
    """A loop that has done two trials ends, in a process of its own."""
    with study_announcer(store, [target.url]) as announcer:
        status = RunStatus(total=10, done=2, done_here=2, best=0.5, best_trial=1)
        announced = AnnouncedSearch(announcer, study, Silent())
        announced.loop_ended(Outcome(reason, status, 0))


def test_of_several_loops_one_tells(bench: Bench, target: WebTarget) -> None:
    study = bench.create()
    threads = [
        threading.Thread(target=ended, args=(bench.store.another(), study, target, None))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.kinds() == ["done"]


@SQLITE
@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (StopReason.TARGET, "done"),
        (StopReason.TIMEOUT, "done"),
        (StopReason.STOPPED, "failing"),
        (StopReason.INTERRUPTED, None),
        (StopReason.PAUSED, None),
        (StopReason.DELETED, None),
    ],
)
def test_why_it_ended_is_told_to_who_does_not_know_it(
    bench: Bench, target: WebTarget, reason: StopReason, kind: str | None
) -> None:
    ended(bench.store, bench.create(), target, reason)
    assert target.kinds() == ([] if kind is None else [kind])
    if kind is not None:
        assert reason.in_words in target.posts[0]["text"]


def test_a_best_of_another_loop_is_told_in_its_place(bench: Bench, target: WebTarget) -> None:
    """The first loop's trial is the best no more when its turn comes."""
    study = bench.create({"x": 0.5})
    bench.run(2)
    best = slots.best_score(bench.store, study, "maximize")
    assert best is not None
    status = RunStatus(total=9, done=2, best=0.1, best_trial=7)
    for _ in range(2):  # the second loop finds it told
        with study_announcer(bench.store, [target.url]) as announcer:
            announced = AnnouncedSearch(announcer, study, Silent())
            announced.trial_ended(status, 7, TrialEnd.COMPLETE, 0.1, is_best=True)
    assert [(post["trial"], post["score"]) for post in target.posts] == [(best[1], best[0])]


def test_bests_are_told_at_most_once_in_a_while(store: Store, bench: Bench) -> None:
    study = bench.create({"x": 0.5})
    bench.run(1)
    assert notices_told.claim_best(store, study, 30.0) is not None
    assert notices_told.claim_best(store, study, 30.0) is None  # told
    bench.run(None, more=12)
    best = slots.best_score(store, study, "maximize")
    assert best is not None and best[1] > 0
    wait_s = notices_told.claim_best(store, study, 30.0)
    assert isinstance(wait_s, float) and 20.0 < wait_s <= 30.0
    assert notices_told.claim_best(store, study, 0.0) == (best[1], best[0])


def test_a_failure_is_told_again_after_a_while(store: Store, bench: Bench) -> None:
    study = bench.create()
    assert notices_told.claim(store, study, "failing/x", 60.0)
    assert not notices_told.claim(store, study, "failing/x", 60.0)
    assert notices_told.claim(store, study, "failing/y", 60.0)
    assert notices_told.claim(store, study, "failing/x", 0.0)
    delete_study(store, study)
    assert not notices_told.claim(store, study, "failing/x", 0.0)


def test_a_lost_reply_to_a_commit_silences_nobody(store: Store, bench: Bench) -> None:
    study = bench.create()
    with LostAnswers(1).of(store):
        assert notices_told.claim(store, study, "done/3", 60.0)
    assert not notices_told.claim(store, study, "done/3", 60.0)


@SQLITE
def test_an_error_that_ends_a_search_is_told(bench: Bench, target: WebTarget) -> None:
    study = bench.create()
    (bench.folder / "points.npz").unlink()
    wanted = SearchWanted(trials=2, workers=1, tracking=False, notify=(target.url,))
    silent = Silent()
    with pytest.raises(DatasetError, match=r"points\.npz"):
        search_study(
            bench.settings, bench.store, study, wanted, silent, str, str, owns_process=False
        )
    assert target.kinds() == ["failing"]
    assert "points.npz" in target.posts[0]["text"]


@SQLITE
def test_a_dead_database_does_not_silence_the_end(
    bench: Bench, target: WebTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StudyError("the database is gone")

    study = bench.create()
    monkeypatch.setattr(announcing, "study_with_uuid", fail)
    ended(bench.store, study, target, None)
    assert target.kinds() == ["done"]
