"""`tuner study import`: trials that were run elsewhere become trials of a study.

They take no trial slot: `--trials N` counts what the study runs itself. Samplers and pruners learn
from them, lists, plots and MLflow show them. Importing a source again adds what is new in it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tuner.algorithms.distributions import optuna_distribution
from tuner.errors import SpaceError, StudyError, UsageError
from tuner.manage.sources import WantedHistory, read_history
from tuner.storage.imported_trials import ImportedTrial, imported_marks, write_imported
from tuner.storage.store import Store
from tuner.storage.studies import StudyRow, check_is_search
from tuner.study.ends import TrialEnd
from tuner.study.history import UNNAMED, History, PastTrial
from tuner.study.messages import Distribution, rank
from tuner.values import Scalar, join_names, shown


@dataclass(frozen=True)
class WantedImport:
    """What is asked for. `metric`: the source's metric that is the study's objective; None: the one
    of that name. `renamed`: the study's name of a parameter by the source's. `ignored`: parameters
    of the source that the study need not know. `added`: values of parameters that the source does
    not name."""

    source: str
    study: str | None = None
    experiment: str | None = None
    metric: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    added: Mapping[str, Scalar | list[Scalar]] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """`name`: the source in words. `added`: how many trials are new in the study; `known`: how many
    it had before. `left_out`: how many are not imported, by the reason."""

    name: str
    added: int
    known: int
    left_out: Mapping[str, int]


def import_trials(
    store: Store, study: StudyRow, wanted: WantedImport, dry_run: bool = False
) -> Imported:
    """Import what fits the study's space. Raises UsageError where the source cannot be read, or has
    another objective; StudyError for a comparison."""
    check_is_search(study, "study import")
    spec = study.spec
    if len(spec.goals) > 1:
        raise StudyError(f"study {study.name!r} has several objectives: it cannot import trials")
    metric = wanted.metric or spec.metric
    history = read_history(
        WantedHistory(
            wanted.source,
            metric,
            spec.direction == "maximize",
            wanted.study,
            wanted.experiment,
        )
    )
    _check_objective(history, study, metric)
    marks = imported_marks(store, study)
    fitting, left_out = _fit_all(store, study, history, wanted, metric)
    fresh = [trial for trial in fitting if trial.mark not in marks]
    if not dry_run:
        write_imported(store, study, fresh)
    return Imported(history.name, len(fresh), len(fitting) - len(fresh), left_out)


def _check_objective(history: History, study: StudyRow, metric: str) -> None:
    spec = study.spec
    if history.objective in (UNNAMED, metric):
        if history.direction not in (None, spec.direction):
            raise UsageError(
                f"{history.name}: its objective is to {history.direction}, that of study "
                f"{study.name!r}, {spec.metric}, to {spec.direction}"
            )
    elif not any(metric in trial.values for trial in history.trials):
        raise UsageError(
            f"{history.name}: its trials have no {metric}, they were run for {history.objective}; "
            f"if that is what study {study.name!r} calls {spec.metric}: "
            f"--metric {history.objective}"
        )


def _fit_all(
    store: Store, study: StudyRow, history: History, wanted: WantedImport, metric: str
) -> tuple[list[ImportedTrial], Counter[str]]:
    """The trials that fit the study, and how many do not, by the reason."""
    left_out = Counter(history.left_out)
    fitting: list[ImportedTrial] = []
    place = _Asked(store, study) if study.spec.function_kind.defines_space else _Declared(study)
    for trial, mark in zip(history.trials, _marks(history), strict=True):
        try:
            named = _as_named_here(trial, wanted)
            params, distributions = place.fit(named)
            imported = _imported(study, history, named, metric)
            fitting.append(replace(imported, mark=mark, params=params, distributions=distributions))
        except (SpaceError, _Unfit) as reason:
            left_out[str(reason)] += 1
    return fitting, left_out


def _marks(history: History) -> Iterator[str]:
    """What tells each trial of the history apart: what it was given and what came of it, and which
    of several equal ones it is. So a source may be moved, and a table may get rows in between."""
    seen: Counter[str] = Counter()
    for trial in history.trials:
        facts = [sorted(trial.params.items()), sorted(trial.values.items())]
        text = json.dumps([history.name.partition(" ")[0], facts])
        seen[text] += 1
        yield hashlib.sha256(f"{text} {seen[text]}".encode()).hexdigest()[:32]


class _Unfit(Exception):
    """Why a trial cannot be imported, in words that count it."""


def _as_named_here(trial: PastTrial, wanted: WantedImport) -> PastTrial:
    """The trial with the study's names of its parameters."""

    def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
        used = {name: value for name, value in values.items() if name not in wanted.ignored}
        return {wanted.renamed.get(name, name): value for name, value in used.items()}

    params = dict(wanted.added) | renamed(trial.params)
    return replace(trial, params=params, distributions=renamed(trial.distributions))


