"""Runs the code blocks of a page. Every `tuner` that a block starts runs in this process, so that
nothing is imported twice, and all searches share a fork server. See also `small_searches`."""

import array
import contextlib
import json
import linecache
import os
import random
import runpy
import select
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import toy_training
import yaml
from doc_pages import Block

from tuner.study.messages import Ended, Report, Resumed, TrialRequest, WorkerSetup
from tuner.workers import EntryPoint

# What `tuner` is on a block's PATH: it has our process run the command on its own streams.
_SHIM = """#!{python} -SEs
import array, json, os, socket, sys
line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
line.connect({address!r})
order = {{"words": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
line.sendmsg([json.dumps(order).encode()], streams)
sys.exit(int(line.recv(32) or 1))
"""
# What `python script.py` is there: its searches are as small as all others.
_PYTHON = """#!/bin/sh
case "$1" in
  *.py) exec {python} -c 'import doc_runner; doc_runner.run_script()' "$@" ;;
  *) exec {python} "$@" ;;
esac
"""
_LARGEST_ORDER = 2**17
_MOST_TRIALS, _MOST_TOYS, _MOST_MORE, _MOST_EPOCHS = 1, 3, 1, 2


class BlockFailed(AssertionError):
    """A block that did not run; the text begins with its page and line."""


@contextlib.contextmanager
def small_searches(toy: bool = False) -> Iterator[None]:
    """Inside, searches train few trials of few epochs on one worker, and send nothing to MLflow.
    `toy`: they train no networks, but as toy_training.py does. Own networks are tried with few
    configurations."""
    import pytest
    from forked_tries import try_quickly

    from tuner.manage import creation, searching
    from tuner.reports import comparisons

    slots_wanted, optimize = searching.slots_wanted, searching.optimize
    define_study = creation.define_study

    def few(store: Any, study: Any, trials: int | None, more: int | None) -> int:
        trials = None if trials is None else min(trials, _MOST_TOYS if toy else _MOST_TRIALS)
        more = None if more is None else min(more, _MOST_MORE)
        return slots_wanted(store, study, trials, more)

    def small(settings: Any, store: Any, study: Any, options: Any, *rest: Any, **more: Any) -> Any:
        options = replace(options, workers=1, tracking=False)
        if toy and not study.spec.function_kind.trains:
            rest, more = rest[:2], more | {"entry": TOY}
        return optimize(settings, store, study, options, *rest, **more)

    def brief(space: Any, *rest: Any, **options: Any) -> Any:
        if not space.function_kind.defines_space:
            space = space.override({"epochs": _MOST_EPOCHS})
        return define_study(space, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        for module in (searching, comparisons):
            patch.setattr(module, "slots_wanted", few)
            patch.setattr(module, "optimize", small)
        for creating in (creation, comparisons):
            patch.setattr(creating, "define_study", brief)
        try_quickly(patch)
        yield


class ToySession(toy_training.ToySession):
    """Trains as a toy does, to a score that the parameters decide."""

    def events(self, request: TrialRequest) -> Iterator[Resumed | Report | Ended]:
        draw = random.Random(repr(sorted(request.params.items())))
        params = dict(request.params) | {"x": draw.uniform(0.6, 0.95)}
        return super().events(replace(request, params=params))


def open_toy(setup: WorkerSetup) -> ToySession:
    return ToySession(setup)


TOY = EntryPoint("doc_runner:open_toy", toy_training.PRELOAD)


def run_script() -> None:
    """Run the script that the command line names, as Python would."""
    sys.argv.pop(0)
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    with small_searches():
        runpy.run_path(sys.argv[0], run_name="__main__")


class PageRunner:
    """One page's blocks in one folder. `shim_folder` takes the commands on the blocks' PATH."""

    def __init__(self, folder: Path, shim_folder: Path) -> None:
        self.folder = folder
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._shims = shim_folder
        self._orders = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        address = str(shim_folder / "orders")
        self._orders.bind(address)
        self._orders.listen()
        for name, text in (("tuner", _SHIM), ("python", _PYTHON)):
            shim = shim_folder / name
            shim.write_text(text.format(python=sys.executable, address=address))
            shim.chmod(0o755)

    def close(self) -> None:
        self._orders.close()

    def run(self, block: Block) -> None:
        """Raises BlockFailed."""
        if block.file:
            target = self.folder / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.code, encoding="utf-8")
        if block.language == "yaml":
            self._check_space(block)
        elif block.file:
            pass
        elif block.language == "bash":
            self._run_bash(block)
        elif block.language == "python":
            self._run_python(block)

    def _check_space(self, block: Block) -> None:
        from tuner.errors import TunerError
        from tuner.search_space import load_space

        content = yaml.safe_load(block.code)
        if not isinstance(content, dict) or "network" not in content:
            return
        path = self.folder / (block.file or "shown.yaml")
        path.write_text(block.code, encoding="utf-8")
        try:
            load_space(str(path))
        except TunerError as error:
            raise BlockFailed(f"{block.place}: {error}") from None
        finally:
            if not block.file:
                path.unlink()

    def _run_python(self, block: Block) -> None:
        # Lines are counted as in the page, so that a traceback names them. Its source is where the
        # traceback and `inspect` look for it, as with a notebook's cell.
        name = f"<{block.place}>"
        source = "\n" * (block.line - 1) + block.code
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        try:
            exec(compile(source, name, "exec"), self._names)
        except BaseException as error:
            text = "".join(traceback.format_exception(error))
            raise BlockFailed(f"{block.place}: this python block raised\n{text}") from None

    def _run_bash(self, block: Block) -> None:
        output = self._shims / "output"
        path = os.pathsep.join([str(self._shims), os.environ["PATH"]])
        with output.open("wb") as written:
            bash = subprocess.Popen(
                ["bash", "-e", "-c", block.code],
                cwd=self.folder,
                env=os.environ | {"PATH": path, "PYTHONPATH": str(Path(__file__).parent)},
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
            )
            while bash.poll() is None:
                if select.select([self._orders], [], [], 0.02)[0]:
                    self._serve()
        if bash.returncode:
            code, text = bash.returncode, output.read_text(errors="replace")
            raise BlockFailed(f"{block.place}: this bash block ended with {code}\n{text}")

    def _serve(self) -> None:
        """Run the command of a shim that has called."""
        connection, _ = self._orders.accept()
        with connection:
            size = socket.CMSG_LEN(3 * array.array("i").itemsize)
            message, ancillary, _, _ = connection.recvmsg(_LARGEST_ORDER, size)
            order = json.loads(message)
            streams = [number for _, _, data in ancillary for number in array.array("i", data)]
            with _as_called(order, streams):
                code = _command(order["words"])
            with contextlib.suppress(BrokenPipeError):
                connection.send(str(code).encode())


def _command(words: Sequence[str]) -> int:
    """The exit code of `tuner` with these words."""
    from tuner.cli import main

    sys.argv = ["tuner", *words]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


@contextlib.contextmanager
def _as_called(order: dict[str, Any], streams: Sequence[int]) -> Iterator[None]:
    """Inside, this process has the folder, the environment and the streams of the caller."""
    folder, environment, arguments = Path.cwd(), dict(os.environ), sys.argv
    before = sys.stdin, sys.stdout, sys.stderr
    stdin, stdout, stderr = streams
    with (
        os.fdopen(stdin, encoding="utf-8") as sys.stdin,
        os.fdopen(stdout, "w", encoding="utf-8") as sys.stdout,
        os.fdopen(stderr, "w", encoding="utf-8", buffering=1) as sys.stderr,
    ):
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        try:
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = before
            sys.argv = arguments
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(folder)
