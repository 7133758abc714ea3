"""What a user says of the data of a study, stored with it."""

import contextlib
import math
import operator
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tuner.errors import SpecError
from tuner.preparation.kinds import ColumnKind, HeadTask, TextForm, part_name_problem
from tuner.search_space.parameter_types import format_value
from tuner.study.metrics import Task
from tuner.values import shown

RowKind = Literal["sequence", "tokens"]
ScalingMethod = Literal["auto", "minmax", "center", "standardize", "none"]
Broken = Literal["refuse", "skip"]

SEEDS = 2**32  # what NumPy, Keras and Optuna all take
# Numbers the ways in which files are read and columns understood. A study stores its number, so
# that a later tuner sees the same data. Studies stored without one were read the first way.
FIRST_READING = 1
READING = 2
_MOST_PIXELS = 8192  # a side of an image


class TargetSpec(BaseModel):
    """What a user says of one of several targets. `task`: None means inferred from its values.
    `weight`: of its loss in the sum of all heads. Raises SpecError for a weight that is not above
    0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: HeadTask | None = None
    weight: float = 1.0

    @field_validator("weight")
    @classmethod
    def _check_weight(cls, weight: float) -> float:
        if not 0 < weight < math.inf:
            raise SpecError(f"the weight of a target must be above 0 and finite, got {weight:g}")
        return weight


class DataSpec(BaseModel):
    """Where the data come from and how they are split and scaled.

    `source`: a name (`digits`), a folder of IDX files, `file.npz`, `file.csv:target` or
    `file.py:load`. `validation`: the share of the training rows that is held out for validation.
    `test`: the share of all rows that is held out for the test, where the source has no test split
    of its own. `task`: None means inferred from the target. `columns`: what the user says a column
    of a table is, by its name; the others are inferred. `weights`: the column or array that says
    how much each row counts in training; None: all count alike. `inputs`: columns of a table by the
    input that they make up; empty: one input of all columns. `targets`: of several targets what is
    said of each, by its name; then each is a head. `reading`: see READING.

    `kind`: what a row of an array is: a sequence (steps, channels), or numbers of words; None:
    by its shape and values. `text`: what texts of a table become; None: what the network learns
    from. `vocabulary`: how many words are known at most. `steps`: the length of sequences and of
    texts in words. None for both: by the training rows.

    `window`: a row is so many steps of a table, in the order of its column `time`; its targets are
    the `horizon` steps behind. `series`: the column that tells several series apart.

    Of image files: `image_size` (height, width) in pixels is what all are resized to; None keeps
    their own. `grayscale`: one channel. `broken`: what becomes of files that cannot be read.
    `images`: the column of a table with their paths. `skipped`: names of the broken files that were
    left out when the study was created.

    Raises SpecError for a share, a seed or a number out of range, for options that have no effect,
    and for names that no input or target can have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = "fashion_mnist"
    task: Task | None = None
    validation: float = 1 / 6
    test: float = 0.15
    scaling: ScalingMethod = "auto"
    seed: int = 0
    columns: dict[str, ColumnKind] = Field(default_factory=dict)
    weights: str | None = None
    inputs: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    targets: dict[str, TargetSpec] = Field(default_factory=dict)
    kind: RowKind | None = None
    text: TextForm | None = None
    vocabulary: int | None = Field(default=None, ge=1)
    steps: int | None = Field(default=None, ge=1)
    window: int | None = Field(default=None, ge=1)
    horizon: int = Field(default=1, ge=1)
    time: str | None = None
    series: str | None = None
    image_size: tuple[int, int] | None = None
    grayscale: bool = False
    broken: Broken = "refuse"
    images: str | None = None
    skipped: tuple[str, ...] = ()
    reading: int = Field(default=READING, ge=FIRST_READING, le=READING)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.window is None and (self.horizon, self.time, self.series) != (1, None, None):
            raise SpecError("horizon, time and series are of windows: give --window N too")
        for name in ("validation", "test"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise SpecError(f"the {name} share must lie between 0 and 1, got {share}")
        check_seed(self.seed)
        self._check_inputs()
        return self

    def _check_inputs(self) -> None:
        for what, names in (("an input", self.inputs), ("a target", self.targets)):
            for name in names:
                if problem := part_name_problem(name):
                    raise SpecError(f"{what} cannot be named {format_value(name)}: {problem}")
        for name, columns in self.inputs.items():
            if not columns:
                raise SpecError(f"input {name} needs at least one column")
        every = [column for columns in self.inputs.values() for column in columns]
        if twice := sorted({column for column in every if every.count(column) > 1}):
            raise SpecError(f"column {format_value(twice[0])} is named twice among the inputs")

    @field_validator("image_size", mode="before")
    @classmethod
    def _read_image_size(cls, value: Any) -> tuple[int, int] | None:
        return None if value is None else read_image_size(value)


def read_image_size(value: Any) -> tuple[int, int]:
    """(height, width) in pixels, from 64, "64", "64x48" or two numbers. Raises SpecError."""
    sides: Any = value
    if isinstance(value, str):
        sides = value.lower().replace("×", "x").split("x")
    elif not isinstance(value, list | tuple):
        sides = [value]
    if not isinstance(value, bool) and len(sides) in (1, 2):
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            height, width = (
                operator.index(int(side) if isinstance(side, str) else side)
                for side in (*sides, sides[-1])[:2]
            )
            if 0 < height <= _MOST_PIXELS and 0 < width <= _MOST_PIXELS:
                return height, width
    raise SpecError(
        f"image_size must be pixels from 1 to {_MOST_PIXELS}, such as 64, or 64x48 (height x "
        f"width), got {shown(value)}"
    )


def check_seed(seed: int) -> None:
    if not 0 <= seed < SEEDS:
        raise SpecError(f"the seed must be a whole number from 0 to {SEEDS - 1}, got {seed}")
