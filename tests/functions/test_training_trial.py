"""What `train(params, trial)` tells the loop, and what its trial does for it."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import NetworkError
from tuner.functions.function_session import FunctionSession
from tuner.search_space.function_kinds import FunctionKind
from tuner.study.artifacts import FolderArtifacts
from tuner.study.messages import (
    Checkpoints,
    Ended,
    Event,
    FunctionCode,
    Goal,
    Noted,
    Reply,
    Report,
    Resumed,
    TrialRequest,
    WorkerSetup,
)

GO_ON = Reply()
MOST_AUC = Goal("val_auc", "maximize")


class Trial:
    """Runs functions as a worker does, and keeps what they tell. `answer`: the loop's reply to a
    report of this epoch."""

    def __init__(self, folder: Path) -> None:
        self.artifacts = FolderArtifacts(folder)
        self.events: list[Event] = []
        self.session: FunctionSession | None = None

    def run(
        self,
        body: str,
        attempt: int = 1,
        answer: Callable[[int], Reply] = lambda epoch: GO_ON,
        goal: Goal = MOST_AUC,
    ) -> Any:
        """The last event of a function with this body."""
        lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
        text = f"def train(params, trial):\n{lines}\n"
        code = FunctionCode("mine.py", "train", text, ())
        setup = WorkerSetup(data=None, code=code, function_kind=FunctionKind.TRAIN)
        self.session, self.events = FunctionSession(setup), []
        request = TrialRequest(
            "mine.py:train",
            {"x": 0.5},
            seed=7,
            goal=goal,
            checkpoints=Checkpoints(self.artifacts, attempt),
            number=4,
        )

        def tell(event: Event) -> Reply:
            self.events.append(event)
            return answer(event.epoch) if isinstance(event, Report) else GO_ON

        self.session.run(request, tell)
        return self.events[-1]

    def reports(self) -> list[tuple[int, dict[str, float]]]:
        return [(each.epoch, each.metrics) for each in self.events if isinstance(each, Report)]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


THREE = """
for epoch, auc in ((1, 0.5), (2, 0.75), (4, 0.625)):
    is_best = trial.report(epoch, val_auc=auc, loss=1 - auc)
    assert is_best == (epoch < 4)
"""


def test_the_best_report_is_the_score(trial: Trial) -> None:
    ended = trial.run(THREE)
    assert trial.reports()[0] == (1, {"val_auc": 0.5, "loss": 0.5})
    assert (ended.end, ended.score, ended.best_epoch, ended.epochs) == ("complete", 0.75, 2, 4)
    assert ended.network == ""


def test_less_may_be_better(trial: Trial) -> None:
    body = "best = [trial.report(n, loss=v) for n, v in ((1, -2), (2, -3), (3, -1))]\n"
    ended = trial.run(body + "assert best == [True, True, False]", goal=Goal("loss", "minimize"))
    assert (ended.score, ended.best_epoch) == (-3.0, 2)


@pytest.mark.parametrize("returned", ["0.25", "{'val_auc': 0.25, 'other': 3}"])
def test_a_returned_value_is_reported(trial: Trial, returned: str) -> None:
    ended = trial.run(f"return {returned}", answer=lambda epoch: Reply(prune=True))
    assert (ended.end, ended.score) == ("complete", 0.25)
    assert trial.reports()[0][1]["val_auc"] == 0.25


@pytest.mark.parametrize("after", ["", "\nexcept Exception: pass"])
def test_a_pruned_trial_ends_as_pruned_though_its_function_goes_on(
    trial: Trial, after: str
) -> None:
    body = THREE if not after else "try:\n" + THREE.replace("\n", "\n    ").rstrip() + after
    ended = trial.run(body, answer=lambda epoch: Reply(prune=epoch == 2))
    assert [epoch for epoch, _ in trial.reports()] == [1, 2]
    assert (ended.end, ended.score) == ("pruned", 0.75)


def test_a_stopped_trial_tells_nothing_more(trial: Trial) -> None:
    body = "for epoch in (1, 2, 3):\n    try: trial.report(epoch, val_auc=1)\n    except: pass"
    trial.run(body, answer=lambda epoch: Reply(stop=True, checkpoint=True))
    assert [type(event) for event in trial.events] == [Report]


def test_what_a_stopped_function_raises_on_its_way_out_is_no_failure(trial: Trial) -> None:
    body = "try:\n    trial.report(1, val_auc=1)\nfinally:\n    raise ValueError('of the user')"
    trial.run(body, answer=lambda epoch: Reply(stop=True))
    assert [type(event) for event in trial.events] == [Report]


def test_a_value_that_is_not_finite_has_diverged(trial: Trial) -> None:
    ended = trial.run("trial.report(1, val_auc=0.5)\ntrial.report(2, val_auc=1, loss=float('nan'))")
    assert (ended.end, ended.score) == ("diverged", 0.5)


@pytest.mark.parametrize(
    ("body", "problem"),
    {
        "pass": r"has neither reported val_auc nor returned it: call trial\.report",
        "return 'good'": "val_auc must be a number, got 'good'",
        "return {'auc': 1}": "the study's objective val_auc is missing, there is auc",
        "trial.report(1, auc=1)": "the study's objective val_auc is missing, there is auc",
        "trial.report(1, val_auc='1')": "val_auc must be a number, got '1'",
        "trial.report(1.5, val_auc=1)": "the epoch must be a whole number, got 1.5",
        "trial.report(0, val_auc=1)": "epochs count from 1 and increase, got 0 after 0",
        "trial.report(2, val_auc=1)\ntrial.report(2, val_auc=1)": "got 2 after 2",
        "trial.log(model=trial)": "trial.log: values must be numbers, texts, lists",
        "trial.log(end=1)": "end is noted by tuner; take another name",
        "trial.log(x='x' * 200_000)": "200,009 characters are too many",
        "trial.save(lambda: 1)": "a function cannot be pickled",
        "trial.save('nowhere.pt')": "is no file; give a keras.Model, a file, bytes",
        "trial.data": "the study has no data; create it with --data SOURCE",
        "import sys; sys.exit(3)": r"called sys\.exit\(3\)",
    }.items(),
)
def test_mistakes_are_said_in_one_line(trial: Trial, body: str, problem: str) -> None:
    with pytest.raises(NetworkError, match=problem) as raised:
        trial.run(body)
    assert str(raised.value).startswith("mine.py:train")
    assert trial.session is not None
    failed = trial.session.failure(raised.value)
    assert (failed.kind, failed.message) == ("user_error", str(raised.value))


def test_what_is_logged_is_plain_data(trial: Trial) -> None:
    trial.run(
        "import numpy as np\n"
        "trial.log(rows=np.int64(3), curve=np.ones(2), share=np.float32(0.5), word='a')\n"
        "return 1"
    )
    assert trial.events[0] == Noted({"rows": 3, "curve": [1.0, 1.0], "share": 0.5, "word": "a"})


@pytest.mark.parametrize(
    ("model", "suffix", "content"),
    [
        ("b'weights'", ".bin", b"weights"),
        ("{'a': 1}", ".pkl", pickle.dumps({"a": 1}, protocol=5)),
        ("trial.directory / 'net.pt'", ".pt", b"torch"),
    ],
)
def test_the_last_network_that_was_saved_is_the_trials(
    trial: Trial, tmp_path: Path, model: str, suffix: str, content: bytes
) -> None:
    ended = trial.run(
        "(trial.directory / 'net.pt').write_bytes(b'torch')\n"
        f"trial.save(b'before')\ntrial.save([1])\ntrial.save({model})\nreturn 1"
    )
    assert ended.network == suffix
    assert trial.session is not None
    trial.session.save(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


RESUMING = """
state = trial.directory / "epoch"
done = int(state.read_text()) if state.exists() else 0
for epoch in range(done + 1, 5):
    if trial.report(epoch, val_auc={1: 0.1, 2: 0.9, 3: 0.3, 4: 0.4}[epoch]):
        trial.save(f"{epoch}".encode())
    state.write_text(str(epoch))
