"""The tests in several processes, forked from the one that has collected them: to import
TensorFlow and MLflow and to collect takes 10 s, and is done once."""

import contextlib
import gc
import io
import os
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator
from itertools import count, groupby
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

import pytest
from prepared import prepare_fork_servers

Scope = Callable[[pytest.Item], object]
# For files whose searches train for real, in one process.
_FORK_SERVERS = 3
_COMMON = pytest.StashKey[Path]()


def run_forked(session: pytest.Session, numbers: range, processes: int, scope: Scope) -> None:
    """Run tests of the session in place of pytest's own loop. Tests of one scope, which lie beside
    each other, go to one process, in their order."""
    groups = groupby(numbers, lambda number: scope(session.items[number]))
    waiting = deque(list(group) for _, group in groups)
    session.config.stash[_COMMON] = _temporary_folder(session.config)
    # Else each process would look through all that was imported, and copy it: 0.3 s each time.
    gc.collect()
    gc.freeze()
    children = [_Child(session, waiting) for _ in range(min(processes, len(waiting)))]
    try:
        _serve(session, waiting, children)
    finally:
        # All at once: a child has copies of the connections of those before it.
        for child in children:
            child.connection.close()
        for child in children:
            child.end()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuse a test module that runs an operation as it is imported: TensorFlow starts threads for
    it, which a forked process does not have but waits for, for ever."""
    ran_before = _runs_tensorflow()
    report = yield
    if isinstance(collector, pytest.Module) and _runs_tensorflow() and not ran_before:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} runs TensorFlow as it is imported; do it in a test"
        report.result = []
    return report


def _runs_tensorflow() -> bool:
    for name in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it has just ended
            if name.read_text().startswith("tf_"):
                return True
    return False


class _Child:
    """A process that runs tests, as its parent sees it."""

    _names = count()

    def __init__(self, session: pytest.Session, waiting: deque[list[int]]) -> None:
        self._session, self._waiting = session, waiting
        self.not_begun: list[int] = []
        self.begun = 0
        self.connection, theirs = Pipe()
        folder = common_folder(session.config) / f"process-{next(self._names)}"
        self._pid = os.fork()
        if not self._pid:
            self.connection.close()
            _run_and_exit(session, theirs, folder)
        theirs.close()

    def receive(self) -> bool:
        """Act upon its next message. Whether there may be more."""
        try:
            kind, content = self.connection.recv()
        except (EOFError, ConnectionResetError):
            return False
        config = self._session.config
        match kind:
            case "more":
                tests = self._waiting.popleft() if self._waiting else []
                self.not_begun += tests
                self.connection.send(tests)
            case "begin":
                self.begun = self.not_begun.pop(0)
                item = self._session.items[self.begun]
                config.hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            case "report":
                report = config.hook.pytest_report_from_serializable(config=config, data=content)
                config.hook.pytest_runtest_logreport(report=report)
            case "warning":
                warning = warnings.WarningMessage(**content.pop("of"))
                config.hook.pytest_warning_recorded.call_historic(
                    kwargs=content | {"warning_message": warning}
                )
        return True

    def end(self) -> int:
        """Its exit code, once it has ended, as it does when its connection is closed."""
        self.connection.close()
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def _serve(session: pytest.Session, waiting: deque[list[int]], children: list[_Child]) -> None:
    """Until all tests are done. `children` holds those that have not ended."""
    while children:
        by_connection: dict[Any, _Child] = {child.connection: child for child in children}
        for connection in wait(list(by_connection)):
            child = by_connection[connection]
            if not child.receive():
                children.remove(child)
                if code := child.end():
                    _report_lost(session, child.begun, code)
                if child.not_begun:
                    waiting.appendleft(child.not_begun)
                    children.append(_Child(session, waiting))
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)


def _report_lost(session: pytest.Session, number: int, code: int) -> None:
    item = session.items[number]
    text = f"the process ended in or after this test, with exit code {code}"
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "call")
    session.config.hook.pytest_runtest_logreport(report=report)


def common_folder(config: pytest.Config) -> Path:
    """A temporary folder that all processes share."""
    return config.stash.get(_COMMON, None) or _temporary_folder(config)


def _temporary_folder(config: Any) -> Path:
    folder: Path = config._tmp_path_factory.getbasetemp()
    return folder


def _run_and_exit(session: pytest.Session, parent: Connection, folder: Path) -> None:
    """The whole life of a child."""
    code = 1
    try:
        _separate(session.config, folder)
        if "tuner.training.session" in sys.modules:
            prepare_fork_servers(_FORK_SERVERS, parent)
        reporter = _Reporter(session.config, parent)
        session.config.pluginmanager.register(reporter)
        reporter.warned_before = False
        _run(session, parent)
        code = 0
    except (KeyboardInterrupt, OSError, EOFError):
        pass  # The parent has ended, or will.
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        with contextlib.suppress(BaseException):
            session._setupstate.teardown_exact(None)
        # Not as an interpreter ends: what is to be done then is the parent's.
        os._exit(code)


def _separate(config: Any, folder: Path) -> None:
    """Share no open file and no folder with the parent and its other children."""
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture()
    config.pluginmanager.getplugin("terminalreporter")._tw._file = io.StringIO()
    folder.mkdir()
    config._tmp_path_factory._basetemp = folder


def _run(session: pytest.Session, parent: Connection) -> None:
    tests = _more(parent)
    while tests:
        item = session.items[tests.pop(0)]
        # Which fixtures stay depends on the test that comes next.
        tests = tests or _more(parent)
        parent.send(("begin", None))
        following = session.items[tests[0]] if tests else None
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _more(parent: Connection) -> list[int]:
    parent.send(("more", None))
    numbers: list[int] = parent.recv()
    return numbers


class _Reporter:
    """Tells the parent what pytest would print."""

    def __init__(self, config: pytest.Config, parent: Connection) -> None:
        self._config, self._parent = config, parent
        # pytest tells each new plugin of all warnings that there were, here the parent's.
        self.warned_before = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        hook = self._config.hook
        data = hook.pytest_report_to_serializable(config=self._config, report=report)
        self._parent.send(("report", data))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: Any
    ) -> None:
        if self.warned_before:
            return
        known = ("category", "filename", "lineno", "line")
        of = {name: getattr(warning_message, name) for name in known}
        of["message"] = str(warning_message.message)
        content = {"of": of, "when": when, "nodeid": nodeid, "location": location}
        self._parent.send(("warning", content))
