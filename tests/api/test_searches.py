"""`Study.optimize` in scripts, threads and forked processes; how it ends."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from api_studies import QUICK, toy
from toy_study import Bench

import tuner
from tuner import SearchFailed, Study, StudyError, Trial, TunerError, UsageError
from tuner.storage.studies import load_study
from tuner.storage.trials import list_trials

# A trial that takes a minute.
LONG = {"pace": 0.1, "epochs": 600, "patience": 600}


def states(study: Study) -> list[str]:
    return [trial.state for trial in study.trials]


def test_calls_add_up_to_the_trials_asked_for(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    study = toy(bench)
    assert study.optimize(2, workers=1, tracking=False) is study
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "2/2  trial 1    complete       val_accuracy" in printed.err
    assert len(study.optimize(2, **QUICK).trials) == 2
    study.optimize(more=1, **QUICK)
    assert states(study) == ["complete"] * 3
    assert capsys.readouterr() == ("", "")
    assert study.best_value == max(trial.value or 0.0 for trial in study.trials)
    assert study.best_params == study.best_trial.params


def test_two_studies_are_searched_from_two_threads(bench: Bench) -> None:
    studies = [toy(bench, "a"), toy(bench, "b")]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads = [threading.Thread(target=lambda s=s: s.optimize(2, **QUICK)) for s in studies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [states(study) for study in studies] == [["complete"] * 2] * 2
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_a_callback_is_given_each_trial_and_may_stop_the_search(bench: Bench) -> None:
    study = toy(bench)
    seen: list[tuple[Study, Trial]] = []

    def callback(study: Study, trial: Trial) -> None:
        seen.append((study, trial))
        if len(seen) == 2:
            study.stop()

    study.optimize(5, callbacks=[callback], **QUICK)
    assert [(each, trial.number, trial.state) for each, trial in seen] == [
        (study, 0, "complete"),
        (study, 1, "complete"),
    ]
    assert seen[0][1].metrics["val_accuracy"] == seen[0][1].value
    assert len(study.optimize(3, **QUICK).trials) == 3  # a later search is not stopped


def test_a_trial_that_lost_its_worker_is_given_once_it_has_ended(bench: Bench) -> None:
    seen: list[tuple[int, str]] = []

    def callback(study: Study, trial: Trial) -> None:
        seen.append((trial.number, trial.state))

    toy(bench, act="crash", at=1, crashes=1).optimize(1, callbacks=[callback], **QUICK)
    assert seen == [(0, "complete")]


def test_an_error_in_a_callback_ends_the_search(bench: Bench) -> None:
    study = toy(bench)

    def callback(study: Study, trial: Trial) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        study.optimize(4, callbacks=[callback], **QUICK)
    assert "running" not in states(study)
    study.optimize(2, **QUICK)
    assert states(study)[:2] == ["complete"] * 2


class Watching:
    """A progress that acts as soon as a trial has trained an epoch."""

    def __init__(self, act: Any) -> None:
        self._act, self._has_acted = act, False

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def stage(self, text: str) -> None:
        return

    def changed(self, status: Any) -> None:
        if not self._has_acted and any(worker.epoch >= 1 for worker in status.workers):
            self._has_acted = True
            self._act()

    def trial_ended(self, *_: object) -> None:
        return


def test_another_thread_stops_a_search(bench: Bench) -> None:
    study = toy(bench, **LONG)
    began = threading.Event()
    options = QUICK | {"progress": Watching(began.set)}
    thread = threading.Thread(target=lambda: study.optimize(3, **options))
    thread.start()
    assert began.wait(60)
    study.stop()
    thread.join(60)
    assert not thread.is_alive()
    (trial,) = study.trials
    assert (trial.state, trial.end) == ("waiting", "interrupted")


def test_ctrl_c_puts_trials_back_and_is_raised(bench: Bench) -> None:
    study = toy(bench, **LONG)
    before = signal.getsignal(signal.SIGINT)
    options = QUICK | {"progress": Watching(lambda: os.kill(os.getpid(), signal.SIGINT))}
    with pytest.raises(KeyboardInterrupt):
        study.optimize(3, **options)
    assert signal.getsignal(signal.SIGINT) == before
    assert [(trial.state, trial.end) for trial in study.trials] == [("waiting", "interrupted")]


def test_a_signal_goes_on_to_whoever_handled_it(bench: Bench) -> None:
    study = toy(bench, **LONG)
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        options = QUICK | {"progress": Watching(lambda: os.kill(os.getpid(), signal.SIGTERM))}
        study.optimize(3, **options)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]
    assert states(study) == ["waiting"]


def test_three_failures_raise_the_users_traceback(bench: Bench) -> None:
    study = toy(bench, act="raise", at=1)
    with pytest.raises(SearchFailed) as raised:
        study.optimize(5, **QUICK)
    assert isinstance(raised.value, TunerError)
    first, *rest = str(raised.value).splitlines()
    assert first.startswith("three trials in a row failed; trial 2: ")
    assert rest[-1].startswith("Traceback: ValueError(")
    assert states(study) == ["fail"] * 3
    assert study.trial(2).error == raised.value.detail


def test_a_forked_process_reads_and_searches(bench: Bench) -> None:
    study = toy(bench)
    study.optimize(1, **QUICK)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            study.enqueue_trial({"x": 0.25})
            study.optimize(2, **QUICK)
            os.write(writer, repr(states(study)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1000).decode() == "['complete', 'complete']"
    assert states(study.optimize(3, **QUICK)) == ["complete"] * 3
    os.close(reader)
    os.close(writer)


SCRIPT = """\
import functools, pathlib
with open("runs.txt", "a") as runs:
    runs.write("once\\n")
