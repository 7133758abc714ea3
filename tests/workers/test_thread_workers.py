"""A back end is one module and a line in a table: threads keep the contract, and run a search."""

from pathlib import Path

import pytest
import thread_workers
from conformance import Conformance
from toy_study import Bench
from toy_training import BROKEN

from tuner.storage import open_store
from tuner.study.messages import WorkerSetup
from tuner.workers import BACK_ENDS, BackEnd, Workers

BACK_END: BackEnd = thread_workers


class TestThreadWorkers(Conformance):
    def open_workers(self, processes: int, setup: WorkerSetup) -> Workers:
        return BACK_END.open_workers(thread_workers.ENTRY, setup, processes=processes)

    def open_broken(self, setup: WorkerSetup) -> Workers:
        return BACK_END.open_workers(BROKEN, setup)


def test_a_search_on_a_back_end_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACK_ENDS, "threads", "thread_workers")
    bench = Bench(tmp_path, open_store(f"sqlite:///{tmp_path}/tuner.db"))
    bench.create()
    bench.run(4, 2, asked={"back_end": "threads"})
    assert bench.states == ["COMPLETE"] * 4
    assert {attempt.worker for trial in bench.trials for attempt in trial.attempts} == {0, 1}
