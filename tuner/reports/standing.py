"""How far a study's best trial is from where it began: from its baseline."""

from dataclasses import dataclass

from tuner.storage import Store
from tuner.storage.studies import StudyRow
from tuner.storage.trials import TrialRow, find_best, first_trials
from tuner.study.messages import rank
from tuner.values import format_number


@dataclass(frozen=True)
class Standing:
    """`best`: the study's best trial. `baseline`: the best of those that trained a baseline of its
    space. Both None where there is none yet, and where nothing is chosen: in a comparison, and
    with several objectives."""

    best: TrialRow | None = None
    baseline: TrialRow | None = None

    @property
    def gain(self) -> float | None:
        """The best score less the baseline's, in the objective's units."""
        if self.best is None or self.best.value is None:
            return None
        if self.baseline is None or self.baseline.value is None:
            return None
        return self.best.value - self.baseline.value

    @property
    def in_words(self) -> str:
        """The best score as its difference from the baseline's; "" where it has none."""
        if self.gain is None:
            return ""
        assert self.baseline is not None
        its_score = f"the baseline's {format_number(self.baseline.value)}"
        if self.gain == 0.0:
            return f"the same as {its_score} (trial {self.baseline.number})"
        side = "above" if self.gain > 0 else "below"
        by = format_number(abs(self.gain))
        return f"{by} {side} {its_score} (trial {self.baseline.number})"


def read_standing(store: Store, study: StudyRow) -> Standing:
    """The study's best trial and its baseline."""
    if not study.spec.selects:
        return Standing()
    return Standing(find_best(store, study).trial, read_baseline(store, study))


def read_baseline(store: Store, study: StudyRow) -> TrialRow | None:
    """The best of the trials that trained a baseline of the study's space; None where there is none
    yet."""
    spec = study.spec
    baselines = [spec.space.resolve(spec.space.flatten(each)) for each in spec.space.baselines]
    trained = [
        trial
        for trial in first_trials(store, study, len(baselines))
        if trial.state == "COMPLETE" and trial.usable and trial.params in baselines
    ]
    return min(trained, key=lambda trial: rank(trial.value or 0.0, spec.direction), default=None)
