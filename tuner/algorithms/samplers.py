"""Optuna's samplers, and our own, by name.

To add one: a line in SAMPLERS, with the options that its constructor takes.
"""

import hashlib
import heapq
import itertools
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuner.algorithms.curve_sampler import CurveSampler
from tuner.algorithms.options import (
    COUNT,
    FLAG,
    POSITIVE,
    Option,
    check_options,
    unknown,
    without_experimental_warnings,
)
from tuner.algorithms.population import PopulationOptions
from tuner.algorithms.priors import PriorSampler
from tuner.errors import SpaceError, SpecError
from tuner.search_space import Space
from tuner.search_space.function_kinds import FunctionKind
from tuner.study.prior_spec import PriorSpec
from tuner.study.spec import POPULATION, Choice
from tuner.system.names import install_command
from tuner.values import Scalar

# With more finished trials than LARGE a sampler sees the best and the latest of them. TPE's good
# trials are the best 25 at most, so those stay the same; the others show where it searched lately.
LARGE = 5000
BEST_SEEN = 250
LATEST_SEEN = 1500
NO_PRIOR = PriorSpec()
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class SamplerKind:
    """All that is known of a sampler.

    `build`: its class. `options`: what the user may set. `settings`: our own choices, which the
    user's override. `package`: what must be installed beside Optuna. `shared_seed`: see
    `make_sampler`. `lists`: it is given the space's configurations. `repeats_failed`: the params of
    a trial that failed are queued again, since no other trial would get them. `bounded`: of a large
    study it needs only the trials that `InView` chooses. `several`: it takes several
    objectives. `needs_space`: it needs all parameters beforehand. `generations`: a trial may go on
    from another one's weights (population.py); its params are then given, and the sampler draws
    those of the first generation. All its settings are stored with the study."""

    build: Callable[..., BaseSampler]
    options: Mapping[str, Option] = field(default_factory=dict)
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    package: str | None = None
    shared_seed: bool = False
    lists: bool = False
    repeats_failed: bool = False
    bounded: bool = False
    several: bool = True
    needs_space: bool = False
    generations: bool = False


class PopulationSampler(RandomSampler):
    """Draws the members of a population at random. The loop says what later generations train
    (`runner.populations`)."""

    def __init__(
        self,
        seed: int | None,
        population: int,
        interval: int,
        quantile: float,
        shrink: float,
        grow: float,
        resample_probability: float,
    ) -> None:
        super().__init__(seed)


class ListedSampler(BaseSampler):
    """Configurations (flat parameters) in turn, over and over. The loop gives each trial the one of
    its slot (`TrialWriter`); where it gave none, the trial's number decides."""

    def __init__(self, configurations: Sequence[Mapping[str, Scalar]], seed: int | None) -> None:
        self._configurations = configurations

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._configurations[trial.number % len(self._configurations)][param_name]


