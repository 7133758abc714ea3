"""Charts of a whole study: its history, which parameters matter, and where good values lie.

To add one: a function, a line in STUDY_PLOTS, and a sentence in the help of `study plot`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.algorithms.options import unknown
from tuner.errors import SpecError, StudyError
from tuner.reports.charts import (
    Axis,
    Bars,
    Chart,
    Form,
    Panel,
    Parallel,
    Scale,
    Series,
    value_axis,
)
from tuner.storage import Store
from tuner.storage.studies import StudyRow, check_is_search, no_finished_trial
from tuner.study.messages import rank
from tuner.system.names import command
from tuner.values import word

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

# Fewer trials say little about which parameters matter.
_FEW_TRIALS = 30


@dataclass(frozen=True)
class StudyPlot:
    """`draw`: makes the chart. `optuna_name`: of the function of `optuna.visualization` that draws
    the same as an interactive page. `takes_params`: whether it can be of some parameters only."""

    draw: "Callable[[PlottedStudy], Chart]"
    optuna_name: str
    takes_params: bool = True


@dataclass(frozen=True)
class PlottedStudy:
    """A study as plots need it. `trials`: all of them. `complete` and `others`: those with a value.
    `params`: the varying parameters to draw, with their distributions; those of one layer each, as
    `width_1`."""

    study: StudyRow
    trials: "list[FrozenTrial]"
    complete: "list[FrozenTrial]"
    others: "list[FrozenTrial]"
    params: "dict[str, BaseDistribution]"

    @property
    def metric(self) -> str:
        return self.study.spec.metric

    def optuna_study(self) -> "optuna.Study":
        """The study with these trials, for Optuna's own functions."""
        import optuna

        from tuner.storage.optuna_view import view_of_trials

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return view_of_trials(self.study, self.trials)

    def title(self, text: str) -> str:
        return f"study {self.study.name}: {text}"

    def value_axis(self) -> Axis:
        """The axis of the scores."""
        return value_axis(self.metric, values_of(self.complete), self.study.spec.direction)

    def best_first(self) -> "list[FrozenTrial]":
        """The completed trials, best score first; the earlier among equals."""
        direction = self.study.spec.direction
        return sorted(self.complete, key=lambda trial: rank(value_of(trial), direction))


def value_of(trial: "FrozenTrial") -> float:
    """The value of a trial that has one."""
    assert trial.value is not None
    return trial.value


def values_of(trials: "Iterable[FrozenTrial]") -> list[float]:
    return [value_of(trial) for trial in trials]


def study_chart(
    store: Store, study: StudyRow, kind: str, only: Sequence[str] = ()
) -> tuple[Chart, PlottedStudy]:
    """The chart of that kind, and what it was made of. `only`: the parameters to draw; all by
    default. Raises SpecError for an unknown kind or parameter, StudyError where there is nothing
    to draw."""
    if kind not in STUDY_PLOTS:
        raise unknown("plot", kind, STUDY_PLOTS)
    if only and not STUDY_PLOTS[kind].takes_params:
        raise SpecError(f"the plot {kind} is of all parameters: leave out --param")
    check_is_search(study, "study plot")
    if not study.spec.selects:
        raise StudyError(
            f"study {study.name!r} has several objectives; plots are of one. Optuna's dashboard "
            f"draws them: {command('ui')}"
        )
    plotted = _read_study(store, study, only)
    return STUDY_PLOTS[kind].draw(plotted), plotted


def _read_study(store: Store, study: StudyRow, only: Sequence[str]) -> PlottedStudy:
    from optuna.trial import TrialState

    from tuner.storage.optuna_view import read_optuna_trials

    trials = read_optuna_trials(store, study)
    valued = [trial for trial in trials if trial.value is not None]
    complete = [trial for trial in valued if trial.state == TrialState.COMPLETE]
    if not complete:
        raise no_finished_trial(study)
    others = [trial for trial in valued if trial.state == TrialState.PRUNED]
    return PlottedStudy(study, trials, complete, others, _varying(complete, only))


def _varying(trials: "Iterable[FrozenTrial]", only: Sequence[str]) -> "dict[str, BaseDistribution]":
    """The parameters that vary, in the order in which trials have them. `width` in `only` means
    all of `width_1`, `width_2`, … if each layer has its own."""
    params: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if not distribution.single():
                params.setdefault(name, distribution)
    chosen: dict[str, BaseDistribution] = {}
    for name in only:
        of_layers = re.compile(rf"{re.escape(name)}_[0-9]+")
        matching = (
            [name] if name in params else [each for each in params if of_layers.fullmatch(each)]
        )
        if not matching:
            raise unknown("parameter", name, params)
        chosen |= {each: params[each] for each in matching}
    return chosen or params


def is_infeasible(trial: "FrozenTrial") -> bool:
    """Whether the trial's configuration cannot work: it diverged, or ran out of memory or time."""
    return any(value > 0 for value in trial.constraints.values())


def history_chart(plotted: PlottedStudy) -> Chart:
    """The score of each trial by its number, and the best one so far."""
    axis = plotted.value_axis()
    goal = plotted.study.spec.goal()
    best: list[float] = []
    for value in values_of(plotted.complete):
        best.append(value if not best or goal.better(value, best[-1]) else best[-1])
    numbers = [float(trial.number) for trial in plotted.complete]
    last = plotted.trials[-1].number
    lines = [Series("best so far", [*numbers, float(last)], [*best, best[-1]], Form.STEPS, 1)]
    kinds = {
        "pruned": ([t for t in plotted.others if not is_infeasible(t)], Form.DOTS, 0),
        "infeasible": ([t for t in plotted.others if is_infeasible(t)], Form.CROSSES, 3),
        "complete": (plotted.complete, Form.POINTS, 0),
    }
    for label, (trials, form, colour) in kinds.items():
        if trials:
            places = [float(trial.number) for trial in trials]
            lines.append(Series(label, places, values_of(trials), form, colour))
    title = plotted.title(f"{plotted.metric} of {_count(plotted.complete)}")
    return Chart(title, [Panel(Axis("trial"), axis, lines)], _out_of_frame(axis, lines))


