"""`tuner worker` on toy trials, as a process of its own: `start_daemon`."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from fork_server import Forked, start
from toy_study import TOY_ALONE

from tuner.service.daemon_start import WorkerWanted, run_worker
from tuner.settings import load_settings
from tuner.storage import open_store
from tuner.system.secret_masking import mask_output

_RUN = "import toy_daemon; toy_daemon.run()"
_FOUND = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])


def start_daemon(folder: Path, environment: Mapping[str, str]) -> Forked:
    """One with a process for trials, a health file and a health port; what it prints is appended to
    `worker.txt` of the folder. `environment`: with TUNER_STORAGE."""
    with (folder / "worker.txt").open("ab") as printed, Path(os.devnull).open() as nothing:
        streams = (nothing.fileno(), printed.fileno(), printed.fileno())
        return start(_RUN, [], folder, streams, {**environment, "PYTHONPATH": _FOUND})


def run() -> None:
    mask_output()
    settings = load_settings()
    store = open_store(settings.storage)
    wanted = WorkerWanted(
        processes=1, health_file=Path("health.json"), health_port=0, entry=TOY_ALONE
    )
    run_worker(settings, store, wanted, print)
    store.close()
    sys.exit(0)
