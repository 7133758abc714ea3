"""The job array of deploy/slurm: what Slurm would start, under bash, with stubs of its commands."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from toy_study import Bench
from waiting import wait_until

from tuner.cli.commands import COMMANDS
from tuner.storage import open_store

SCRIPT = Path(__file__).parents[2] / "deploy" / "slurm" / "tuner.sbatch"
# In place of the search: it says what it was asked for, and ends as one that writes checkpoints.
SEARCH = """#!/bin/bash
echo "$@" > words
echo "$TUNER_SCRATCH $TUNER_STORAGE" > environment
trap 'sleep 0.2; touch checkpoint; exit 130' TERM
touch begun
if [[ -e works ]]; then while :; do sleep 0.05; done; fi
exit $(cat code)
"""
# The command itself, on toy trials.
REAL = f"""#!/bin/bash
export PYTHONPATH={shlex.quote(str(Path(__file__).parents[1] / "support"))}
exec {shlex.quote(sys.executable)} -c 'import toy_command; toy_command.run()' "$@" --no-tracking
"""


class Task:
    """A task of the array in a folder, as Slurm would start it there."""

    def __init__(self, folder: Path, search: str = SEARCH) -> None:
        self.folder = folder
        commands = folder / "bin"
        commands.mkdir()
        self.stub("tuner", search)
        self.stub("scontrol", '#!/bin/sh\necho "$@" >> requeued\n')
        (folder / "tmp").mkdir()
        (folder / "code").write_text("0")
        self.write_environment("TUNER_STORAGE=sqlite:///tuner.db\nTUNER_CHECKPOINTS=checkpoints\n")

    def stub(self, name: str, text: str) -> None:
        file = self.folder / "bin" / name
        file.write_text(text)
        file.chmod(0o755)

    def write_environment(self, text: str) -> None:
        (self.folder / "slurm.env").write_text(text)

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "TUNER_ENVIRONMENT": "./slurm.env",
            "SLURM_JOB_ID": "4711",
            "SLURM_ARRAY_TASK_ID": "3",
            "SLURM_CPUS_PER_TASK": "4",
        }
        return subprocess.Popen(
            ["bash", str(SCRIPT), *words],
            cwd=self.folder,
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **variables: str) -> tuple[int, str]:
        process = self.start(*words, **variables)
        printed, _ = process.communicate(timeout=60)
        return process.returncode, printed

    def stop(self, process: subprocess.Popen[str], number: int = signal.SIGUSR1) -> tuple[int, str]:
        """As `--signal=B:USR1@120`: the batch shell alone gets it."""
        process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
        return process.returncode, printed

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def text(self, name: str) -> str:
        return (self.folder / name).read_text().strip()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(tmp_path)


def test_its_lines_are_what_sbatch_reads() -> None:
    """Up to the first command; each option with a value that may be set."""
    head = SCRIPT.read_text().partition("\nset -u")[0].splitlines()
    assert head[0] == "#!/bin/bash"
    assert all(line.startswith("#") for line in head if line)
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", "\n".join(head), re.MULTILINE))
    assert options.keys() == {
        "job-name", "array", "ntasks", "cpus-per-task", "mem", "time", "signal", "requeue",
        "open-mode", "output",
    }  # fmt: skip
    assert options["signal"] == "B:USR1@120"
    assert "#SBATCH" not in SCRIPT.read_text().partition("\nset -u")[2]


def test_a_task_trains_on_its_cores(task: Task) -> None:
    assert task.run("digits", "100") == (0, "")
    words = task.text("words").split()
    assert words == ["optimize", "digits", "--trials", "100", "--quiet", "--workers", "4"]
    options = {option for each in parameters() for option in each.opts}
    assert {word for word in words if word.startswith("--")} <= options
    scratch, storage = task.text("environment").split()
    assert storage == "sqlite:///tuner.db"
    assert scratch.startswith(f"{task.folder}/tmp/tuner-4711-")
    assert not Path(scratch).exists()
    assert not task.has("requeued")


def parameters() -> list["typer.core.click.Parameter"]:
    app = typer.Typer()
    app.command()(COMMANDS["optimize"])
    return typer.main.get_command(app).params


def test_a_gpu_decides_how_many_train(task: Task) -> None:
    assert task.run("digits", "100", SLURM_GPUS_ON_NODE="1") == (0, "")
    assert "--workers" not in task.text("words")


def test_before_its_time_is_over_it_writes_checkpoints_and_goes_to_the_queue(task: Task) -> None:
    (task.folder / "works").touch()
    process = task.start("digits", "100")
    wait_until(lambda: task.has("begun"))
    code, printed = task.stop(process)
    assert (code, printed) == (0, "tuner: task 3 goes to the queue again\n")
    assert task.has("checkpoint")
    assert task.text("requeued") == "requeue 4711"
    assert list((task.folder / "tmp").iterdir()) == []


def test_a_task_that_is_cancelled_writes_checkpoints_and_stays_out_of_the_queue(task: Task) -> None:
    (task.folder / "works").touch()
    process = task.start("digits", "100")
    wait_until(lambda: task.has("begun"))
    assert task.stop(process, signal.SIGTERM) == (130, "")
    assert task.has("checkpoint")
    assert not task.has("requeued")
    assert list((task.folder / "tmp").iterdir()) == []


def test_nothing_stands_between_the_signal_and_the_search() -> None:
    """Slurm's srun hands SIGTERM on as SIGKILL."""
    lines = SCRIPT.read_text().splitlines()
    assert not [line for line in lines if "srun" in line and not line.startswith("#")]


