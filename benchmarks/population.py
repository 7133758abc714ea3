"""Population-based training beside other searches, on real trainings: the best validation accuracy
by the epochs that were trained, one trial after the other.

    python -m benchmarks.population [DATA …] [--seeds 3] [--epochs 162] [--rows 10000]

No table of learning curves can stand in: the numbers of a network change while it trains. All
methods draw from one space, train for 27 epochs at most and stop early nowhere but by their pruner.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

EPOCHS, SHARES = 27, (1 / 3, 2 / 3, 1.0)
PARAMETERS: dict[str, Any] = {
    "depth": {"type": "int", "low": 1, "high": 2},
    "width": {"type": "int", "low": 32, "high": 192, "log": True},
    "activation": {"type": "categorical", "choices": ["relu", "tanh"]},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "input_dropout": {"type": "float", "low": 0.0, "high": 0.3},
    "label_smoothing": {"type": "float", "low": 0.0, "high": 0.1},
    "optimizer": {"type": "categorical", "choices": ["adam", "sgd"]},
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
    "l2": {"type": "float", "low": 1e-6, "high": 1e-3, "log": True},
    "batch_size": 64,
    "epochs": EPOCHS,
    "patience": EPOCHS,
}


@dataclass(frozen=True)
class Subject:
    """What all methods train."""

    trainer: Any
    space: Any
    seed: int

    def request(self, params: Mapping[str, Any], number: int) -> Any:
        from tuner.runner.trial_writer import trial_seed
        from tuner.study.messages import Goal, TrialRequest

        goal, seed = Goal("val_accuracy", "maximize"), trial_seed(self.seed, number)
        return TrialRequest("mlp", dict(params), seed, goal, choices=self.space.choices())

    def values(self, request: Any) -> Iterator[float]:
        """The validation accuracy after each epoch of a trial."""
        from tuner.study.messages import Report

        for event in self.trainer.run(request):
            if isinstance(event, Report):
                yield event.metrics["val_accuracy"]


def search(subject: Subject, sampler: str, pruner: str) -> Iterator[float]:
    """The accuracies of all epochs, in the order in which they are trained."""
    import optuna
    from optuna.trial import TrialState

    from tuner.algorithms.pruners import make_pruner
    from tuner.algorithms.samplers import make_sampler
    from tuner.study.spec import Choice

    study = optuna.create_study(
        direction="maximize",
        sampler=make_sampler(Choice(name=sampler), subject.space, subject.seed, 0),
        pruner=make_pruner(Choice(name=pruner), EPOCHS, "maximize"),
    )
    while True:
        trial, best, step = study.ask(), 0.0, 0
        for step, value in enumerate(
            subject.values(subject.request(subject.space.sample(trial), trial.number)), 1
        ):
            yield value
            best = max(best, value)
            trial.report(best, step)
            if step < EPOCHS and trial.should_prune():
                break
        whole = step == EPOCHS
        state = TrialState.COMPLETE if whole else TrialState.PRUNED
        study.tell(trial, best if whole else None, state)


def train_population(subject: Subject, members: int) -> Iterator[float]:
    """The same of population-based training, each generation from its parent's checkpoint."""
    import optuna

    from tuner.algorithms.population import MemberTrial, Population, PopulationOptions, perturbed
    from tuner.algorithms.samplers import make_sampler
    from tuner.study.artifacts import FolderArtifacts
    from tuner.study.lineage import generation_count, make_lineage
    from tuner.study.messages import Checkpoints
    from tuner.study.spec import Choice

    options = PopulationOptions(population=members)
    generations = generation_count(options.interval, EPOCHS)
    trials: list[MemberTrial] = []
    flats: list[dict[str, Any]] = []
    chains: list[list[int]] = []
    # The members are the first proposals of the random search of the same seed.
    first = optuna.create_study(
        sampler=make_sampler(Choice(name="random"), subject.space, subject.seed, 0)
    )
    with tempfile.TemporaryDirectory() as folder:

        def kept(number: int) -> Any:
            return FolderArtifacts(Path(folder) / str(number))

        while True:
            rule = Population(trials, options, generations, maximize=True, seed=subject.seed)
            place, number, parent = rule.next_place(), len(trials), None
            assert place is not None  # one trial at a time: none is waited for
            if place.parent is None:
                drawn = first.ask()
                subject.space.sample(drawn)
                flat, chain = dict(drawn.params), [number]
            else:
                flat, chain = flats[place.parent], [*chains[place.parent], number]
                if trials[place.parent].member != place.member:
                    flat = perturbed(subject.space, flat, place, options, subject.seed)
                parent = Checkpoints(kept(place.parent), 2, known_epochs=EPOCHS)
            flats.append(flat)
            chains.append(chain)
            params = [subject.space.resolve(flats[each]) for each in chain]
            lineage = make_lineage(chain, params[:-1], options.interval, EPOCHS)
            request = replace(
                subject.request(params[-1], lineage.root),
                earlier=lineage.earlier,
                last_epoch=lineage.last_epoch,
                checkpoints=Checkpoints(kept(number), 1, every_s=1e9, parent=parent),
            )
            best = 0.0
            for value in subject.values(request):
                yield value
                best = max(best, value)
            trials.append(MemberTrial(number, place, True, best))


METHODS: dict[str, Callable[[Subject], Iterator[float]]] = {
    "random": lambda subject: search(subject, "random", "none"),
    "tpe+hyperband": lambda subject: search(subject, "tpe", "hyperband"),
    "pbt, 4 members": lambda subject: train_population(subject, 4),
    "pbt, 6 members": lambda subject: train_population(subject, 6),
    "pbt, 10 members": lambda subject: train_population(subject, 10),
}


def bests(values: Iterator[float], epochs: int) -> list[float]:
    """The best accuracy after each share of so many epochs."""
    best, found = 0.0, []
    for epoch, value in zip(range(1, epochs + 1), values, strict=False):
        best = max(best, value)
        if epoch in [round(share * epochs) for share in SHARES]:
            found.append(best)
    return found


def load(data: str, rows: int | None) -> Any:
    """A data set with so many of its training rows."""
    from tuner.data import find_source, load_dataset
    from tuner.settings import load_settings
    from tuner.study.data_spec import DataSpec

    settings, spec = load_settings(), DataSpec(source=data)
    dataset = load_dataset(spec, settings, find_source(data, settings), None, False)
    if rows is None or len(dataset.train.y) <= rows:
        return dataset
    train = dataset.train
    return replace(dataset, train=replace(train, x=train.x[:rows], y=train.y[:rows]))


def main() -> None:
    from tuner.search_space import make_space
    from tuner.training.trial import Trainer

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", nargs="*", default=["digits"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=162)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    asked = parser.parse_args()
    space = make_space("mlp", PARAMETERS)
    for data in asked.data:
        trainer = Trainer(load(data, asked.rows))
        for name in asked.methods:
            by_seed = []
            for seed in range(asked.seeds):
                by_seed.append(bests(METHODS[name](Subject(trainer, space, seed)), asked.epochs))
                print(f"  {data} {name} seed {seed}: {by_seed[-1]}", file=sys.stderr, flush=True)
            means = [statistics.mean(each) for each in zip(*by_seed, strict=True)]
            print(
                f"| {data} | {name} | {' / '.join(f'{mean:.4f}' for mean in means)} |", flush=True
            )


if __name__ == "__main__":
    main()
