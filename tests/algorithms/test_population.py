"""Population-based training: who goes on from whom, and with which numbers."""

import random
from collections import Counter
from typing import Any

import pytest

from tuner.algorithms.population import MemberTrial, Population, PopulationOptions, perturbed
from tuner.algorithms.samplers import check_generations, settled_sampler
from tuner.errors import SpecError
from tuner.search_space import Space, make_space
from tuner.study.lineage import Place
from tuner.study.spec import Choice

GENERATIONS = 4
OPTIONS = PopulationOptions(population=5)
PARAMETERS: dict[str, Any] = {
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "dropout": {"type": "categorical", "choices": [0.0, 0.2, 0.5]},
    "input_dropout": {"type": "float", "low": 0.0, "high": 0.4, "step": 0.1},
    "augment_shift": {"type": "int", "low": 0, "high": 3},
    "l2": {"type": "float", "low": 0.0, "high": 0.01},
    "depth": {"type": "int", "low": 1, "high": 3},
    "width": {"type": "int", "low": 16, "high": 64, "repeat": "depth"},
    "activation": {"type": "categorical", "choices": ["relu", "tanh"]},
    "schedule": {"type": "categorical", "choices": ["constant", "cosine"]},
}
SPACE = make_space("mlp", PARAMETERS)
CHANGING = {"learning_rate", "dropout", "input_dropout", "augment_shift", "l2"}


def population(trials: list[MemberTrial], options: PopulationOptions = OPTIONS) -> Population:
    return Population(trials, options, GENERATIONS, maximize=True, seed=3)


class Search:
    """Trials that begin and end as a population says; `chance` decides which ends next, and how."""

    def __init__(self, seed: int, workers: int) -> None:
        self.chance, self.workers = random.Random(seed), workers
        self.trials: list[MemberTrial] = []

    def run(self, count: int) -> None:
        while len(self.trials) < count or any(not t.has_ended for t in self.trials):
            running = [t for t in self.trials if not t.has_ended]
            place = population(self.trials).next_place()
            if place is not None and len(running) < self.workers and len(self.trials) < count:
                self._begin(place)
            else:
                assert running, "all wait for each other"
                self._end(self.chance.choice(running))

    def _begin(self, place: Place) -> None:
        if place.parent is not None:
            parent = self.trials[place.parent]
            assert parent.has_ended and parent.score is not None
            assert parent.generation == place.generation - 1
            assert parent.place.population == place.population
            assert place.parent in population(self.trials).needed()
        self.trials.append(MemberTrial(len(self.trials), place, False))

    def _end(self, trial: MemberTrial) -> None:
        score = None if self.chance.random() < 0.15 else self.chance.random()
        self.trials[trial.number] = MemberTrial(trial.number, trial.place, True, score)


@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_ends_gives_each_member_each_generation_once(seed: int) -> None:
    search = Search(seed, workers=seed % 7 + 1)
    search.run(45)
    places = Counter((t.member, t.generation) for t in search.trials)
    assert set(places.values()) == {1}
    for member, generation in places:
        assert generation == 0 or (member, generation - 1) in places
        assert generation < GENERATIONS


def test_all_members_train_all_generations_and_then_another_population_begins() -> None:
    trials: list[MemberTrial] = []
    for number in range(2 * 5 * GENERATIONS):
        place = population(trials).next_place()
        assert place is not None
        trials.append(MemberTrial(number, place, True, float(number % 5)))
    counts = Counter((t.place.population, t.generation) for t in trials)
    assert counts == {(n, g): 5 for n in (0, 1) for g in range(GENERATIONS)}
    assert population(trials[: 5 * GENERATIONS]).needed() == set()


def first_generation(scores: list[float | None]) -> list[MemberTrial]:
    return [MemberTrial(n, Place(), True, score) for n, score in enumerate(scores)]


def test_the_worst_copy_the_best_and_the_others_go_on() -> None:
    trials = first_generation([0.1, 0.9, 0.5, 0.6, 0.7])
    parents = {}
    for number in range(5, 10):
        place = population(trials).next_place()
        assert place is not None and place.generation == 1
        parents[place.member] = place.parent
        trials.append(MemberTrial(number, place, False))
    assert parents == {0: 1, 1: 1, 2: 2, 3: 3, 4: 4}
    # All members run: one more worker waits, and what they go on from is kept.
    assert population(trials).next_place() is None
    assert population(trials).needed() == {1, 2, 3, 4}


def test_a_failed_member_copies_whoever_is_there_or_is_replaced() -> None:
    failed: list[float | None] = [None, 0.5, None, 0.2, 0.3]
    place = population(first_generation(failed)).next_place()
    assert place == Place(0, 0, 1, 1)
    place = population(first_generation([None] * 5)).next_place()
    assert place == Place()
    without = PopulationOptions(population=5, quantile=0.0)
    assert population(first_generation([0.1, 0.9, 0.5, 0.6, 0.7]), without).next_place() == Place(
        0, 0, 1, 0
    )


def test_numbers_change_within_their_ranges_and_nothing_else() -> None:
    assert set(SPACE.numbers_of_training()) == CHANGING
    chance, changed = random.Random(0), Counter[str]()
    for number in range(200):
        flat = SPACE.draw(chance)
        options = PopulationOptions(resample_probability=(number % 3) / 2)
        new = perturbed(SPACE, flat, Place(0, number, 1, 0), options, seed=7)
        assert new.keys() == flat.keys()
        assert SPACE.point(new) == new
        changed += Counter(name for name in new if new[name] != flat[name])
        for name in ("dropout", "input_dropout", "augment_shift", "l2"):
            assert (new[name] > 0) == (flat[name] > 0)  # type: ignore[operator]
        assert new == perturbed(SPACE, flat, Place(0, number, 1, 0), options, seed=7)
    assert set(changed) == CHANGING


def test_a_factor_that_is_too_small_for_a_step_moves_by_one() -> None:
    options = PopulationOptions(shrink=0.95, grow=1.05, resample_probability=0.0)
    flat: dict[str, Any] = {"augment_shift": 2, "input_dropout": 0.2, "dropout": 0.2}
    flat = {**SPACE.draw(random.Random(1)), **flat}
    seen = [perturbed(SPACE, flat, Place(0, n, 1, 0), options, 0) for n in range(30)]
    assert {point["augment_shift"] for point in seen} == {1, 3}
    assert {point["input_dropout"] for point in seen} == {0.1, 0.3}
    assert {point["dropout"] for point in seen} == {0.2, 0.5}  # 0 would be no dropout


@pytest.mark.parametrize(
    ("space", "options", "pruner", "reason"),
    [
        (SPACE, {}, "hyperband", "no trial is pruned"),
        (SPACE, {"interval": 27}, None, "interval must be less than the 27 epochs"),
        (make_space("mlp", {"width": PARAMETERS["depth"]}), {}, None, "searches none"),
        (
            make_space("mlp", PARAMETERS | {"epochs": {"type": "int", "low": 3, "high": 9}}),
            {},
            None,
            "fix them",
        ),
    ],
)
def test_what_cannot_be_trained_so_is_refused(
    space: Space, options: dict[str, Any], pruner: str | None, reason: str
) -> None:
    choice = settled_sampler(Choice(name="pbt", options=options))
    wanted = None if pruner is None else Choice(name=pruner)
    with pytest.raises(SpecError, match=f"sampler pbt.*{reason}"):
        check_generations(choice, space, wanted)
    check_generations(settled_sampler(Choice(name="pbt")), SPACE, Choice(name="none"))
