"""Charts of a whole study: its history, which parameters matter, and where good values lie.

To add one: a function, a line in STUDY_PLOTS, and a sentence in the help of `study plot`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tuner.algorithms.options import unknown
from tuner.errors import SpecError, StudyError
from tuner.reports.charts import Axis, Bars, Chart, Form, Panel, Parallel, Scale, Series
from tuner.reports.lineages import schedule_chart
from tuner.reports.plotted_study import PlottedStudy, value_of, values_of
from tuner.reports.progress_plots import (
    compute_chart,
    curves_of_study,
    failures_chart,
    front_chart,
    out_of_frame,
    running_bests,
)
from tuner.storage import Store
from tuner.storage.studies import StudyRow, check_is_search
from tuner.study.spec import StudySpec
from tuner.system.names import command
from tuner.values import word

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

# Fewer trials say little about which parameters matter.
_FEW_TRIALS = 30


class Objectives(StrEnum):
    """Of which studies a plot is."""

    ONE = "one"
    SEVERAL = "several"
    ANY = "any"


@dataclass(frozen=True)
class StudyPlot:
    """`draw`: makes the chart. `question`: what it answers, as a heading. `optuna_name`: of the
    function of `optuna.visualization` that draws the same as an interactive page, if there is one.
    `takes_params`: whether it can be of some parameters only. `follows_reports`: whether each
    report of a running trial changes it; others change only as trials end. `of_population`: whether
    it needs trials that go on from each other."""

    draw: Callable[[PlottedStudy], Chart]
    question: str
    optuna_name: str | None = None
    takes_params: bool = False
    objectives: Objectives = Objectives.ONE
    follows_reports: bool = False
    of_population: bool = False

    def suits(self, spec: StudySpec) -> bool:
        """Whether there is such a chart of a search of that kind."""
        if self.of_population and spec.generation_epochs is None:
            return False
        wanted = Objectives.SEVERAL if spec.further_objectives else Objectives.ONE
        return self.objectives in (wanted, Objectives.ANY)


def study_chart(
    store: Store, study: StudyRow, kind: str, only: Sequence[str] = (), most: int | None = None
) -> tuple[Chart, PlottedStudy]:
    """The chart of that kind, and what it was made of. `only`: the parameters to draw; all by
    default. `most`: charts of parameters are of a sample of so many trials. Raises SpecError for an
    unknown kind or parameter, StudyError where there is nothing to draw."""
    if kind not in STUDY_PLOTS:
        raise unknown("plot", kind, STUDY_PLOTS)
    plot = STUDY_PLOTS[kind]
    if only and not plot.takes_params:
        raise SpecError(f"the plot {kind} is of all parameters: leave out --param")
    check_is_search(study, "study plot")
    if not plot.suits(study.spec):
        raise StudyError(_does_not_suit(study, plot))
    plotted = PlottedStudy(store, study, only, most)
    return plot.draw(plotted), plotted


def _does_not_suit(study: StudyRow, plot: StudyPlot) -> str:
    if plot.of_population:
        return f"study {study.name!r} has no schedule: its sampler is {study.spec.sampler.name}"
    if not study.spec.further_objectives:
        return f"study {study.name!r} has one objective, and no Pareto front"
    suitable = [kind for kind, plot in STUDY_PLOTS.items() if plot.suits(study.spec)]
    return (
        f"study {study.name!r} has several objectives; this plot is of one. There are: "
        f"{', '.join(suitable)}. Optuna's dashboard draws more: {command('ui')}"
    )


def history_chart(plotted: PlottedStudy) -> Chart:
    """The score of each trial by its number, and the best one so far."""
    axis = plotted.value_axis()
    best = running_bests(plotted.study.spec.goal(), values_of(plotted.scored))
    numbers = [float(trial.number) for trial in plotted.scored]
    last = plotted.outcomes[-1].number
    lines = [Series("best so far", [*numbers, float(last)], [*best, best[-1]], Form.STEPS, 1)]
    kinds = {
        "pruned": ([each for each in plotted.pruned if not each.infeasible], Form.DOTS, 0),
        "infeasible": ([each for each in plotted.pruned if each.infeasible], Form.CROSSES, 3),
        "complete": (plotted.scored, Form.POINTS, 0),
    }
    for label, (trials, form, colour) in kinds.items():
        if trials:
            places = [float(trial.number) for trial in trials]
            lines.append(Series(label, places, values_of(trials), form, colour))
    title = plotted.title(f"{plotted.metric} of {plotted.count_all()}")
    return Chart(title, [Panel(Axis("trial"), axis, lines)], out_of_frame(axis, lines))


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
    caption = [f"PED-ANOVA over {plotted.count()}; all sum up to 1"]
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
            f"{name}: all {plotted.count()} have the same {plotted.metric}, {score:.4g}, "
            "so which parameters matter cannot be told"
        )


def slice_chart(plotted: PlottedStudy) -> Chart:
    """A panel for each parameter: the scores by its values."""
    axis = plotted.value_axis()
    best = plotted.best_first()[:1]
    pruned = [trial for trial in plotted.others if not _is_infeasible(trial)]
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
    title = plotted.title(f"{plotted.metric} by parameter, {plotted.count()}")
    drawn = [Series(label, [], values_of(trials)) for label, (trials, *_) in kinds.items()]
    return Chart(title, _or_nothing_varies(plotted, panels), out_of_frame(axis, drawn))


def _is_infeasible(trial: "FrozenTrial") -> bool:
    """Whether the trial's configuration cannot work: it diverged, or ran out of memory or time."""
    return any(value > 0 for value in trial.constraints.values())


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
    return Chart(plotted.title(f"parameters of {plotted.count()}, best first"), [parallel])


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
    "history": StudyPlot(history_chart, "Scores by trial", "plot_optimization_history"),
    "compute": StudyPlot(compute_chart, "Best score against compute"),
    "curves": StudyPlot(
        curves_of_study,
        "Learning curves of running trials and the best",
        follows_reports=True,
    ),
    "importance": StudyPlot(importance_chart, "Which parameters matter", "plot_param_importances"),
    "slice": StudyPlot(slice_chart, "Where good values lie", "plot_slice", takes_params=True),
    "parallel": StudyPlot(
        parallel_chart,
        "The parameters of the best trials",
        "plot_parallel_coordinate",
        takes_params=True,
    ),
    "schedule": StudyPlot(
        schedule_chart, "What the best trial trained with, by epoch", of_population=True
    ),
    "front": StudyPlot(front_chart, "The Pareto front", objectives=Objectives.SEVERAL),
    "failures": StudyPlot(failures_chart, "Why trials failed", objectives=Objectives.ANY),
}
