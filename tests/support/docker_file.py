"""Reads a Dockerfile and a .dockerignore, as far as ours use them. What it does not know is an
error: nothing in them goes unread."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_KNOWN = (
    "ARG",
    "FROM",
    "WORKDIR",
    "COPY",
    "RUN",
    "ENV",
    "USER",
    "HEALTHCHECK",
    "ENTRYPOINT",
    "CMD",
)
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@dataclass(frozen=True)
class Step:
    """An instruction that changes files: RUN or COPY. `text`: what follows it, without options."""

    name: str
    text: str
    options: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]


@dataclass
class Stage:
    """What one FROM begins: the steps in order, and how the image starts."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def read_dockerfile(text: str, base_environment: Mapping[str, str]) -> list[Stage]:
    """The stages, the last of which is the image. `base_environment`: of the base images."""
    given: dict[str, str] = {}
    stages: list[Stage] = []
    for name, words in _instructions(text):
        assert name in _KNOWN, f"the interpreter does not know {name}"
        if name == "FROM":
            base, *rest = _expand(words, given).split()
            assert not rest or rest[0] == "AS", words
            environment = dict(base_environment)
            stages.append(Stage(base, rest[1] if rest else "", environment=environment))
        elif not stages:
            assert name == "ARG", f"{name} before FROM"
            given.update([_pair(words)])
        else:
            _add(stages[-1], name, words)
    return stages


def _add(stage: Stage, name: str, words: str) -> None:
    known = stage.environment | stage.arguments
    if name == "ARG":
        stage.arguments.update([_pair(words)])
    elif name == "ENV":
        stage.environment.update(_pair(_expand(word, known)) for word in shlex.split(words))
    elif name == "WORKDIR":
        stage.folder = _expand(words, known)
    elif name == "USER":
        stage.user = _expand(words, known)
    elif name == "ENTRYPOINT":
        stage.entrypoint = _strings(words)
    elif name == "CMD":
        stage.command = _strings(words)
    elif name == "HEALTHCHECK":
        options, command = words.split("CMD", 1)
        assert all(word.startswith("--") for word in options.split()), options
        stage.health = ["CMD", *_strings(command.strip())]
    else:
        options = re.match(r"(--\S+\s+)*", words)
        assert options is not None
        text = words[options.end() :]
        stage.steps.append(Step(name, text, tuple(options[0].split()), stage.folder, dict(known)))


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, words = line.strip().partition(" ")
            yield name, words.strip()


def _expand(text: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: known[match[1] or match[2]], text)


def _pair(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value.strip('"')


def _strings(text: str) -> list[str]:
    """A command in its JSON form, the only one that gets signals."""
    words = json.loads(text)
    assert all(isinstance(word, str) for word in words), text
    return list(words)


def allowed_by(ignore_file: str, path: str) -> bool:
    """Whether .dockerignore lets a path into the build. The last line that matches decides."""
    allowed = True
    for line in ignore_file.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        if _matches(pattern.removeprefix("!"), path):
            allowed = pattern.startswith("!")
    return allowed


def _matches(pattern: str, path: str) -> bool:
    """A pattern matches a path and all below it. Ours are names, `*` and `**/name`."""
    parts = Path(path).parts
    if pattern == "*":
        return True
    if pattern.startswith("**/"):
        return pattern[3:] in parts
    assert not set("*?[") & set(pattern), pattern
    return parts[: len(Path(pattern).parts)] == Path(pattern).parts