import tuner
from tuner.manage import searching
from toy_study import TOY_ALONE
searching.optimize = functools.partial(searching.optimize, entry=TOY_ALONE)
study = tuner.load_study("toy").optimize(trials=3, workers=2, tracking=False)
print(len(study.trials))
"""


def test_workers_do_not_run_a_script_again(bench: Bench, tmp_path: Path) -> None:
    """It has no `if __name__ == "__main__"`."""
    toy(bench)
    (tmp_path / "script.py").write_text(SCRIPT)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "script.py"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    assert (tmp_path / "runs.txt").read_text() == "once\n"


def test_calls_in_a_file_that_tuner_imports_are_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import tuner\ntuner.create_study(data='mine.py:load')\ndef load():\n    return None\n"
    )
    with pytest.raises(tuner.DatasetError) as raised:
        tuner.create_study(data="mine.py:load")
    (line,) = str(raised.value).splitlines()
    assert line.startswith("mine.py:2: ")
    assert 'put the calls under if __name__ == "__main__":' in line
    assert tuner.list_studies() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either trials, the study's total, or more, how many to add"),
        ({"trials": "3"}, "trials must be a whole number, got '3'"),
        ({"trials": 3, "workers": 0}, "workers must be between 1 and"),
        ({"trials": 3, "timeout": "soon"}, "timeout must be a time such as 90s, 30m or 2h"),
        ({"trials": 3, "trial_memory": -1}, "trial_memory must be a size such as 512MiB or 4GiB"),
        ({"trials": 3, "target": "x"}, "target must be a finite number, got 'x'"),
        ({"trials": 3, "engine": "gpu"}, "engine must be auto or keras, got 'gpu'"),
        ({"trials": 3, "log_models": "some"}, "log_models must be best, all or none"),
        ({"trials": 3, "tracking": "no"}, "tracking must be True or False, got 'no'"),
        ({"trials": 3, "callbacks": 5}, "callbacks must be a list of functions, got 5"),
        ({"trials": 3, "progress": "bar"}, "progress must be True, False, or an object with"),
        ({"trials": 3, "notify": 5}, "notify must be an address or a list of them, got 5"),
        ({"trials": 3, "notify": ["ftp://h"]}, "notify: its scheme ftp is none of them; it takes"),
        ({"trials": 3, "notify": "smtp://h"}, "notify smtp://h: say who is written to"),
        ({"trials": 3, "data": 5}, "data must be a text or a path, got 5"),
    ],
)
def test_options_out_of_range_are_refused(
    bench: Bench, options: dict[str, Any], message: str
) -> None:
    study = toy(bench)
    with pytest.raises(UsageError) as raised:
        study.optimize(**options)
    assert message in str(raised.value)
    assert "--" not in str(raised.value)  # Python's names, not the command's
    assert study.trials == []


def test_a_study_that_was_deleted_is_no_other(bench: Bench) -> None:
    """SQLite gives its id to the next study."""
    study = toy(bench)
    trial = study.enqueue_trial({"x": 0.5})
    optuna_study = study.optuna_study
    study.delete()
    again = toy(bench)
    assert study != again
    for use in (lambda: study.trials, lambda: trial.curves(), lambda: optuna_study.trials):
        with pytest.raises(StudyError, match="was deleted"):
            use()
    assert list_trials(bench.store, load_study(bench.store)) == []
