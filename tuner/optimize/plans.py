"""What a worker is given of a trial."""

from tuner.optimize.files import TrialFiles
from tuner.optimize.trials import Running, TrialBook, trial_seed
from tuner.storage import records
from tuner.training.events import Engine, Goal, Plan


class Plans:
    """Makes the plans of one study's trials."""

    def __init__(self, book: TrialBook, files: TrialFiles, goal: Goal, engine: Engine) -> None:
        self._book, self._files, self._goal, self._engine = book, files, goal, engine
        self._choices = book.spec.choices()

    def of(self, running: Running) -> Plan:
        """The plan of a trial that has begun, with what its earlier attempts left."""
        spec, attempt = self._book.spec, running.place.attempt
        known = (
            records.known_epochs(self._book.store, self._book.lease, running.trial_id)
            if attempt > 1
            else 0
        )
        return Plan(
            network=spec.space.network,
            params=running.params,
            seed=trial_seed(spec.seed, running.number),
            goal=self._goal,
            intervals=spec.intervals,
            held_out=spec.held_out,
            choices=self._choices,
            engine=self._engine,
            checkpoints=self._files.checkpoints(running.number, attempt, known),
        )
