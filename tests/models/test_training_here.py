"""When a reading of the test split is recorded: before the last epoch, in which it is read."""

from types import SimpleNamespace

import pytest

from tuner.errors import StudyError
from tuner.models import training_here
from tuner.models.training_here import Training
from tuner.study.messages import Ended, Failed, Report, Tell


class Session:
    """Trains nothing, and keeps the order of what happens."""

    def __init__(self, epochs: int, fails_in: int | None = None) -> None:
        self._epochs, self._fails_in = epochs, fails_in
        self.happened: list[str] = []

    def run(self, _request: object, tell: Tell) -> None:
        for epoch in range(1, self._epochs + 1):
            self.happened.append(f"epoch {epoch}")
            if epoch == self._fails_in:
                raise ValueError("no luck")
            tell(Report(epoch, epoch, whole=True, metrics={}))
        tell(Ended("complete", 0.5, self._epochs, self._epochs, 10))

    def failure(self, error: Exception) -> Failed:
        return Failed("error", str(error), "")


def run(session: Session, epochs: int) -> None:
    training = Training(
        study=None,  # type: ignore[arg-type]
        trial=SimpleNamespace(number=3, value=0.5),  # type: ignore[arg-type]
        request=SimpleNamespace(ends_after=epochs),  # type: ignore[arg-type]
        doing="trained",
        before_last_epoch=lambda: session.happened.append("recorded"),
    )
    training_here._run(session, training)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("epochs", "happened"),
    [
        (1, ["recorded", "epoch 1"]),
        (3, ["epoch 1", "epoch 2", "recorded", "epoch 3"]),
    ],
)
def test_it_is_recorded_once_before_the_last_epoch(epochs: int, happened: list[str]) -> None:
    session = Session(epochs)
    run(session, epochs)
    assert session.happened == happened


def test_a_training_that_fails_before_has_read_nothing() -> None:
    session = Session(3, fails_in=2)
    with pytest.raises(StudyError, match="trial 3 cannot be trained: no luck"):
        run(session, 3)
    assert session.happened == ["epoch 1", "epoch 2"]
