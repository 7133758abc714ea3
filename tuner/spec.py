"""What defines a study: everything that is stored with it and never changes afterwards."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from tuner.errors import SpecError

Task = Literal["classes", "binary", "regression"]
ScalingMethod = Literal["auto", "minmax", "center", "standardize", "none"]

SEEDS = 2**32  # what NumPy, Keras and Optuna all take


class DataSpec(BaseModel):
    """Where the data come from and how they are split and scaled.

    `source`: a name (`digits`), a folder of IDX files, `file.npz`, `file.csv:target` or
    `file.py:load`. `validation`: share of the training rows kept for validation. `test`: share
    of all rows kept for the test, where the source brings no test split of its own. `task`:
    None means inferred from the target. Raises SpecError for a share or seed out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = "fashion_mnist"
    task: Task | None = None
    validation: float = 1 / 6
    test: float = 0.15
    scaling: ScalingMethod = "auto"
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("validation", "test"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise SpecError(f"the {name} share must lie between 0 and 1, got {share}")
        check_seed(self.seed)
        return self


def check_seed(seed: int) -> None:
    if not 0 <= seed < SEEDS:
        raise SpecError(f"the seed must be a whole number from 0 to {SEEDS - 1}, got {seed}")
