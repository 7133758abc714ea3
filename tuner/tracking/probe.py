"""Ask whether MLflow answers, and what it lacks, within a time limit.

`python -m tuner.tracking.probe` asks in a process of its own: MLflow may try for minutes, and only
the end of its process stops it.
"""

import importlib
import json
import logging
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass

from tuner.errors import TrackingError, TunerError
from tuner.settings import Settings, child_environment, load_settings
from tuner.storage import look_into
from tuner.storage.deliveries import outlines
from tuner.storage.studies import list_studies, load_study
from tuner.system.logs import log_to_stderr
from tuner.system.secret_masking import mask_output, without_secrets, write_line
from tuner.tracking.check import find_differences
from tuner.tracking.client import open_client, tracking_errors
from tuner.tracking.process import PROBLEM
from tuner.tracking.sync import summarize_differences

log = logging.getLogger("tuner.tracking.probe")
_ANSWER_S = 10.0
_IMPORT_S = 60.0
_CHECK = "check"


@dataclass(frozen=True)
class StudyCheck:
    """What MLflow has of a study. `ended`: its ended trials in SQL. `lacking`: how many of them are
    missing in MLflow or differ. `what`: the differences in words, including those of the study's
    own run. `is_whole`: whether there was time to check all."""

    study: str
    ended: int
    lacking: int
    what: str | None
    is_whole: bool


def probe_server(settings: Settings, within_s: float = _ANSWER_S) -> None:
    """Ask MLflow for an experiment. Raises TrackingError when it does not answer in time."""
    _run_probe(settings, within_s)


def check_studies(settings: Settings, within_s: float = _ANSWER_S) -> list[StudyCheck]:
    """What MLflow lacks of each study, as far as time allows. The first answer and the checks may
    take `within_s` each. Nothing is changed. Raises TrackingError when MLflow does not answer."""
    lines = _run_probe(settings, within_s, _CHECK, settings.artifacts_place)
    return [StudyCheck(**json.loads(line)) for line in lines]


def _run_probe(settings: Settings, within_s: float, *words: str) -> list[str]:
    """The lines that the process prints after its first."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tuner.tracking.probe", str(within_s), *words],
            env=child_environment(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_IMPORT_S + 2 * within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TrackingError(f"MLflow was not imported within {_IMPORT_S:.0f} s") from error
    lines = done.stdout.splitlines()
    if done.returncode == -signal.SIGALRM and lines:
        return lines[1:]  # it answered, and the checks took too long
    if done.returncode == -signal.SIGALRM:
        raise TrackingError(f"MLflow does not answer within {within_s:.0f} s")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        problem = next((line for line in lines if line.startswith(PROBLEM)), lines[-1])
        raise TrackingError(problem.removeprefix(PROBLEM))
    return lines[1:]


def main(within_s: float, networks: str | None) -> int:
    mask_output()
    log_to_stderr()
    settings = load_settings()
    try:
        with tracking_errors():
            importlib.import_module("mlflow")
            signal.setitimer(signal.ITIMER_REAL, within_s)
            open_client(settings.tracking_uri).search_experiments(max_results=1)
            write_line(sys.stdout, "it answers")
        if networks is not None:
            signal.setitimer(signal.ITIMER_REAL, within_s)
            _check_all(settings, networks, within_s)
    except TunerError as error:
        log.error("%s", error)
        return 1
    return 0


def _check_all(settings: Settings, networks: str, within_s: float) -> None:
    store = look_into(settings.storage)
    if store is None:
        return
    client = open_client(settings.tracking_uri)
    names = [summary.name for summary in list_studies(store)]
    for name in names:
        try:
            study = load_study(store, name)
        except TunerError:
            continue  # damaged: the checks of the database report it
        ended = sum(trial.ended for trial in outlines(store, study))
        with tracking_errors():
            # Its share of the time, which the last page may exceed.
            result = find_differences(
                store, client, study, "best", networks, within_s / 2 / len(names)
            )
        what = without_secrets(summarize_differences(result.differences) or "") or None
        check = StudyCheck(name, ended, result.lacking, what, result.is_whole)
        write_line(sys.stdout, json.dumps(asdict(check)))
    store.close()


if __name__ == "__main__":
    _networks = sys.argv[3] if _CHECK in sys.argv[2:3] else None
    sys.exit(main(float(sys.argv[1]), _networks))
