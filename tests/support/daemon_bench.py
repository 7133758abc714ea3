"""A bench of several studies, which a daemon in a thread of the tests' process searches."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from toy_study import Bench
from toy_training import TOY
from waiting import wait_until

from tuner.errors import TunerError
from tuner.service.daemon import Daemon
from tuner.service.study_search import SearchSetup
from tuner.storage import daemon_rows, slots
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow, list_trials, trial_curve
from tuner.workers import EntryPoint


class ServiceBench(Bench):
    """A bench of several studies."""

    def add(
        self, name: str, trials: int, parameters: dict[str, Any] | None = None, **options: Any
    ) -> StudyRow:
        """A study with so many trials to do."""
        study = self.create(parameters, name=name, **options)
        slots.ensure_slots(self.store, study, trials)
        return study

    def trials_of(self, study: StudyRow) -> list[TrialRow]:
        return list_trials(self.store, study)

    def is_done(self, study: StudyRow) -> bool:
        return set(slots.slot_counts(self.store, study)) == {"done"}

    def wait_until_done(self, *studies: StudyRow) -> None:
        wait_until(lambda: all(map(self.is_done, studies)), timeout_s=60)

    def ends(self, study: StudyRow) -> list[list[str | None]]:
        """Of each trial, how its attempts ended."""
        return [[each.end for each in trial.attempts] for trial in self.trials_of(study)]

    def epochs_done(self, study: StudyRow) -> int:
        """How many epochs the study's trials have reported."""
        return sum(len(trial_curve(self.store, study, trial)) for trial in self.trials_of(study))

    @contextmanager
    def daemon(
        self,
        processes: int = 2,
        patterns: Sequence[str] = (),
        entry: EntryPoint = TOY,
        **setup_fields: Any,
    ) -> Iterator["InThread"]:
        own = self.store.another()
        row = daemon_rows.register(own, processes, patterns or None)
        lines: list[str] = []
        setup = SearchSetup(
            settings=self.settings,
            store=own,
            daemon_id=row.daemon_id,
            processes=processes,
            tell=lines.append,
            tracking=bool(self.tracking_uri),
            entry=entry,
            **setup_fields,
        )
        with InThread(Daemon(setup, row), lines) as running:
            yield running
        own.close()


@dataclass
class InThread:
    """A daemon in a thread, and the `lines` that it has told. `error`: what it ended by."""

    daemon: Daemon
    lines: list[str] = field(default_factory=list)
    error: TunerError | None = None

    def _run(self) -> None:
        try:
            self.daemon.run()
        except TunerError as error:
            self.error = error

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.daemon.end()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def lines_on(self, beginning: str) -> int:
        """How many lines it has told that begin so."""
        return sum(line.startswith(beginning) for line in self.lines)

    @property
    def skipped(self) -> dict[str, str]:
        return self.daemon.status.skipped
