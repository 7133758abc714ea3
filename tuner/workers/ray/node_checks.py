"""What must be so on every node of a cluster before it trains: room, versions, shared storage."""

import pickle
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from tuner.errors import ArtifactError, WorkerError, first_line
from tuner.study.artifacts import Artifact, Artifacts

# Whose versions must be equal everywhere: they decide scores, and what the machines say to each
# other.
PACKAGES = ("tuner", "ray", "tensorflow", "keras", "numpy")
# How long the nodes have to answer: a node starts a Python process for it.
_ANSWER_S = 60.0
_MISSING = "none"
# So many nodes at most are named in a message.
_MOST_NODES = 5
_CONTENT = b"written by tuner to see which machines share this folder"
_CANNOT_REACH = (
    "does not reach the networks and checkpoints in {}: set TUNER_CHECKPOINTS to a folder that all "
    "machines share, or to s3://BUCKET/FOLDER"
)


@dataclass(frozen=True)
class ClusterNode:
    """A node of the cluster. `room`: of all its CPUs and GPUs, whoever uses them."""

    id: str
    host: str
    address: str
    room: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.host} ({self.address})"

    def has_room(self, cpus: float, gpus: float) -> bool:
        return workers_on(self.room, cpus, gpus) > 0

    @property
    def room_text(self) -> str:
        """ "vm (10.0.0.2) has 4 CPUs, 0 GPUs"."""
        return f"{self} has {format_amounts(self.room.get('CPU', 0.0), self.room.get('GPU', 0.0))}"


