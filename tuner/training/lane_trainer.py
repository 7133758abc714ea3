"""A trainer whose trials are trained beside those of others, in one process."""

from tuner.data import Dataset
from tuner.networks.custom import CustomNetwork
from tuner.training.events import Plan
from tuner.training.shared.conductor import Conductor, Lane
from tuner.training.shared.design import design_of
from tuner.training.trial import Ready, Trainer


class LaneTrainer(Trainer):
    """Puts a trial into lane `number` of its group, where it can share a program; others are
    trained as by a Trainer, whenever it is this one's turn."""

    company = "a population"

    def __init__(
        self,
        dataset: Dataset,
        budget_bytes: float,
        network: CustomNetwork | None,
        conductor: Conductor,
        number: int,
    ) -> None:
        super().__init__(dataset, budget_bytes, network, conductor.data)
        self._conductor, self._number = conductor, number
        self._lane: Lane | None = None

    def prepare(self, plan: Plan) -> Ready:
        design = design_of(plan)
        if design is None or self._data is None or self._network is not None:
            return super().prepare(plan)
        self.program = self._lane = self._conductor.lane(plan, design, self._number)
        return self._lane, self._lane

    def leave(self) -> None:
        """The trial has ended: the others wait no longer for it."""
        if self._lane is not None:
            self._lane.leave()
            self._lane = None
