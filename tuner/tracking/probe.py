"""Whether MLflow answers, and what it lacks: `python -m tuner.tracking.probe` asks it, and lives no
longer than it may. MLflow itself may try for minutes, and then nothing but the end of the process
stops it."""

import importlib
import json
import logging
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tuner.errors import TrackingError, TunerError
from tuner.settings import Settings, child_environment, load_settings
from tuner.storage import look_into
from tuner.storage.deliveries import outlines
from tuner.storage.studies import list_studies, load_study
from tuner.system.logs import log_to_stderr, mask_output, without_secrets, write_line
from tuner.tracking.check import check
from tuner.tracking.client import open_client, tracking_errors
from tuner.tracking.process import PROBLEM
from tuner.tracking.sync import told

log = logging.getLogger("tuner.tracking.probe")
_ANSWER_S = 10.0
_IMPORT_S = 60.0
_LOOK = "look"


@dataclass(frozen=True)
class Looked:
    """What MLflow has of a study. `lacking`: of how many ended trials it lacks something; `what`:
    in words, also where it is about the study's own run; `is_whole`: whether there was time to look
    at all of them."""

    study: str
    ended: int
    lacking: int
    what: str | None
    is_whole: bool


def probe(settings: Settings, within_s: float = _ANSWER_S) -> None:
    """Ask MLflow for an experiment. Raises TrackingError when it does not answer in time."""
    _ask(settings, within_s)


def look(settings: Settings, within_s: float = _ANSWER_S) -> list[Looked]:
    """What MLflow lacks of each study, as far as time allows; an answer takes as long once more.
    Nothing is changed. Raises TrackingError when MLflow does not answer in time."""
    lines = _ask(settings, within_s, _LOOK, str(settings.checkpoints.absolute()))
    return [Looked(**json.loads(line)) for line in lines]


def _ask(settings: Settings, within_s: float, *words: str) -> list[str]:
    """What the process prints."""
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
        return lines[1:]  # it answered, and then became slow
    if done.returncode == -signal.SIGALRM:
        raise TrackingError(f"MLflow does not answer within {within_s:.0f} s")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        said = next((line for line in lines if line.startswith(PROBLEM)), lines[-1])
        raise TrackingError(said.removeprefix(PROBLEM))
    return lines[1:]


def main(within_s: float, networks: Path | None) -> int:
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
            _look_at_all(settings, networks, within_s)
    except TunerError as error:
        log.error("%s", error)
        return 1
    return 0


def _look_at_all(settings: Settings, networks: Path, within_s: float) -> None:
    store = look_into(settings.storage)
    if store is None:
        return
    client = open_client(settings.tracking_uri)
    names = [summary.name for summary in list_studies(store)]
    for name in names:
        try:
            study = load_study(store, name)
        except TunerError:
            continue  # damaged: the database's own checks say so
        ended = sum(trial.ended for trial in outlines(store, study))
        with tracking_errors():
            # Its share of the time: one page more than that is looked at.
            found = check(store, client, study, "best", networks, within_s / 2 / len(names))
        what = without_secrets(told(found.differences) or "") or None
        looked = Looked(name, ended, found.lacking, what, found.is_whole)
        write_line(sys.stdout, json.dumps(asdict(looked)))
    store.close()


if __name__ == "__main__":
    _networks = Path(sys.argv[3]) if _LOOK in sys.argv[2:3] else None
    sys.exit(main(float(sys.argv[1]), _networks))
