"""A study in an Optuna database, or in a journal file of Optuna's."""

import contextlib
import logging
import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from tuner.errors import UsageError
from tuner.manage.sources import WantedHistory
from tuner.study.history import UNNAMED, History, PastTrial
from tuner.study.messages import Direction, Distribution
from tuner.system.locations import expanded_path, is_file, sqlite_file
from tuner.system.secret_masking import without_secrets
from tuner.values import join_names, shown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

_JOURNALS = (".log", ".journal")


def recognizes(wanted: WantedHistory) -> bool:
    is_url = "://" in wanted.source and not wanted.source.startswith(("http://", "https://"))
    return is_url or wanted.source.endswith(_JOURNALS)


def read(wanted: WantedHistory) -> History:
    """The study's trials that have a value. Reports count as epochs: a study that reports from
    step 0 on begins with epoch 1."""
    import optuna

    source = without_secrets(wanted.source)
    with _errors(source):
        storage = _open(wanted.source)
        names = optuna.get_all_study_names(storage)
    name = _chosen(source, names, wanted.study)
    with _errors(source):
        study = optuna.load_study(study_name=name, storage=storage)
        frozen = study.get_trials(deepcopy=False)
    if len(study.directions) > 1:
        raise UsageError(f"{source}: study {name!r} has several objectives, which has no one score")
    ended = [trial for trial in frozen if _value(trial) is not None]
    shift = 1 if any(0 in trial.intermediate_values for trial in ended) else 0
    objective = (study.metric_names or [UNNAMED])[0]
    direction: Direction = "maximize" if study.direction.name == "MAXIMIZE" else "minimize"
    left_out = Counter(trial.state.name.lower() for trial in frozen if _value(trial) is None)
    trials = tuple(_trial(trial, objective, shift) for trial in ended)
    return History(f"Optuna {source} {name}", trials, objective, direction, left_out)


@contextlib.contextmanager
def _errors(source: str) -> Iterator[None]:
    """Whatever a database or Optuna raises, in one line."""
    try:
        yield
    except Exception as error:
        line = (without_secrets(str(error)).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{source}: cannot be read as an Optuna database: {line}") from error


def _open(source: str) -> "BaseStorage":
    """Raises whatever Optuna raises. A file that is not there is not created."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(logging.WARNING)
    is_journal = source.endswith(_JOURNALS)
    file = expanded_path(source) if is_journal else sqlite_file(source)
    if file is not None and not is_file(file):
        raise FileNotFoundError("there is no such file")
    if is_journal:
        return optuna.storages.JournalStorage(JournalFileBackend(str(file)))
    return optuna.storages.RDBStorage(source)


def _chosen(source: str, names: list[str], wanted: str | None) -> str:
    if wanted is not None and wanted in names:
        return wanted
    if wanted is None and len(names) == 1:
        return names[0]
    there = f"there are: {join_names(map(repr, names))}" if names else "there is none"
    if wanted is None:
        raise UsageError(f"{source}: name the study by --study NAME; {there}")
    raise UsageError(f"{source}: has no study {shown(wanted)}; {there}")


def _value(trial: "FrozenTrial") -> float | None:
    """The trial's value; of a pruned one its last report. None where it has none that is finite."""
    if trial.state.name not in ("COMPLETE", "PRUNED"):
        return None
    values = trial.values or []
    reports = trial.intermediate_values
    value = values[0] if values else reports[max(reports)] if reports else None
    return value if value is not None and math.isfinite(value) else None


def _trial(trial: "FrozenTrial", objective: str, shift: int) -> PastTrial:
    value = _value(trial)
    assert value is not None
    started, ended = trial.datetime_start, trial.datetime_complete
    return PastTrial(
        key=str(trial.number),
        params=trial.params,
        values={objective: value},
        curve={
            step + shift: {objective: report}
            for step, report in sorted(trial.intermediate_values.items())
            if math.isfinite(report)
        },
        pruned=trial.state.name == "PRUNED",
        started_at=started.timestamp() if started else None,
        ended_at=ended.timestamp() if ended else None,
        distributions={n: _distribution(each) for n, each in trial.distributions.items()},
    )


def _distribution(distribution: "BaseDistribution") -> Distribution:
    values: dict[str, Any] = distribution._asdict()
    if "choices" in values:
        return Distribution("categorical", choices=tuple(values["choices"]))
    kind: Literal["int", "float"] = "int" if isinstance(values["low"], int) else "float"
    return Distribution(kind, values["low"], values["high"], values["step"], values["log"])
