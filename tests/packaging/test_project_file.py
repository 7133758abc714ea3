"""What stands in pyproject.toml and docker-compose.yml."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

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


def command_lines(service: dict[str, Any]) -> Iterator[str]:
    for place in (service, service.get("healthcheck", {})):
        for key in ("command", "entrypoint", "test"):
            words = place.get(key, [])
            yield from [words] if isinstance(words, str) else words


def test_no_command_line_of_a_container_has_the_password() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    words = [word for service in services.values() for word in command_lines(service)]
    assert any("pg_isready" in word for word in words)
    assert not any("PASSWORD" in word or re.search(r"://\w+:", word) for word in words)
    assert "${TUNER_DB_PASSWORD" in services["dashboard"]["environment"]["PGPASSWORD"]