class _Declared:
    """Fits trials to the space that a study has declared."""

    def __init__(self, study: StudyRow) -> None:
        self._space = study.spec.space
        self._distributions = self._space.distributions()

    def fit(self, trial: PastTrial) -> tuple[dict[str, Any], dict[str, Any]]:
        """The flat params with their distributions. Raises SpaceError."""
        flat = self._space.flatten(trial.params)
        self._space.resolve(flat)  # refuses a trial that lacks one
        return flat, {name: self._distributions[name] for name in flat}


class _Asked:
    """Fits trials to what the function of a study asks for: to the distributions of its trials, and
    where it has none yet to those of the source."""

    def __init__(self, store: Store, study: StudyRow) -> None:
        self._distributions: dict[str, Any] = {}
        for trial in store.optuna.get_all_trials(study.study_id, deepcopy=False):
            self._distributions |= trial.distributions

    def fit(self, trial: PastTrial) -> tuple[dict[str, Any], dict[str, Any]]:
        distributions = {
            name: self._distribution(name, trial.distributions.get(name)) for name in trial.params
        }
        for name, value in trial.params.items():
            try:
                inside = distributions[name]._contains(distributions[name].to_internal_repr(value))
            except (ValueError, TypeError):
                inside = False
            if not inside:
                raise _Unfit(f"{name} = {shown(value)} is outside of the function's range")
        return dict(trial.params), distributions

    def _distribution(self, name: str, declared: Distribution | None) -> Any:
        if name in self._distributions:
            return self._distributions[name]
        if declared is None:
            raise _Unfit(
                f"the range of {name} is not known: run one trial of the study first, or ignore it"
            )
        self._distributions[name] = optuna_distribution(declared)
        return self._distributions[name]


def _imported(study: StudyRow, history: History, trial: PastTrial, metric: str) -> ImportedTrial:
    """The trial with its score and its curve, still without params."""
    goal = study.spec.goal()
    score = trial.values.get(metric, trial.values.get(UNNAMED))
    if score is None:
        raise _Unfit(f"without {metric}")
    curve = {
        epoch: {
            goal.metric if name in (metric, UNNAMED) else name: value
            for name, value in metrics.items()
        }
        for epoch, metrics in trial.curve.items()
    }
    scored = {epoch: m[goal.metric] for epoch, m in curve.items() if goal.metric in m}
    return ImportedTrial(
        origin=f"{history.name}, trial {trial.key}",
        score=score,
        end=TrialEnd.IMPORTED_PRUNED if trial.pruned else TrialEnd.IMPORTED,
        curve=curve,
        best_epoch=min(scored, key=lambda n: (rank(scored[n], goal.direction), n), default=None),
        started_at=trial.started_at,
        ended_at=trial.ended_at,
    )


def describe_left_out(left_out: Mapping[str, int]) -> list[str]:
    """A line for each reason, the most frequent first."""
    ordered = sorted(left_out.items(), key=lambda item: -item[1])
    return [f"left out: {count} ({reason})" for reason, count in ordered]


def parse_renamed(pairs: Sequence[str]) -> dict[str, str]:
    """`--rename THEIRS=OURS`. Raises UsageError."""
    renamed: dict[str, str] = {}
    for pair in pairs:
        theirs, is_pair, ours = pair.partition("=")
        if not (theirs and is_pair and ours) or theirs in renamed:
            raise UsageError(f"--rename: expected THEIRS=OURS once for a name, got {shown(pair)}")
        renamed[theirs] = ours
    if len(set(renamed.values())) < len(renamed):
        raise UsageError(f"--rename: two names become one: {join_names(renamed.values())}")
    return renamed
