"""What the containers of deploy/kubernetes run, run here: by their own command lines, environment,
volumes and probes, with toy trials."""

import re
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes_files import ProbeFailed, Resource, RunningContainer, kustomize, pods_of
from postgres_server import Postgres
from toy_study import Bench
from waiting import wait_until

from tuner.storage import open_store, slots
from tuner.storage.studies import StudyRow
from tuner.storage.trials import list_trials
from tuner.web.security.accounts import Accounts, Role

TOKEN = "a-token-that-nobody-guesses"
Change = Callable[[Resource], Any]


@dataclass
class Cluster:
    """A database with a study, and the secrets that docs/deploy/kubernetes.md makes."""

    folder: Path
    bench: Bench
    study: StudyRow
    secrets: dict[str, dict[str, str]]

    def container(self, name: str, folder: Path, change: Change | None = None) -> RunningContainer:
        """The container of a deployment, which `change` may damage first."""
        resource = kustomize()[f"Deployment/tuner-{name}"]
        if change is not None:
            change(resource)
        return RunningContainer(resource, self.secrets, folder)

    @property
    def epochs(self) -> list[int]:
        """How many epochs each trial has reported."""
        return [len(self.bench.curve(trial)) for trial in self.bench.trials]

    @property
    def ends(self) -> list[list[str | None]]:
        trials = list_trials(self.bench.store, self.study)
        return [[attempt.end for attempt in trial.attempts] for trial in trials]


@pytest.fixture(scope="module")
def cluster(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    store = open_store(postgres.url(postgres.create()))
    bench = Bench(folder, store)
    study = bench.create({"epochs": 40, "patience": 40, "pace": 0.05})
    slots.ensure_slots(store, study, 2)
    Accounts(folder / "users.json").put("ada", "correct horse battery", Role.OPERATOR)
    users = (folder / "users.json").read_text()
    secret = {
        "TUNER_STORAGE": bench.url,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "TUNER_CHECKPOINTS": str(folder / "checkpoints"),
        # The toys' code is trusted by this user; in a cluster --trust-code says so.
        "XDG_STATE_HOME": str(bench.settings.trusted_code.parents[1]),
    }
    yield Cluster(
        folder, bench, study, {"tuner": secret, "tuner-page": {"token": TOKEN, "users.json": users}}
    )
    store.close()


@pytest.fixture
def running(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., RunningContainer]]:
    """Starts containers, which end with the test."""
    started: list[RunningContainer] = []

    def start(name: str, change: Change | None = None) -> RunningContainer:
        folder = tmp_path / f"{name}{len(started)}"
        folder.mkdir()
        container = cluster.container(name, folder, change)
        container.start()
        started.append(container)
        return container

    yield start
    for container in started:
        container.process.kill()


def test_a_worker_trains_drains_and_the_next_one_goes_on(
    cluster: Cluster, running: Callable[..., RunningContainer]
) -> None:
    first = running("worker")
    first.wait_until_ready()
    wait_until(lambda: len(cluster.epochs) == 2 and min(cluster.epochs) >= 2, 60)
    assert first.succeeds("livenessProbe")
    assert 'tuner_trial_slots{state="claimed"} 2.0' in first.read("/metrics", "health")
    assert first.stop() == 0, first.printed
    assert cluster.ends == [["interrupted"]] * 2
    second = running("worker")
    second.wait_until_ready()
    wait_until(lambda: cluster.ends == [["interrupted", "complete"]] * 2, 60)
    assert second.stop() == 0, second.printed
    for trial in cluster.bench.trials:
        assert trial.attempts[1].resumed_epoch == trial.attempts[0].epochs


def test_the_page_asks_for_a_login_and_shows_prometheus_its_figures(
    running: Callable[..., RunningContainer],
) -> None:
    page = running("page")
    page.wait_until_ready()
    assert page.succeeds("livenessProbe")
    for token in ("", "another-token-of-that-length"):
        with pytest.raises(urllib.error.HTTPError, match=r"401|403"):
            page.read("/metrics", "page", token)
    assert "tuner_trial_slots" in page.read("/metrics", "page", TOKEN)
    assert page.stop() == 0, page.printed


def words(container: Resource, before: str, after: str | None = None) -> None:
    """Put a word of the command line in place of another, or take it away with its value."""
    arguments = container["args"]
    place = arguments.index(before)
    arguments[place : place + (1 if after else 2)] = [after] if after else []


def variable(container: Resource, name: str, **others: Any) -> None:
    [found] = [each for each in container["env"] if each["name"] == name]
    found |= others


DAMAGES: dict[str, tuple[str, Callable[[Resource], object]]] = {
    "an option that does not exist": ("worker", lambda c: words(c, "--health-port", "--port")),
    "loopback alone": ("worker", lambda c: words(c, "--health-host")),
    "another port": ("worker", lambda c: words(c, "9108", "9109")),
    "no endpoint": ("worker", lambda c: (words(c, "--health-host"), words(c, "--health-port"))),
    "a probe of another path": (
        "worker", lambda c: c["startupProbe"]["httpGet"].update(path="/healthz")
    ),
    "a key that the secret lacks": (
        "worker", lambda c: variable(c, "TUNER_STORAGE", valueFrom=key_of("tuner", "STORAGE"))
    ),
    "another database": (
        "worker", lambda c: variable(c, "TUNER_STORAGE", valueFrom=key_of("tuner-page", "token"))
    ),
    "a folder that is not mounted": ("page", lambda c: c.update(workingDir="/work")),
    "a users file that is not there": (
        "page", lambda c: words(c, "/secrets/users.json", "/secrets/users")
    ),
    "a token that is not there": (
        "page", lambda c: variable(c, "TUNER_UI_TOKEN", value="@/secrets/tokens")
    ),
    "a page for its own container": ("page", lambda c: words(c, "0.0.0.0", "127.0.0.1")),
    "a page's probe with a login": (
        "page", lambda c: c["readinessProbe"]["httpGet"].update(path="/metrics")
    ),
}  # fmt: skip


def key_of(secret: str, key: str) -> Resource:
    return {"secretKeyRef": {"name": secret, "key": key}}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_found(damage: str, running: Callable[..., RunningContainer]) -> None:
    name, change = DAMAGES[damage]
    with pytest.raises((ProbeFailed, KeyError)):
        started = running(name, lambda made: change(pods_of(made)["spec"]["containers"][0]))
        # What it says once it is up; then nothing is left to wait for.
        wait_until(
            lambda: (
                re.search("health: |Ctrl-C|processes for", started.printed) is not None
                or started.process.poll() is not None
            )
        )
        started.wait_until_ready(most_s=1)
