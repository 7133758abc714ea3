"""The team's server of docker-compose.yml, brought up: the lines of the Dockerfile, then each
service by its own command line, environment and health check, as containers.py says."""

import base64
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from compose_file import ComposeFile, read_compose, read_environment
from containers import GATEWAY, Container, Project, why_no_containers
from waiting import wait_until

# To bring it up takes a minute, and more beside other tests.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
TRIALS = 6
STUDY = f"study create first --data digits --network mlp --trials {TRIALS}"
RUNNING = """select distinct tuner_loops.host from tuner_attempts
             join tuner_loops using (study_uuid, loop_id) where ended_at is null"""
ENDED = "select count(*) from trials where state in ('COMPLETE', 'PRUNED')"
NUMBERS = "select number from trials order by number"
HOSTS = "select count(distinct host) from tuner_loops"
RUNS = "/api/2.0/mlflow/runs/search"
EXPERIMENT = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=first"


def made_environment(folder: Path) -> dict[str, str]:
    """What deploy/compose/make-env.sh writes."""
    place = folder / "deploy" / "compose"
    shutil.copytree(ROOT / "deploy" / "compose", place)
    shutil.copy(ROOT / ".env.example", folder)
    (place / "databases.sql").chmod(0o600)  # as a clone under umask 077 leaves it
    script = ["sh", str(place / "make-env.sh")]
    subprocess.run(script, check=True, capture_output=True)
    assert (place / "databases.sql").stat().st_mode & 0o777 == 0o644
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    again = subprocess.run(script, capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (1, "there is a .env already; nothing was changed\n")
    return read_environment((folder / ".env").read_text())


@dataclass
class Team:
    """`secrets`: of .env, by their names."""

    project: Project
    file: ComposeFile
    secrets: Mapping[str, str]

    def query(self, sql: str) -> list[str]:
        """The rows, asked for in the database's container."""
        (database,) = self.project.of("database")
        options = "--no-psqlrc --tuples-only --no-align --host /var/run/postgresql"
        words = ["psql", *options.split(), "--username", "postgres", "--dbname", "tuner"]
        done = database.run([*words, "--command", sql])
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    @property
    def basic(self) -> str:
        """MLflow's login as a header."""
        login = f"admin:{self.secrets['MLFLOW_ADMIN_PASSWORD']}"
        return f"Basic {base64.b64encode(login.encode()).decode()}"

    @property
    def bearer(self) -> str:
        return f"Bearer {self.secrets['TUNER_UI_TOKEN']}"


def ask(url: str, body: Any = None, **headers: str) -> tuple[int, str]:
    """The status and the text of an answer; a redirect is not followed."""
    data = None if body is None else json.dumps(body).encode()
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=60) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """The server, reached at GATEWAY by one variable of .env, with two workers and a study."""
    if reason := why_no_containers():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("compose")
    secrets = made_environment(folder / "project")
    file = read_compose(
        (ROOT / "docker-compose.yml").read_text(), {**secrets, "TUNER_BIND": GATEWAY}
    )
    (folder / "containers").mkdir()
    with Project(folder / "containers", ROOT) as project:
        project.build((ROOT / "Dockerfile").read_text(), "tuner")
        project.up(file, {"worker": 2})
        project.run(file, "tuner", *STUDY.split())
        for container in list(project.containers):
            if container.service.name != "tuner":
                project.wait_healthy(container)
        yield Team(project, file, secrets)


@pytest.mark.tensorflow
def test_a_killed_worker_costs_no_trial(team: Team) -> None:
    """It is started again, and the study ends with its exact total."""
    running: list[str] = []

    def both_run() -> bool:
        running[:] = team.query(RUNNING)
        return len(running) == 2

    wait_until(both_run, 120, every_s=0.3)
    (killed,) = (each for each in team.project.of("worker") if each.order["hostname"] == running[0])
    for program in killed.programs():
        os.kill(program, 9)
    assert killed.process.wait(10) == 128 + 9
    (again,) = team.project.restart_ended()
    wait_until(lambda: team.query(ENDED) == [str(TRIALS)], 180, every_s=0.5)
    assert team.query(NUMBERS) == [str(number) for number in range(TRIALS)]
    assert team.query(HOSTS) == ["3"]
    team.project.wait_healthy(again)