"""


def test_the_next_attempt_goes_on_with_all_that_was_reported(trial: Trial, tmp_path: Path) -> None:
    trial.run(RESUMING, answer=lambda epoch: Reply(stop=epoch == 3, checkpoint=epoch == 3))
    ended = trial.run(RESUMING, attempt=2)
    assert trial.events[0] == Resumed(2)
    assert [epoch for epoch, _ in trial.reports()] == [3, 4]
    assert (ended.score, ended.best_epoch, ended.network) == (0.9, 2, ".bin")
    assert trial.session is not None
    trial.session.save(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"2"


def test_an_attempt_that_begins_anew_counts_only_its_own(trial: Trial) -> None:
    trial.run(
        "trial.save(b'1')\ntrial.report(1, val_auc=0.9)\ntrial.report(2, val_auc=0.1)",
        answer=lambda epoch: Reply(stop=epoch == 2),
    )
    ended = trial.run("trial.report(1, val_auc=0.5)", attempt=2)
    assert isinstance(ended, Ended)
    assert (ended.score, ended.best_epoch, ended.network) == (0.5, 1, "")


def test_an_epoch_that_is_reported_again_counts_anew(trial: Trial) -> None:
    first = "trial.report(1, val_auc=0.2)\ntrial.report(2, val_auc=0.9)"
    trial.run(first, answer=lambda epoch: Reply(stop=epoch == 2))
    trial.run("trial.report(2, val_auc=0.3)", attempt=2, answer=lambda epoch: Reply(stop=True))
    ended = trial.run("trial.report(3, val_auc=0.1)", attempt=3)
    assert (ended.score, ended.best_epoch) == (0.3, 2)
    ended = trial.run("trial.report(2, val_auc=0.1)", attempt=4)
    assert (ended.score, ended.best_epoch) == (0.2, 1)
    trial.run("trial.report(1, val_auc=0.05)", attempt=5, answer=lambda epoch: Reply(stop=True))
    ended = trial.run("trial.report(3, val_auc=0.01)", attempt=6)  # 2 has not come since then
    assert (ended.score, ended.best_epoch) == (0.05, 1)


def test_what_is_pickled_names_the_users_file(trial: Trial, tmp_path: Path) -> None:
    trial.run("trial.report(1, val_auc=0.5)\nfrom mine import train as own\ntrial.save(own)")
    trial.session.save(tmp_path / "saved.pkl")  # type: ignore[union-attr]
    assert b"mine" in (tmp_path / "saved.pkl").read_bytes()
