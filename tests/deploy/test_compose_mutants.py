"""Each line of docker-compose.yml and of the Dockerfile that a service starts by, broken: the
review of compose_review.py must refuse it. test_compose.py shows that the files as they are work.
"""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from compose_review import is_refused, review

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# What may be otherwise without harm, and why.
HARMLESS = {"mlflow command 6 changed": "MLflow's number of processes"}
# Lines that no loop below reaches: what stands there, and what would be wrong.
CHANGES = (
    ("  cap_drop: [ALL]\n", ""),
    ("tmpfs: [/tmp, /run/postgresql]", "tmpfs: [/tmp]"),
    ("database: {condition: service_healthy}\n      mlflow", "mlflow"),
    ("/databases.sql:ro", "/databases.sql"),
    ("/mlflow-auth.ini:ro", "/mlflow-auth.ini"),
    ("start_period: 60s", "start_period: 1s"),
    ('volumes: ["data:/data"]', 'volumes: ["datasets:/data"]'),
    ('restart: "no"', "restart: always"),
    ("profiles: [command]", "profiles: []"),
    ("TUNER_WORKERS", "WORKERS"),
    ("TUNER_WORKER_CPUS", "WORKER_CPUS"),
    ("stop_grace_period: 2m", "stop_grace_period: 5s"),
    ("  build: .\n", ""),
    ("    entrypoint: [mlflow]", "    image: tuner:0.1\n    entrypoint: [mlflow]"),
    ("no-new-privileges:true", "no-new-privileges:false"),
    ("  init: true\n", ""),
)
Mutant = tuple[str, str, str]


def test_the_files_fit_together() -> None:
    review(COMPOSE, DOCKERFILE)


def test_each_variable_of_the_example_is_read_and_the_other_way_round() -> None:
    example = re.findall(r"^#?(\w+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)
    passed_on = re.findall(r"^  (AWS_\w+):$", COMPOSE, re.MULTILINE)
    assert {*re.findall(r"\$\{(\w+)", COMPOSE), *passed_on} == set(example)


def mutants() -> Iterator[Mutant]:
    """A name, and both files, one of them with one thing left out or changed."""
    content = yaml.safe_load(COMPOSE)
    for name, service in content["services"].items():
        for kind in ("environment", "command", "entrypoint"):
            if kind in service:
                yield from compose_mutants(content, name, (kind,))
        if "test" in service.get("healthcheck", {}):
            yield from compose_mutants(content, name, ("healthcheck", "test"))
        for key in ("image", "volumes", "ports", "depends_on", "restart", "tmpfs", "read_only"):
            if key in service and name != "tuner":
                yield f"{name} {key} left-out", changed(content, name, (), key, None), DOCKERFILE
    for old, new in CHANGES:
        assert old in COMPOSE
        yield f"{old.strip()} -> {new.strip()}", COMPOSE.replace(old, new, 1), DOCKERFILE
    yield "uv without its hash", COMPOSE, DOCKERFILE.replace(" --require-hashes", "")
    yield from docker_mutants()
    for variable in re.findall(r"\$\{(\w+):\?", COMPOSE):
        yield (
            f"secret {variable} changed",
            COMPOSE.replace(f"{{{variable}:?", "{OTHER:?"),
            DOCKERFILE,
        )


def compose_mutants(content: Any, name: str, path: tuple[str, ...]) -> Iterator[Mutant]:
    values = content["services"][name]
    for key in path:
        values = values[key]
    if isinstance(values, str):
        values = values.split()
    keys = list(values) if isinstance(values, dict) else range(len(values))
    for key in keys:
        label = f"{name} {path[-1]} {key}"
        yield f"{label} left-out", changed(content, name, path, key, None), DOCKERFILE
        if values[key] is not None:
            new = f"{values[key]}x"
            yield f"{label} changed", changed(content, name, path, key, new), DOCKERFILE


def changed(content: Any, name: str, path: tuple[str, ...], key: Any, value: str | None) -> str:
    """The file with another value at a place of a service, or none."""
    content = copy.deepcopy(content)
    values = content["services"][name]
    for step in path[:-1]:
        values = values[step]
    if path:
        if isinstance(values[path[-1]], str):
            values[path[-1]] = values[path[-1]].split()
        values = values[path[-1]]
    if value is None:
        del values[key]
    else:
        values[key] = value
    return yaml.safe_dump(content, sort_keys=False)


def docker_mutants() -> Iterator[Mutant]:
    """Of the part of the Dockerfile that says how a container starts; test_compose.py runs the
    rest."""
    head, last = DOCKERFILE.rsplit("\nFROM ", 1)
    for name in ("HEALTHCHECK", "ENTRYPOINT", "CMD"):
        pattern = rf"^{name} (?:[^\n]*\\\n\s*CMD )?(\[[^\n]*\])$"
        match = re.search(pattern, last, re.MULTILINE)
        assert match is not None, name
        words = json.loads(match[1])
        for number in range(len(words)):
            for label, new in (("left-out", []), ("changed", [f"{words[number]}x"])):
                broken = [*words[:number], *new, *words[number + 1 :]]
                text = f"{last[: match.start(1)]}{json.dumps(broken)}{last[match.end(1) :]}"
                yield f"image {name} {number} {label}", COMPOSE, f"{head}\nFROM {text}"
    for line in ("USER 10001:10001\n", "WORKDIR /data\n", "HOME=/data", "PATH=/opt/tuner/bin:"):
        assert line in last
        yield (
            f"image {line.split('=')[0].strip()}",
            COMPOSE,
            f"{head}\nFROM {last.replace(line, '')}",
        )


def test_each_broken_line_is_found() -> None:
    found: dict[str, bool] = {}
    for name, compose, dockerfile in mutants():
        found[name] = is_refused(compose, dockerfile)
    assert len(found) > 100
    assert [name for name, is_found in found.items() if not is_found] == list(HARMLESS)
