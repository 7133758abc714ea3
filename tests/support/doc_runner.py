"""Runs the code blocks of a page. Every `tuner` that a block starts runs in this process, so that
nothing is imported twice, and all searches share a fork server. Searches are small: see `small`."""

import array
import contextlib
import json
import linecache
import os
import select
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from doc_pages import Block

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
_LARGEST_ORDER = 2**17
_LARGEST = {"--trials": 3, "--more": 3, "--epochs": 2, "--seeds": 1}
# Options that a command gets unless the page gives them.
_ADDED = {
    ("study", "create"): ("--epochs", "2"),
    ("optimize",): ("--workers", "1"),
    ("compare",): ("--workers", "1"),
}


class BlockFailed(AssertionError):
    """A block that did not run; the text begins with its page and line."""


def small(words: Sequence[str], tracking: bool) -> list[str]:
    """A command line with few trials and epochs, on one worker. `tracking`: leave MLflow on."""
    words = [word for given in words for word in _split(given)]
    for option, most in _LARGEST.items():
        for i, word in enumerate(words[:-1]):
            if word == option and words[i + 1].isdigit():
                words[i + 1] = str(min(int(words[i + 1]), most))
    for command, (option, value) in _ADDED.items():
        if tuple(words[: len(command)]) == command and not {option, "--help"} & {*words}:
            words += [option, value]
    if words[:1] in (["optimize"], ["compare"]) and not tracking and "--help" not in words:
        words.append("--no-tracking")
    return words


def _split(word: str) -> list[str]:
    option, equals, value = word.partition("=")
    return [option, value] if equals and option in _LARGEST else [word]


class PageRunner:
    """One page's blocks in one folder. `shim_folder` takes the commands on the blocks' PATH."""

    def __init__(self, folder: Path, shim_folder: Path, tracking: bool) -> None:
        self.folder, self.tracking = folder, tracking
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._shims = shim_folder
        self._orders = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        address = str(shim_folder / "orders")
        self._orders.bind(address)
        self._orders.listen()
        shim = shim_folder / "tuner"
        shim.write_text(_SHIM.format(python=sys.executable, address=address))
        shim.chmod(0o755)
        (shim_folder / "python").symlink_to(sys.executable)

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
                env=os.environ | {"PATH": path},
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
                code = _command(small(order["words"], self.tracking))
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
