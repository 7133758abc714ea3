"""The runs of an MLflow experiment: params, metrics and their histories."""

from tuner.manage.sources import WantedHistory
from tuner.study.history import History


def recognizes(wanted: WantedHistory) -> bool:
    return wanted.experiment is not None


def read(wanted: WantedHistory) -> History:
    from tuner.tracking.past_runs import read_experiment

    assert wanted.experiment is not None
    return read_experiment(wanted.source, wanted.experiment, wanted.metric, wanted.maximize)