def test_mlflow_has_the_trials_for_who_logs_in(team: Team) -> None:
    address = f"http://{GATEWAY}:5000"
    project = team.project
    assert project.ask(lambda: ask(address + EXPERIMENT))[0] == 401
    wrong = f"Basic {base64.b64encode(b'admin:wrong-password').decode()}"
    assert project.ask(lambda: ask(address + EXPERIMENT, Authorization=wrong))[0] == 401

    def statuses() -> list[str]:
        code, text = project.ask(lambda: ask(address + EXPERIMENT, Authorization=team.basic))
        assert code == 200, text
        ids = [json.loads(text)["experiment"]["experiment_id"]]
        # What a browser sends from a page of this address.
        headers = {"Authorization": team.basic, "Origin": address}
        code, text = project.ask(lambda: ask(address + RUNS, {"experiment_ids": ids}, **headers))
        assert code == 200, text
        runs = [run for run in json.loads(text).get("runs", []) if "trial" in tags_of(run)]
        return [run["info"]["status"] for run in runs]

    seen: list[str] = []

    def all_arrived() -> bool:
        seen[:] = statuses()
        return len(seen) == TRIALS and "RUNNING" not in seen

    try:
        wait_until(all_arrived, 240, every_s=2)
    except AssertionError:
        pytest.fail(f"MLflow has {seen}")
    elsewhere = ask_as(team, address + EXPERIMENT, Host="evil.example:5000")
    assert elsewhere[0] == 403


def tags_of(run: Any) -> list[str]:
    return [tag["key"] for tag in run["data"].get("tags", [])]


def ask_as(team: Team, url: str, **headers: str) -> tuple[int, str]:
    return team.project.ask(lambda: ask(url, Authorization=team.basic, **headers))


def test_the_page_shows_the_study_on_another_machine(team: Team) -> None:
    """Not without a login, and not by another site's name."""
    (machine,) = team.project.of("database")  # any end of the network that is not this one
    address = f"http://{GATEWAY}:8080"

    def seen(**headers: str) -> tuple[int, str]:
        return team.project.ask(lambda: ask(f"{address}/", **headers), machine.first)

    assert seen()[0] in (303, 401)
    code, page = seen(Authorization=team.bearer)
    assert code == 200 and "first" in page
    assert seen(Authorization=team.bearer, Host="evil.example")[0] == 403
    # MLflow's pages pass through it, with its own login.
    path = f"{address}/mlflow/"
    assert team.project.ask(lambda: ask(path, Authorization=team.bearer))[0] == 200


def test_only_the_page_and_mlflow_are_published(team: Team) -> None:
    ports = {port for service in team.file.services.values() for port in service.ports}
    assert {(port.address, port.outside) for port in ports} == {(GATEWAY, 8080), (GATEWAY, 5000)}


def test_no_secret_shows(team: Team) -> None:
    """Neither in a command line, which every user of the machine can read, nor in a log."""
    lines = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    logs = [each.log.read_bytes() for each in team.project.containers]
    for name, secret in team.secrets.items():
        assert len(secret) == 32, name
        for text in (*lines, *logs):
            assert secret.encode() not in text, name


def test_the_database_of_one_is_closed_to_the_other(team: Team) -> None:
    (mlflow,) = team.project.of("mlflow")
    code = "import psycopg; psycopg.connect('host=database user=mlflow dbname=tuner')"
    done = mlflow.run(["python", "-c", code])
    assert "permission denied for database" in done.stderr


def test_a_stop_ends_everything_in_time(team: Team) -> None:
    """Last: no trial runs then, and each service ends by itself, well within its time."""
    for name in ("worker", "page", "mlflow", "database"):
        for container in team.project.of(name):
            assert ended_well(team.project, container), container.printed[-2000:]


def ended_well(project: Project, container: Container) -> bool:
    return project.stop(container) in (0, 143)
