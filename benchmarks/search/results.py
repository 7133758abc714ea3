"""Results of runs in a folder, one small file for each method, version of its code, table and seed.

A file is written whole or not at all, so a run that is killed goes on where it was, and several
processes and checkouts may share a folder. A method does not know its budget: a longer run serves
for a shorter one.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.search.simulator import SIMULATION, Course


@dataclass(frozen=True)
class Run:
    """One search. `version`: of the method's code. `fingerprint`: of the table."""

    method: str
    version: str
    table: str
    fingerprint: str
    seed: int
    workers: int
    lookup: str


class Results:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, run: Run, budget: int) -> Course | None:
        """The stored course of a run of at least `budget` epochs."""
        stored = _read(self._path(run))
        if stored is None or stored["run"] != _facts(run):
            return None
        course = Course(**stored["course"])
        return course if stored["budget"] >= budget or course.stuck else None

    def save(self, run: Run, budget: int, course: Course) -> None:
        path = self._path(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        content = {"run": _facts(run), "budget": budget, "course": asdict(course)}
        temporary.write_text(json.dumps(content) + "\n")
        temporary.replace(path)

    def versions(self, method: str) -> list[str]:
        """The versions of a method's code that have results, the newest first."""
        folders = [folder for folder in self._method(method).glob("*") if folder.is_dir()]
        return [f.name for f in sorted(folders, key=lambda f: f.stat().st_mtime, reverse=True)]

    def methods(self) -> Iterator[str]:
        """The names of all methods with results."""
        for folder in sorted(self._folder.glob("*")):
            path = next(folder.glob("*/*.json"), None)
            stored = None if path is None else _read(path)
            if stored is not None:
                yield stored["run"]["method"]

    def _method(self, method: str) -> Path:
        return self._folder / _slug(method)

    def _path(self, run: Run) -> Path:
        name = f"{_slug(run.table)}.seed{run.seed}.workers{run.workers}.{run.lookup}.json"
        return self._method(run.method) / run.version / name


def _facts(run: Run) -> dict[str, object]:
    return {**asdict(run), "simulation": SIMULATION}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _slug(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", name).strip("-")
