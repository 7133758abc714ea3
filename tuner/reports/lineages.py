"""What a trial of a population goes on from, and the schedule that its numbers had."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuner.errors import StudyError
from tuner.reports.charts import Axis, Chart, Form, Panel, Series, value_axis
from tuner.reports.plotted_study import PlottedStudy
from tuner.search_space.parameter_types import Params
from tuner.storage import Store
from tuner.storage.lineages import read_ancestors, read_places
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow, find_trial
from tuner.study.lineage import Place, generation_count, generation_end
from tuner.system.names import command, in_command
from tuner.values import word


@dataclass(frozen=True)
class Stage:
    """A generation of a lineage: the trial that trained it, and with what."""

    trial: int
    first_epoch: int
    last_epoch: int
    params: Params


@dataclass(frozen=True)
class TrialLineage:
    """A trial of a population. `place`: where it stands. `parents_member`: of which member its
    parent is; None without a parent. `stages`: those of its whole lineage, the first one first."""

    trial: int
    place: Place
    parents_member: int | None
    stages: tuple[Stage, ...]

    @property
    def member(self) -> int:
        return self.place.member_of(self.trial)

    @property
    def changing(self) -> list[str]:
        """The names of what differs between the stages."""
        stages, first = self.stages, self.stages[0].params
        return [name for name in first if any(s.params.get(name) != first[name] for s in stages)]

    def facts(self) -> dict[str, Any]:
        """What `trial show` and the trial's page say."""
        return {
            "generation": self.place.generation,
            "member": self.member,
            "goes_on_from": self._parent_in_words(),
        }

    def _parent_in_words(self) -> str | None:
        if self.place.parent is None:
            return None
        parent = f"trial {self.place.parent}"
        is_copy = self.parents_member != self.member
        return f"{parent}, a copy of member {self.parents_member}" if is_copy else parent

    def schedule(self) -> dict[str, str]:
        """Each number that changed, with its values by epoch: 0.001, from epoch 4 0.0008."""
        return {name: self._by_epoch(name) for name in self.changing}

    def _by_epoch(self, name: str) -> str:
        texts = []
        for number, stage in enumerate(self.stages):
            value = stage.params.get(name)
            if number and value == self.stages[number - 1].params.get(name):
                continue
            text = _value_text(value)
            texts.append(f"from epoch {stage.first_epoch} {text}" if number else text)
        return ", ".join(texts)

    def rows(self) -> list[dict[str, Any]]:
        """The same as a row for each stage, with all its values that change."""
        return [
            {"trial": stage.trial, "from_epoch": stage.first_epoch, "to_epoch": stage.last_epoch}
            | {name: stage.params.get(name) for name in self.changing}
            for stage in self.stages
        ]


def read_lineage(store: Store, study: StudyRow, trial: TrialRow) -> TrialLineage | None:
    """The lineage of a trial; None for one that belongs to no population, or has not begun. Raises
    StudyError where it cannot be read."""
    if study.spec.generation_epochs is None or not trial.attempts:
        return None
    places = read_places(store, study)
    place = places.get(trial.number, Place())
    parents_member = None
    if place.parent is not None:
        parents_member = places.get(place.parent, Place()).member_of(place.parent)
    trials = [*read_ancestors(store, study, trial.number), trial]
    return TrialLineage(trial.number, place, parents_member, _stages(study, trials))


def _stages(study: StudyRow, trials: Sequence[TrialRow]) -> tuple[Stage, ...]:
    interval, epochs = study.spec.generation_epochs or 0, study.spec.epochs or 0
    return tuple(
        Stage(
            trial.number,
            number * interval + 1,
            generation_end(number, interval, epochs),
            trial.params,
        )
        for number, trial in enumerate(trials)
    )


def population_facts(store: Store, study: StudyRow, best: TrialRow | None) -> dict[str, Any]:
    """What `study show` says of a population: the generations of each member, and the best trial's
    lineage."""
    if study.spec.generation_epochs is None:
        return {}
    count = generation_count(study.spec.generation_epochs, study.spec.epochs or 0)
    facts: dict[str, Any] = {"generations": count}
    lineage = None if best is None else read_lineage(store, study, best)
    if lineage is not None:
        facts["best_lineage"] = " → ".join(str(stage.trial) for stage in lineage.stages)
        facts["best_schedule"] = lineage.schedule()
    return facts


def schedule_chart(plotted: PlottedStudy) -> Chart:
    """The numbers of the best trial's lineage by epoch, a panel each. Raises StudyError where none
    of them changed."""
    study = plotted.study
    best = find_trial(plotted.store, study, plotted.best.number)
    lineage = read_lineage(plotted.store, study, best)
    changing = (
        [] if lineage is None else [n for n in lineage.changing if _is_number(best.params[n])]
    )
    if lineage is None or not changing:
        raise StudyError(
            f"study {study.name!r}: the best trial, {best.number}, trained with the same numbers "
            "from its first epoch on; its parameters: "
            + command("study", "best", in_command(study.name))
        )
    panels = []
    for name in changing:
        values = [float(stage.params[name]) for stage in lineage.stages]  # type: ignore[arg-type]
        epochs = [float(stage.first_epoch) for stage in lineage.stages]
        epochs.append(float(lineage.stages[-1].last_epoch))
        line = Series(name, epochs, [*values, values[-1]], Form.STEPS, 1)
        panels.append(Panel(Axis("epoch"), value_axis(name, values), [line]))
    trials = ", ".join(str(stage.trial) for stage in lineage.stages)
    title = plotted.title(f"schedule of trial {best.number}, the best")
    return Chart(title, panels, [f"the lineage of trials {trials}"])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value_text, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else word(value)