@pytest.mark.parametrize("code", ["1", "2", "130"])
def test_a_search_that_ends_otherwise_is_not_put_back(task: Task, code: str) -> None:
    (task.folder / "code").write_text(code)
    assert task.run("digits", "100") == (int(code), "")
    assert not task.has("requeued")


@pytest.mark.parametrize(
    ("words", "environment", "complaint"),
    [
        ((), None, "usage: sbatch tuner.sbatch STUDY TRIALS"),
        (("digits",), None, "usage: sbatch tuner.sbatch STUDY TRIALS"),
        (("digits", "9"), "", "TUNER_STORAGE: is not set in ./slurm.env"),
        (("digits", "9"), "TUNER_STORAGE=x\n", "TUNER_CHECKPOINTS: is not set in ./slurm.env"),
    ],
)
def test_mistakes(
    words: tuple[str, ...], environment: str | None, complaint: str, task: Task
) -> None:
    if environment is not None:
        task.write_environment(environment)
    code, printed = task.run(*words)
    assert code != 0
    assert complaint in printed
    assert printed.count("\n") == 1
    assert not task.has("words")


def test_without_a_file_of_the_environment(task: Task) -> None:
    (task.folder / "slurm.env").unlink()
    code, printed = task.run("digits", "9")
    assert code != 0
    assert "slurm.env: No such file" in printed
    assert not task.has("words")


def test_a_real_search_goes_on_where_the_queue_interrupted_it(tmp_path: Path) -> None:
    task = Task(tmp_path, REAL)
    bench = Bench(tmp_path, open_store(f"sqlite:///{tmp_path}/tuner.db"))
    bench.create({"epochs": 60, "patience": 60, "pace": 0.05})
    state = bench.settings.trusted_code.parents[1]
    task.write_environment(
        f"TUNER_STORAGE={bench.url}\nTUNER_CHECKPOINTS=checkpoints\nXDG_STATE_HOME={state}\n"
    )
    process = task.start("toy", "2", SLURM_CPUS_PER_TASK="2")
    wait_until(lambda: len(bench.trials) == 2 and all(map(bench.curve, bench.trials)), 120)
    code, printed = task.stop(process)
    assert (code, task.text("requeued")) == (0, "requeue 4711"), printed
    code, printed = task.run("toy", "2", SLURM_CPUS_PER_TASK="2")
    assert code == 0, printed
    ends = [[attempt.end for attempt in trial.attempts] for trial in bench.trials]
    assert ends == [["interrupted", "complete"]] * 2
    assert all(trial.attempts[1].resumed_epoch for trial in bench.trials)
    bench.store.close()