def _out_of_frame(axis: Axis, series: Sequence[Series]) -> list[str]:
    """Sentences on what the frame leaves out."""
    assert axis.limits is not None  # It is the axis of the scores.
    low, high = axis.limits
    counts = {
        each.label: sum(not low <= value <= high for value in each.y)
        for each in series
        if each.form != Form.STEPS
    }
    named = [f"{count} {label}" for label, count in counts.items() if count]
    return [f"out of the frame: {', '.join(named)}"] if named else []


def _count(trials: "Sequence[FrozenTrial]") -> str:
    return f"{len(trials):,} completed trial{'s' * (len(trials) != 1)}"


def importance_chart(plotted: PlottedStudy) -> Chart:
    """How much each parameter matters, by PED-ANOVA (Watanabe et al., 2023), Optuna's default: how
    far the values of the best trials differ from those of all. Raises StudyError where the trials
    cannot tell."""
    import warnings

    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    _check_can_tell(plotted)
    study, evaluator = plotted.optuna_study(), PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = get_param_importances(study, evaluator=evaluator)
    shares = {name: share for name, share in shares.items() if name in plotted.params}
    caption = [f"PED-ANOVA over {_count(plotted.complete)}; all sum up to 1"]
    if len(plotted.complete) < _FEW_TRIALS:
        caption.append("these are few: take it as a hint")
    title = plotted.title(f"importance for {plotted.metric}")
    return Chart(title, [Bars("importance", [*shares], [*shares.values()])], caption)


def _check_can_tell(plotted: PlottedStudy) -> None:
    name = f"study {plotted.study.name!r}"
    if len(plotted.complete) < 2:
        raise StudyError(f"{name} has one completed trial; importance needs at least two")
    if not plotted.params:
        raise StudyError(f"{name}: no parameter varies, so none can matter")
    if len(set(values_of(plotted.complete))) == 1:
        score = value_of(plotted.complete[0])
        raise StudyError(
            f"{name}: all {_count(plotted.complete)} have the same {plotted.metric}, {score:.4g}, "
            "so which parameters matter cannot be told"
        )


def slice_chart(plotted: PlottedStudy) -> Chart:
    """A panel for each parameter: the scores by its values."""
    axis = plotted.value_axis()
    best = plotted.best_first()[:1]
    pruned = [trial for trial in plotted.others if not is_infeasible(trial)]
    kinds = {
        "pruned": (pruned, Form.DOTS, 0),
        "complete": (plotted.complete, Form.POINTS, 0),
        "best": (best, Form.BEST, 1),
    }
    panels = []
    for name, distribution in plotted.params.items():
        place = _placing(distribution)
        series = [
            Series(
                label,
                [place(trial.params[name]) for trial in trials if name in trial.params],
                [value_of(trial) for trial in trials if name in trial.params],
                form,
                colour,
            )
            for label, (trials, form, colour) in kinds.items()
        ]
        panels.append(Panel(_param_axis(name, distribution), axis, [s for s in series if s.x]))
    title = plotted.title(f"{plotted.metric} by parameter, {_count(plotted.complete)}")
    drawn = [Series(label, [], values_of(trials)) for label, (trials, *_) in kinds.items()]
    return Chart(title, _or_nothing_varies(plotted, panels), _out_of_frame(axis, drawn))


def parallel_chart(plotted: PlottedStudy) -> Chart:
    """Each completed trial's values of all parameters, best trials first."""
    trials = plotted.best_first()
    scales = []
    for name, distribution in plotted.params.items():
        place, axis = _placing(distribution), _param_axis(name, distribution)
        values = [place(t.params[name]) if name in t.params else None for t in trials]
        scales.append(Scale(name, values, axis.log, axis.choices))
    numbers, scores = [trial.number for trial in trials], values_of(trials)
    parallel = Parallel(numbers, plotted.metric, scores, _or_nothing_varies(plotted, scales))
    return Chart(plotted.title(f"parameters of {_count(trials)}, best first"), [parallel])


def _or_nothing_varies(plotted: PlottedStudy, drawn: list[Any]) -> list[Any]:
    if not drawn:
        raise StudyError(f"study {plotted.study.name!r}: no parameter varies")
    return drawn


def _param_axis(name: str, distribution: "BaseDistribution") -> Axis:
    choices = getattr(distribution, "choices", ())
    return Axis(name, getattr(distribution, "log", False), tuple(map(word, choices)))


def _placing(distribution: "BaseDistribution") -> Callable[[Any], float]:
    """Turns a parameter's value into its place on an axis: of a choice its position."""
    if hasattr(distribution, "choices"):
        return lambda value: float(distribution.to_internal_repr(value))
    return float


STUDY_PLOTS = {
    "history": StudyPlot(history_chart, "plot_optimization_history", takes_params=False),
    "importance": StudyPlot(importance_chart, "plot_param_importances", takes_params=False),
    "slice": StudyPlot(slice_chart, "plot_slice"),
    "parallel": StudyPlot(parallel_chart, "plot_parallel_coordinate"),
}