class BoundedTPESampler(TPESampler):
    """Optuna's TPE. With more than LARGE finished trials it sees those that `InView` chooses, so
    that a proposal takes no longer as the study grows."""

    _in_view: "InView | None" = None
    _view: "_View | None" = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._seen(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        seen = self._seen(study, trial)
        if seen is study:
            # The trials that the space was inferred from, a moment ago: with `constant_liar`,
            # Optuna reads them again for each group of parameters.
            trials = study._get_trials(deepcopy=False, use_cache=True)
            seen = _View(study, trial.number, trials)
        return super().sample_relative(seen, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        seen = self._seen(study, trial)
        return super().sample_independent(seen, trial, param_name, param_distribution)

    def _seen(self, study: optuna.Study, trial: FrozenTrial) -> Any:
        if study._is_multi_objective():
            return study
        if self._view is None or self._view.number != trial.number:
            self._in_view = self._in_view or InView(study.direction)
            chosen = self._in_view.choose(study._get_trials(deepcopy=False, use_cache=True))
            self._view = None if chosen is None else _View(study, trial.number, chosen)
        return self._view or study


class _View:
    """A study as the sampler sees it while it samples the trial of that number."""

    def __init__(self, study: optuna.Study, number: int, trials: list[FrozenTrial]) -> None:
        self._study, self.number, self._trials = study, number, trials

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        return [trial for trial in self._trials if states is None or trial.state in states]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)


class InView:
    """Chooses the trials that TPE sees of a large study: the best and the latest finished ones. A
    further call looks only at what has finished since the last."""

    def __init__(self, direction: StudyDirection) -> None:
        self._sign = -1 if direction == StudyDirection.MAXIMIZE else 1
        self._finished: set[int] = set()
        self._scored: set[int] = set()
        self._best: list[tuple[float, int]] = []

    def choose(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial] | None:
        """Those of a study's trials that TPE sees, in their order. None where it sees them all: at
        most LARGE have finished, or too few are complete."""
        finished, scored = self._finished, self._scored
        finished.update(t._number for t in trials if t.state in _FINISHED)
        # A paused trial, which counts as PRUNED, may be complete later.
        new = [t for t in trials if t._number not in scored and t.state == TrialState.COMPLETE]
        scored.update(trial._number for trial in new)
        self._best = heapq.nsmallest(BEST_SEEN, self._best + self._scores(new))
        if len(finished) <= LARGE or len(self._best) < BEST_SEEN:
            return None
        newest_first = (t for t in reversed(trials) if t._number in finished)
        latest = itertools.islice(newest_first, LATEST_SEEN)
        seen = {number for _, number in self._best} | {trial._number for trial in latest}
        return [t for t in trials if t._number in seen or t._number not in finished]

    def _scores(self, trials: list[FrozenTrial]) -> list[tuple[float, int]]:
        return [
            (self._sign * trial.value, trial.number)
            for trial in trials
            if trial.value is not None
            if not any(violated > 0 for violated in trial.constraints.values())
        ]


SAMPLERS: dict[str, SamplerKind] = {
    "tpe": SamplerKind(
        BoundedTPESampler,
        {
            "n_startup_trials": COUNT,
            "n_ei_candidates": POSITIVE,
            "multivariate": FLAG,
            "group": FLAG,
            "constant_liar": FLAG,
        },
        # group: without it a multivariate TPE draws conditional parameters independently.
        # constant_liar: loops side by side do not propose the same point.
        {"multivariate": True, "group": True, "constant_liar": True},
        bounded=True,
    ),
    "curves": SamplerKind(
        CurveSampler,
        {
            "n_startup_trials": COUNT,
            "n_candidates": POSITIVE,
            "random_share": Option(float, low=0, high=1),
            "spacing": Option(float, low=0),
        },
        bounded=True,
        several=False,
    ),
    "random": SamplerKind(RandomSampler, bounded=True),
    # The loop queues the points of `Space.grid`: the random sampler only fills the place.
    "grid": SamplerKind(RandomSampler, repeats_failed=True, bounded=True, needs_space=True),
    "listed": SamplerKind(ListedSampler, lists=True, bounded=True, needs_space=True),
    "qmc": SamplerKind(
        QMCSampler,
        {"qmc_type": Option(str, choices=("sobol", "halton")), "scramble": FLAG},
        {"warn_independent_sampling": False, "warn_asynchronous_seeding": False},
        shared_seed=True,
    ),
    "cmaes": SamplerKind(
        CmaEsSampler,
        {
            "n_startup_trials": COUNT,
            "popsize": Option(int, low=4),  # cmaes divides by zero below
            "consider_pruned_trials": FLAG,
            "use_separable_cma": FLAG,
            "with_margin": FLAG,
            "lr_adapt": FLAG,
        },
        {"warn_independent_sampling": False},
        package="cmaes",
        several=False,
    ),
    "nsgaii": SamplerKind(
        NSGAIISampler,
        {
            "population_size": Option(int, low=2),
            "mutation_prob": Option(float, low=0, high=1),
            "crossover_prob": Option(float, low=0, high=1),
            "swapping_prob": Option(float, low=0, high=1),
        },
    ),
    POPULATION: SamplerKind(
        PopulationSampler,
        {
            "population": Option(int, low=2),
            "interval": POSITIVE,
            "quantile": Option(float, low=0, high=0.5),
            "shrink": Option(float, low=0.01, high=1),
            "grow": Option(float, low=1, high=100),
            "resample_probability": Option(float, low=0, high=1),
        },
        asdict(PopulationOptions()),
        several=False,
        generations=True,
    ),
    "gp": SamplerKind(
        GPSampler,
        {"n_startup_trials": COUNT, "deterministic_objective": FLAG},
        {"warn_independent_sampling": False},
        package="torch",
    ),
}


def make_sampler(
    choice: Choice,
    space: Space,
    seed: int | None,
    loop: int | str,
    prior: PriorSpec = NO_PRIOR,
) -> BaseSampler:
    """The sampler of one loop, seeded by the study's seed and `loop`: a restarted loop does not
    propose its first points again. The loops of a QMC study share the study's seed, because
    together they walk one sequence. Raises SpecError."""
    check_sampler(choice, space)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warnings are meant for programmers
    own_seed = seed if SAMPLERS[choice.name].shared_seed else seed_of_loop(seed, loop)
    sampler = _build(choice, space, own_seed)
    first = prior.learned if space.function_kind.defines_space else ()
    if not (prior.centres or first):
        return sampler
    # All loops draw a trial alike: what is drawn from the prior depends on its number.
    return PriorSampler(sampler, prior.centres, seed, first)


def check_sampler(choice: Choice, space: Space) -> None:
    """Raises SpecError for an unknown name or option, a value that does not fit, a missing
    package, a grid of a space that has none, or a list with something left open."""
    if choice.name not in SAMPLERS:
        raise unknown("sampler", choice.name, SAMPLERS)
    kind = SAMPLERS[choice.name]
    check_options("sampler", choice.name, choice.options, kind.options)
    if kind.package and find_spec(kind.package) is None:
        raise SpecError(
            f"sampler {choice.name} needs the package {kind.package}: "
            f"install it with {install_command(kind.package)}"
        )
    if choice.name == "grid" and space.grid_size() is None:
        raise SpecError(f"sampler grid: {space.why_no_grid()}")
    if choice.options.get("with_margin") and space.is_conditional():
        # Optuna mixes points of different length then, and fails in the middle of a study.
        raise SpecError("sampler cmaes: with_margin does not work with conditional parameters")
    _build(choice, space, 0)


def check_knows_space(choice: Choice, space: Space) -> None:
    """Raises SpecError for a sampler that needs all parameters beforehand, where a function asks
    for them while it runs. In a comparison they are constants of the space."""
    if SAMPLERS[choice.name].needs_space and space.function_kind.defines_space:
        others = ", ".join(name for name, other in SAMPLERS.items() if not other.needs_space)
        raise SpecError(
            f"sampler {choice.name} needs to know all parameters beforehand, and {space.network} "
            f"asks for them while it runs; there are: {others}"
        )


def check_generations(choice: Choice, space: Space, pruner: Choice | None) -> None:
    """Raises SpecError where a sampler whose trials go on from each other's weights cannot do that:
    there are no such weights, or no number to change; or a pruner is to end trials. `choice`: as
    `settled_sampler` gives it."""
    if not SAMPLERS[choice.name].generations:
        return
    sampler = f"sampler {choice.name}"
    if (kind := space.function_kind) is not FunctionKind.BUILD:
        raise SpecError(
            f"{sampler} goes on from a trial's weights with other numbers, and {space.network} "
            f"{kind.form}: take another sampler"
        )
    if pruner is not None and pruner.name != "none":
        raise SpecError(
            f"{sampler} replaces bad members by good ones: no trial is pruned; leave --pruner out"
        )
    if not space.numbers_of_training():
        raise SpecError(
            f"{sampler} changes numbers while it trains, and the space searches none that can "
            "change: search learning_rate, a dropout or a penalty"
        )
    if space.nodes["epochs"].range is not None:
        raise SpecError(f"{sampler} trains all members for the same epochs: fix them, --epochs 27")
    epochs, interval = int(space.largest("epochs")), PopulationOptions.of(choice.options).interval
    if interval >= epochs:
        raise SpecError(
            f"{sampler}: interval must be less than the {epochs} epochs of a member, got {interval}"
        )


def check_several(choice: Choice) -> None:
    """Raises SpecError for a sampler that takes one objective."""
    if not SAMPLERS[choice.name].several:
        names = ", ".join(name for name, kind in SAMPLERS.items() if kind.several)
        raise SpecError(
            f"sampler {choice.name} takes one objective; for several there are: {names}"
        )


def settled_sampler(choice: Choice) -> Choice:
    """The sampler with its options in their own types: yes is true for a switch."""
    kind = SAMPLERS.get(choice.name)
    if kind is None:
        return choice
    given = {**kind.settings, **choice.options} if kind.generations else choice.options
    options = {
        name: kind.options[name].cast(value) if name in kind.options else value
        for name, value in given.items()
    }
    return choice.model_copy(update={"options": options})


def seed_of_loop(seed: int | None, loop: int | str) -> int | None:
    """A seed that is the same on every machine, unlike Python's own hash."""
    if seed is None:
        return None
    return int.from_bytes(hashlib.sha256(f"{seed}/{loop}".encode()).digest()[:4], "big")


def _build(choice: Choice, space: Space, seed: int | None) -> BaseSampler:
    kind = SAMPLERS[choice.name]
    settings: dict[str, Any] = {**kind.settings, **choice.options}
    if kind.lists:
        settings["configurations"] = _configurations(choice, space)
    if settings.get("multivariate") is False and "group" not in choice.options:
        settings["group"] = False  # TPE refuses a group of independent parameters
    with without_experimental_warnings():
        try:
            return kind.build(seed=seed, **settings)
        except (ValueError, TypeError) as error:
            raise SpecError(f"sampler {choice.name}: {error}") from error


def _configurations(choice: Choice, space: Space) -> list[dict[str, Scalar]]:
    try:
        return space.configurations()
    except SpaceError as error:
        raise SpecError(f"sampler {choice.name}: {error}") from error