def workers_on(room: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many worker processes that take so much of their node have room on it, if nothing else
    runs there. `room`: the node's CPUs and GPUs, by Ray's names."""
    wanted = [(name, each) for name, each in (("CPU", cpus), ("GPU", gpus)) if each]
    # 0.3 / 0.1 is a little less than 3.
    return min((int(room.get(name, 0) / each + 1e-9) for name, each in wanted), default=0)


def format_amounts(cpus: float, gpus: float) -> str:
    """ "1 CPU, 2 GPUs"."""
    return f"{cpus:g} CPU{'' if cpus == 1 else 's'}, {gpus:g} GPU{'' if gpus == 1 else 's'}"


@dataclass(frozen=True)
class Expected:
    """What a node must have: these versions, and `written`, a file in `artifacts` that the machine
    of the search wrote; both None where nothing is shared."""

    versions: Mapping[str, str]
    artifacts: Artifacts | None = None
    written: Artifact | None = None

    def problem_here(self) -> str:
        """What is wrong on the node that calls this, in a line; "" if it may train."""
        return describe_differences(own_versions(), self.versions) or self.storage_problem()

    def storage_problem(self) -> str:
        """Why this machine cannot read what the search's machine wrote, in a line, else ""."""
        if self.artifacts is None or self.written is None:
            return ""
        try:
            self.artifacts.get(self.written)
        except (OSError, ArtifactError) as error:
            return f"it {_CANNOT_REACH.format(self.artifacts)} ({first_line(error)})"
        return ""

    def write_back(self, name: str) -> Artifact | None:
        """Write a file from here, which the search's machine must find."""
        if self.artifacts is None:
            return None
        return self.artifacts.put(name, _CONTENT)


@contextmanager
def checked_nodes(
    trial_cpus: float, trial_gpus: float, artifacts: Artifacts | None
) -> Iterator[Expected]:
    """Check all nodes that have room for a worker. Those that join while the context lasts are
    checked by `Expected.problem_here`. Raises WorkerError, in one line, where no node has room,
    where versions are others than here, or where a node does not share `artifacts`."""
    nodes = nodes_with_room(trial_cpus, trial_gpus)
    folder = f"ray-check-{uuid.uuid4().hex}"
    try:
        written = None if artifacts is None else _write(artifacts, f"{folder}/search")
        expected = Expected(own_versions(), artifacts, written)
        problems = _node_problems(nodes, expected, folder)
        if problems:
            raise WorkerError(_in_a_line(problems))
        yield expected
    finally:
        if artifacts is not None:
            artifacts.sweep(folder)


def _write(artifacts: Artifacts, name: str) -> Artifact:
    """Raises WorkerError."""
    try:
        return artifacts.put(name, _CONTENT)
    except (OSError, ArtifactError) as error:
        reason = first_line(error)
        raise WorkerError(f"this machine cannot write to {artifacts}: {reason}") from error


def _node_problems(nodes: Sequence[ClusterNode], expected: Expected, folder: str) -> list[str]:
    """What is wrong with the nodes that may not train, a line each. All are asked at once."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(_make_question())
    answers = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote(PACKAGES, dict(expected.versions), pickle.dumps((expected, f"{folder}/{node.id}")))
        for node in nodes
    ]
    ray.wait(answers, num_returns=len(answers), timeout=_ANSWER_S)
    problems = [_read_answer(answer, expected) for answer in answers]
    return [
        f"node {node}: {problem}" for node, problem in zip(nodes, problems, strict=True) if problem
    ]


def _in_a_line(texts: Sequence[str]) -> str:
    others = len(texts) - _MOST_NODES
    return "; ".join(texts[:_MOST_NODES]) + (f"; and {others} more" if others > 0 else "")


def _read_answer(answer: Any, expected: Expected) -> str:
    import ray

    try:
        versions, problem, written = ray.get(answer, timeout=0.1)
    except ray.exceptions.GetTimeoutError:
        return f"it did not answer within {_ANSWER_S:g} s"
    except ray.exceptions.RayError as error:
        return f"it cannot be asked: {first_line(error)}"
    different = describe_differences(versions, expected.versions)
    if different or problem:
        return different or problem
    try:
        if expected.artifacts is not None:
            expected.artifacts.get(Artifact(*written))
    except (OSError, ArtifactError) as error:
        return f"what it writes to {expected.artifacts} is not seen here ({first_line(error)})"
    return ""


def _make_question() -> Callable[..., Any]:
    """The function that nodes run to answer. It goes to them by value, since it is made here: they
    may have no tuner, or another one."""

    def answer(
        packages: tuple[str, ...], ours: dict[str, str], sent: bytes
    ) -> tuple[dict[str, str], str, tuple[Any, ...]]:
        import importlib.metadata
        import pickle
        import platform

        versions = {"python": platform.python_version()}
        for name in packages:
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                versions[name] = "none"
        if versions["tuner"] != ours["tuner"]:
            return versions, "", ()
        try:
            expected, name = pickle.loads(sent)
            problem = expected.storage_problem()
            written = None if problem else expected.write_back(name)
        except Exception as error:  # told to the user, who knows the machine
            return versions, f"{type(error).__name__}: {error}", ()
        kept = () if written is None else (written.path, written.size, written.sha256)
        return versions, problem, kept

    return answer


def nodes_with_room(trial_cpus: float, trial_gpus: float) -> list[ClusterNode]:
    """Those whose CPUs and GPUs are enough for a worker. Raises WorkerError without one."""
    import ray

    nodes = [
        ClusterNode(each["NodeID"], each["NodeManagerHostname"], each["NodeManagerAddress"], room)
        for each in ray.nodes()
        if each["Alive"] and (room := each["Resources"])
    ]
    fitting = [node for node in nodes if node.has_room(trial_cpus, trial_gpus)]
    if not fitting:
        wanted = format_amounts(trial_cpus, trial_gpus)
        raise WorkerError(
            f"no node of the cluster has room for a worker, which takes {wanted}: "
            f"{_in_a_line([node.room_text for node in nodes])}"
        )
    return fitting


def own_versions() -> dict[str, str]:
    """The versions on this machine, by name: python's and those of PACKAGES. "none" for what is
    not installed."""
    return {"python": python_version()} | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return _MISSING


def describe_differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """ "tensorflow 2.20.0 there, 2.21.0 here", or "" where all that both name is equal. Of Python
    the first two numbers count."""
    different = [
        f"{name} is not installed there"
        if theirs[name] == _MISSING
        else f"{name} {theirs[name]} there, {own} here"
        for name, own in ours.items()
        if name in theirs and _what_counts(name, theirs[name]) != _what_counts(name, own)
    ]
    return "; ".join(different)


def _what_counts(name: str, text: str) -> str:
    return ".".join(text.split(".")[:2]) if name == "python" else text
