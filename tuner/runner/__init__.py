"""Run a study's trials: `optimize` puts the workers, the tracker and the loop together."""

from tuner.runner.announcing import announce_failure, study_announcer
from tuner.runner.loop import Outcome
from tuner.runner.network_keeping import BEST_KEPT
from tuner.runner.progress import RunStatus, Silent, Watcher
from tuner.runner.search import (
    SearchOptions,
    check_gain_limit,
    check_members,
    most_trials,
    open_writer,
    optimize,
    slots_wanted,
    stop_searches,
    whole_population,
)
from tuner.runner.stopping import Limits, Stopping
from tuner.runner.study_files import check_data, check_fingerprint, trained_on
from tuner.runner.trial_writer import Repaired, repair
from tuner.tracking.process import Delivered
from tuner.workers.base import KERAS

__all__ = [
    "BEST_KEPT",
    "KERAS",
    "Delivered",
    "Limits",
    "Outcome",
    "Repaired",
    "RunStatus",
    "SearchOptions",
    "Silent",
    "Stopping",
    "Watcher",
    "announce_failure",
    "check_data",
    "check_fingerprint",
    "check_gain_limit",
    "check_members",
    "most_trials",
    "open_writer",
    "optimize",
    "repair",
    "slots_wanted",
    "stop_searches",
    "study_announcer",
    "trained_on",
    "whole_population",
]
