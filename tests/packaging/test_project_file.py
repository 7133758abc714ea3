"""What stands in pyproject.toml."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> list[str]:
    return [re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requirements]


def test_no_dependency_is_listed_twice() -> None:
    for requirements in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        found = names(requirements)
        assert len(found) == len(set(found))


def test_another_system_is_refused_in_one_line() -> None:
    assert "Operating System :: POSIX" in PROJECT["classifiers"]
    code = "import os; os.name = 'nt'; from tuner.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("tuner: this system (")
    assert "POSIX" in line
