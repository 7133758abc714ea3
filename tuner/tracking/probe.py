"""Whether MLflow answers: `python -m tuner.tracking.probe` asks it, and lives no longer than it
may. MLflow itself may try for minutes, and then nothing but the end of the process stops it."""

import importlib
import signal
import subprocess
import sys

from tuner.errors import TrackingError, TunerError
from tuner.masking import mask_output
from tuner.settings import Settings, child_environment, load_settings
from tuner.tracking.client import open_client, tracking_errors
from tuner.tracking.process import PROBLEM

_ANSWER_S = 10.0
_IMPORT_S = 60.0


def probe(settings: Settings, within_s: float = _ANSWER_S) -> None:
    """Ask MLflow for an experiment. Raises TrackingError when it does not answer in time."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tuner.tracking.probe", str(within_s)],
            env=child_environment(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_IMPORT_S + within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TrackingError(f"MLflow was not imported within {_IMPORT_S:.0f} s") from error
    if done.returncode == -signal.SIGALRM:
        raise TrackingError(f"MLflow does not answer within {within_s:.0f} s")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        said = next((line for line in lines if line.startswith(PROBLEM)), lines[-1])
        raise TrackingError(said.removeprefix(PROBLEM))


def main(within_s: float) -> int:
    mask_output()
    settings = load_settings()
    try:
        with tracking_errors():
            importlib.import_module("mlflow")
            signal.setitimer(signal.ITIMER_REAL, within_s)
            open_client(settings.tracking_uri).search_experiments(max_results=1)
    except TunerError as error:
        print(f"{PROBLEM}{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
