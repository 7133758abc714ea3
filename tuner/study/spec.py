"""What defines a study: everything that is stored with it and never changes afterwards."""

import contextlib
import hashlib
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from tuner.errors import SpecError
from tuner.preparation.kinds import ColumnKind as ColumnKind
from tuner.preparation.kinds import HeadTask, part_name_problem
from tuner.preparation.kinds import TextForm as TextForm
from tuner.search_space import Space
from tuner.search_space.checks import check_defaults, explain_validation_error, format_mistake
from tuner.search_space.configurations import format_change, space_differences
from tuner.search_space.enumeration import MOST_POINTS, varying_values
from tuner.search_space.function_kinds import FunctionKind
from tuner.search_space.nodes import format_in_sentence
from tuner.search_space.parameter_types import format_value
from tuner.search_space.parameters import catalogue_key, former_defaults
from tuner.search_space.parameters import defaults as present_defaults
from tuner.search_space.ranges import InvalidError, Value
from tuner.study.messages import Direction, Goal, HeldOut
from tuner.study.metrics import (
    METRICS,
    check_metric,
    direction_of,
    host_metrics,
    metric_named,
    name_of,
)
from tuner.study.metrics import Task as Task
from tuner.system.locations import KEPT_NAMES, expanded_path
from tuner.system.user_modules import imported_modules
from tuner.values import Scalar

RowKind = Literal["sequence", "tokens"]
ScalingMethod = Literal["auto", "minmax", "center", "standardize", "none"]
Broken = Literal["refuse", "skip"]

SEEDS = 2**32  # what NumPy, Keras and Optuna all take
# Numbers the ways in which files are read and columns understood. A study stores its number, so
# that a later tuner sees the same data. Studies stored without one were read the first way.
FIRST_READING = 1
READING = 2
ROWS_PER_REPORT = 10_000
_MOST_PIXELS = 8192  # a side of an image
MOST_REPORTS = 5


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
        _check_seed(self.seed)
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
        f"width), got {value!r}"
    )


class Choice(BaseModel):
    """A sampler or a pruner by name, with its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Value] = Field(default_factory=dict)

    def __str__(self) -> str:
        options = sorted(self.options.items())
        return " ".join(
            [self.name, *(f"{name}={format_in_sentence(value)}" for name, value in options)]
        )


class CodeFile(BaseModel):
    """A user's own Python file as it was when the study was created. `sha256`: of its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    text: str

    @classmethod
    def of(cls, content: bytes) -> "CodeFile":
        """Raises SpecError for bytes that are no UTF-8 text."""
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise SpecError(
                f"the code is not UTF-8 text (byte {error.start}); save it as UTF-8"
            ) from error
        return cls(sha256=hashlib.sha256(content).hexdigest(), text=text)


class OwnMetricSpec(BaseModel):
    """A user's own metric: the function of the file at `path`, as the user gave it. `direction`:
    whether more or less of it is better; None where it is only recorded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    function: str
    direction: Direction | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.function}"


class FurtherObjective(BaseModel):
    """An objective after the first. `direction`: whether more or less of it is better."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    direction: Direction


class StudySpec(BaseModel):
    """A study's definition. JSON from `model_dump_json` gives an equal one.

    `fingerprint`: of the data. `train_rows`: how many rows are trained on. `held_out`: "val" for a
    search, scored by the best epoch on the validation split; "test" for a comparison, trained on
    train + validation and scored on the test split after the last epoch. A function that trains by
    itself may need no data of ours: `data` and `task` are None then, `fingerprint` is "". `heads`:
    the task of each of several targets, by name.

    `metric`: of such a function, whatever name it reports. `record`: further metrics that are kept,
    named as objectives ("val_auc"). `own_metrics`: the user's own metrics among these and the
    objective, by name, which is the function's: "val_profit" for "profit".

    `function_kind`: of a user's own network, what its function is (function_kinds.py).

    `further_objectives`: of an objective that returns several values, those after `metric`. No
    trial is the best of such a study, and none is pruned.

    `code`: the user's own files by path. Where it `keeps_modules`, the modules are among them that
    these files import from their folders; earlier studies store no modules and import them as they
    are now.

    `local_files`: SHA-256 of each file that the network's code reads by `tuner.local_file`, by its
    path there.

    `defaults`: of all parameters of the catalogue, as they were when the study was made; the space
    uses them. Studies that were stored without any have `DEFAULTS_BEFORE`.

    Raises SpecError when the parts do not fit together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    defaults: dict[str, Value] = Field(default_factory=dict)  # before the space, which uses them
    function_kind: FunctionKind = FunctionKind.BUILD  # this too
    space: Space
    data: DataSpec | None = None
    fingerprint: str = ""
    train_rows: int = Field(default=0, ge=0)
    task: Task | None = None
    heads: dict[str, HeadTask] = Field(default_factory=dict)
    sampler: Choice = Choice(name="tpe")
    pruner: Choice = Choice(name="hyperband")
    metric: str
    direction: Direction
    seed: int = 0
    held_out: HeldOut = "val"
    record: tuple[str, ...] = ()
    own_metrics: dict[str, OwnMetricSpec] = Field(default_factory=dict)
    further_objectives: tuple[FurtherObjective, ...] = ()
    code: dict[str, CodeFile] = Field(default_factory=dict)
    keeps_modules: bool = True
    local_files: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _settle_defaults(cls, content: Any) -> Any:
        """Fill in the defaults where they are missing: a new study has the present ones, one that
        was stored without any has those of that time."""
        space = content.get("space") if isinstance(content, dict) else None
        if isinstance(space, Space):
            of_space = {"defaults": space.defaults, "function_kind": space.function_kind}
            content = of_space | content
            network: object = space.network
        else:
            network = space.get("network") if isinstance(space, dict) else None
        kind = content.get("function_kind", FunctionKind.BUILD) if isinstance(content, dict) else ""
        if not isinstance(network, str) or kind not in tuple(FunctionKind):
            return content  # the fields say what is wrong
        key = catalogue_key(network, FunctionKind(kind))
        defaults = content.get("defaults", former_defaults(key))
        if isinstance(defaults, dict):
            try:
                defaults = check_defaults(key, defaults)
            except InvalidError as wrong:
                raise wrong.under("defaults") from None
        return content | {"defaults": defaults}

    @field_validator("space", mode="wrap")
    @classmethod
    def _use_defaults(
        cls, content: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Space:
        defaults, kind = info.data.get("defaults"), info.data.get("function_kind")
        if defaults is None or kind is None:
            return handler(content)
        return Space.keeping(content, defaults, kind)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.data is None:
            self._check_without_data()
        elif self.data.task not in (None, self.task):
            raise SpecError(f"the data's task is {self.data.task}, the study's is {self.task}")
        if not self.function_kind.trains:
            self._check_metrics()
        self._check_objectives()
        if self.held_out == "test" and (self.sampler.name, self.pruner.name) != ("listed", "none"):
            raise SpecError(
                "a comparison on the test split selects nothing: its sampler is listed, its pruner "
                f"none, got {self.sampler.name} and {self.pruner.name}"
            )
        _check_seed(self.seed)
        return self

    def _check_objectives(self) -> None:
        if not self.further_objectives:
            return
        if self.function_kind is not FunctionKind.OBJECTIVE:
            raise SpecError(
                f"several objectives need a function that returns several values, objective(trial);"
                f" {self.space.network} has one"
            )
        if self.pruner.name != "none":
            raise SpecError(f"several objectives: no trial is pruned, got pruner {self.pruner}")
        names = [goal.metric for goal in self.goals]
        if len(set(names)) < len(names):
            raise SpecError(f"several objectives need a name each, got {', '.join(names)}")

    def _check_without_data(self) -> None:
        if not self.function_kind.trains:
            raise SpecError("the data are missing; only a function that trains by itself has none")
        if self.task is not None or self.held_out == "test":
            raise SpecError("a study without data has no task and no test split")

    def _check_metrics(self) -> None:
        assert self.task is not None  # as for all data
        for name in self.own_metrics:
            if name in METRICS:
                raise SpecError(f"{name} is a metric of tuner: a metric of your own needs another")
        name = name_of(self.metric)
        is_known = name in self.own_metrics or metric_named(name, self.heads) is not None
        is_models = ":" in self.space.network and not is_known
        may_have_any_name = self.function_kind is FunctionKind.HYPERMODEL  # of an own `fit`
        if is_models and (may_have_any_name or self.metric == f"{self.held_out}_{name}"):
            return  # of the user's compiled model; whether it reports it, only a trial can say
        for objective in (self.metric, *self.record):
            check_metric(objective, self.task, self.held_out, self.own_metrics, self.heads)
        own = self.own_metrics.get(name)
        direction = direction_of(self.metric, self.heads) if own is None else own.direction
        if self.direction != direction:
            better = "larger" if direction == "maximize" else "smaller"
            raise SpecError(
                f"{self.metric} is better when it is {better}: the direction must be "
                f"{direction}, got {self.direction}"
            )

    @model_validator(mode="before")
    @classmethod
    def _read_as_stored(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(data := values.get("data"), dict):
            before = {"keeps_modules": False, **values}
            return before | {"data": {"reading": FIRST_READING} | data}
        return values

    @classmethod
    def from_json(cls, text: str) -> "StudySpec":
        """Raises SpecError for text that is not a study's definition."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            message = format_mistake(explain_validation_error(error))
            raise SpecError(f"not a study of this version of tuner: {message}") from error

    @property
    def newer_parameters(self) -> frozenset[str]:
        """Parameters of the catalogue that are newer than the study: without effect in its trials,
        and unknown to the MLflow runs that were sent before."""
        return frozenset(present_defaults(self.space.catalogue_key)) - frozenset(self.defaults)

    @property
    def selects(self) -> bool:
        """Whether one of its trials is the best: none is, where the test split scored them, or
        where there are several objectives."""
        return self.held_out == "val" and not self.further_objectives

    @property
    def is_comparison(self) -> bool:
        """Whether the test split scores its trials."""
        return self.held_out == "test"

    @property
    def known_data(self) -> DataSpec:
        """The data. Raises SpecError for a study without any."""
        if self.data is None:
            raise SpecError(f"{self.space.network} trains by itself, on no data of the study")
        return self.data

    @property
    def data_source(self) -> str:
        """Where the data come from, "" for a study without any."""
        return "" if self.data is None else self.data.source

    @property
    def known_task(self) -> Task:
        """The data's task. Raises SpecError for a study without data."""
        if self.task is None:
            raise SpecError(f"{self.space.network} trains by itself, for no task that is known")
        return self.task

    @property
    def epochs(self) -> int | None:
        """The most epochs that a trial may train; None where a function that trains by itself has
        not been given any."""
        if self.function_kind.trains and "epochs" not in self.space.parameters:
            return None
        return int(self.space.largest("epochs"))

    @property
    def first_epoch_reports(self) -> int:
        """Reports within the first epoch: one per 10 000 rows, from 1 to 5. Only one where nothing
        can be pruned."""
        if self.pruner.name == "none" or self.function_kind.trains:
            return 1
        return min(max(self.train_rows // ROWS_PER_REPORT, 1), MOST_REPORTS)

    @property
    def max_step(self) -> int | None:
        """The step of the last epoch's report; None where that is not known."""
        return None if self.epochs is None else self.epochs * self.first_epoch_reports

    def goal(self, target: float | None = None) -> Goal:
        """What trials are scored by. `target`: a score that ends the search."""
        return Goal(self.metric, self.direction, target)

    @property
    def goals(self) -> tuple[Goal, ...]:
        """All objectives, the first one first."""
        further = (Goal(each.metric, each.direction) for each in self.further_objectives)
        return (self.goal(), *further)

    @property
    def objectives_in_words(self) -> str:
        """All objectives, each with its direction."""
        return "; ".join(f"{goal.metric}, {goal.direction}" for goal in self.goals)

    @property
    def beside_score(self) -> tuple[str, ...]:
        """The names of what is kept and shown of a trial beside its score: the further objectives,
        and what the study records."""
        return (*(each.metric for each in self.further_objectives), *self.record)

    def host_metrics(self, recorded: bool = True) -> tuple[str, ...]:
        """What trials compute from predictions: for the objective, and what is `recorded`. A
        function that trains by itself reports what it likes."""
        if self.function_kind.trains:
            return ()
        objectives = (self.metric, *(self.record if recorded else ()))
        return host_metrics(*objectives, own=self.own_metrics, heads=self.heads)

    @property
    def metric_paths(self) -> list[str]:
        """The files of the user's own metrics, as the user gave them."""
        return list(dict.fromkeys(metric.path for metric in self.own_metrics.values()))

    def choices(self) -> dict[str, tuple[Scalar, ...]]:
        """The values that each varying parameter may have in a trial. Listed configurations are
        known beforehand: only their values count, however wide the space around them is."""
        if self.sampler.name == "listed":
            return varying_values(self.space.resolve(flat) for flat in self.space.configurations())
        return self.space.choices()

    def first_trials(self) -> list[dict[str, Scalar]]:
        """The flat parameters of the trials before the sampler's first: the baselines, and for a
        grid every point that is not one of them. Raises SpecError for a grid that is too large."""
        if self.sampler.name == "listed":  # the loop gives each slot its configuration
            return []
        trials = [self.space.flatten(baseline) for baseline in self.space.baselines]
        if self.sampler.name != "grid":
            return trials
        points = self.space.grid_size() or 0
        if points > MOST_POINTS:
            raise SpecError(
                f"the grid has {points:,} points, more than {MOST_POINTS:,}; fix parameters "
                "with --set, or use sampler random or tpe"
            )
        return trials + [point for point in self.space.grid() if point not in trials]

    @property
    def network_path(self) -> str | None:
        """The file of the user's own network, as the user gave it."""
        path, is_own, _ = self.space.network.rpartition(":")
        return path if is_own else None

    @property
    def data_path(self) -> str | None:
        """The user's own file that the data come from, if there is one."""
        if self.data is None:
            return None
        source = f"{expanded_path(self.data.source)}:"
        return next((path for path in self.code if source.startswith(f"{path}:")), None)

    @property
    def data_code(self) -> CodeFile | None:
        """The text of that file, as the study stores it."""
        return None if self.data_path is None else self.code[self.data_path]

    def modules_of(self, path: str | None) -> dict[str, CodeFile]:
        """The modules stored with one of the user's files, by their path in its folder."""
        if path not in self.code or not self.keeps_modules:
            return {}

        def read(module: str) -> bytes | None:
            file = self.code.get(beside(path, module))
            return None if file is None else file.text.encode()

        modules = imported_modules(self.code[path].text.encode(), read)
        return {module: self.code[beside(path, module)] for module in modules}

    def differences(self, was: "StudySpec") -> list[str]:
        """How this definition differs from `was`, an entry each in a user's words: "seed was 0, is
        1". Empty when both define the same study."""
        was = self._with_present_folders(was)
        facts = [
            format_change(name, _in_words(old), _in_words(new))
            for name, fact in _FACTS.items()
            if (old := fact(was)) != (new := fact(self))
        ]
        space = space_differences(was.space, self.space)
        columns = _changed_columns(_columns(was), _columns(self))
        data = [*self._data(was), *columns]
        return [*space, *data, *facts, *self._split(was), *self._changed_code(was)]

    def correcting(self, was: "StudySpec") -> "StudySpec | None":
        """`was` with this definition's code, and with the data that this code gives. None where
        they differ in anything else. What `was` stored when it was made stays."""
        was = self._with_present_folders(was)
        data, rows = _data_with_code_of(was, self), was.train_rows
        if self.fingerprint != was.fingerprint:
            if _data_location(self) != _data_location(was) or self._data_code() == was._data_code():
                return None
            data, rows = self.data, self.train_rows
        corrected = was.model_copy(
            update={
                "data": data,
                "fingerprint": self.fingerprint,
                "train_rows": rows,
                "code": self.code,
                "local_files": self.local_files,
                "keeps_modules": self.keeps_modules,
            }
        )
        return None if self.differences(corrected) else corrected

    def _with_present_folders(self, was: "StudySpec") -> "StudySpec":
        """`was`, with the folders of a notebook's code as this definition names them: such a folder
        has a new name when its code has changed."""
        present = {PurePath(path).name: path for path in self._kept_code_paths()}
        moved = {
            str(PurePath(path).parent): str(PurePath(present[PurePath(path).name]).parent)
            for path in was._kept_code_paths()
            if present.get(PurePath(path).name, path) != path
        }
        if not moved:
            return was
        text = was.model_dump_json()
        for folder, present_folder in moved.items():
            text = text.replace(folder, present_folder)
        return StudySpec.from_json(text)

    def _kept_code_paths(self) -> list[str]:
        """The files of functions of a notebook."""
        paths = (self.network_path, self.data_path, *self.metric_paths)
        return [path for path in paths if path is not None and KEPT_NAMES.search(path)]

    def _data_code(self) -> tuple[CodeFile | None, dict[str, CodeFile]]:
        return self.data_code, self.modules_of(self.data_path)

    def _data(self, was: "StudySpec") -> list[str]:
        """The fingerprint decides: the same data may lie elsewhere, or be named otherwise."""
        if self.fingerprint == was.fingerprint:  # however the images were asked for
            if _request(self) == _request(was) and self.train_rows != was.train_rows:
                return [format_change("rows trained on", str(was.train_rows), str(self.train_rows))]
            return []
        if was.data is None or self.data is None:
            return [format_change("data", was.data_source or "none", self.data_source or "none")]
        if _data_location(self) != _data_location(was):
            return [format_change("data", was.data.source, self.data.source)]
        if _request(self) != _request(was):  # other contents are what was asked for
            return [
                format_change(name, fact(was.data), fact(self.data))
                for name, fact in _IMAGE_FACTS.items()
                if fact(was.data) != fact(self.data)
            ]
        if self.data.reading != was.data.reading:
            return ["the data are read otherwise by this version of tuner"]
        old, new = was.fingerprint[:12], self.fingerprint[:12]
        return [f"data have changed (fingerprint {new}… was {old}…)"]

    def _split(self, was: "StudySpec") -> list[str]:
        if was.data is None or self.data is None:
            return []
        split = (was.data.seed, self.data.seed)
        if split[0] == split[1] or split == (was.seed, self.seed):  # --seed sets both
            return []
        return [format_change("seed of the split", *map(str, split))]

    def _changed_code(self, was: "StudySpec") -> list[str]:
        """A file that only one of them has is another network or source, and named already."""
        lines = [
            f"{p} has changed" for p in self.code if was.code.get(p) not in (None, self.code[p])
        ]
        lines += [
            f"{path} has changed"
            for path, file_hash in self.local_files.items()
            if was.local_files.get(path) not in (None, file_hash)
        ]
        own_paths = [self.network_path, self.data_path, *self.metric_paths]
        pairs = [(path, path) for path in own_paths]
        if self.fingerprint == was.fingerprint or _data_location(self) == _data_location(was):
            pairs.append((self.data_path, was.data_path))  # the file may have moved
        for path, old_path in pairs:
            if path in self.code and old_path in was.code:
                lines += self._edited(path, was, old_path)
        return list(dict.fromkeys(lines))

    def _edited(self, path: str, was: "StudySpec", old_path: str) -> Iterator[str]:
        if self.code[path] != was.code[old_path]:
            yield f"{path} has changed"
        if not was.keeps_modules:
            return
        new, old = self.modules_of(path), was.modules_of(old_path)
        for module in sorted(new.keys() | old.keys()):
            if new.get(module) != old.get(module):
                end = "has changed" if {module} <= new.keys() & old.keys() else "is new"
                yield f"{beside(path, module)} {end if module in new else 'is gone'}"


# Facts that two definitions may differ in. The direction of a metric of ours follows from it.
_FACTS: dict[str, Callable[[StudySpec], object]] = {
    "metric": lambda spec: _objective_in_words(spec),
    "further objectives": lambda spec: (
        ", ".join(f"{each.metric} ({each.direction})" for each in spec.further_objectives) or "none"
    ),
    "recorded metrics": lambda spec: ", ".join(sorted(spec.record)) or "none",
    "own metrics": lambda spec: ", ".join(sorted(map(str, spec.own_metrics.values()))) or "none",
    "sampler": lambda spec: spec.sampler,
    "pruner": lambda spec: spec.pruner,
    "task": lambda spec: spec.task,
    "kind of function": lambda spec: spec.function_kind,
    "validation share": lambda spec: _data_fact(spec, "validation"),
    "test share": lambda spec: _data_fact(spec, "test"),
    "scaling": lambda spec: _data_fact(spec, "scaling"),
    "weights": lambda spec: _weights_in_words(spec),
    "images": lambda spec: _data_fact(spec, "images") or "none",
    "seed": lambda spec: spec.seed,
    "split that is held out": lambda spec: spec.held_out,
}


# Of the same pixels it does not matter how they were asked for.
_IMAGE_FACTS: dict[str, Callable[[DataSpec], str]] = {
    "image size": lambda data: (
        "that of the files" if data.image_size is None else "{}x{}".format(*data.image_size)
    ),
    "grayscale": lambda data: "yes" if data.grayscale else "no",
    "broken images": lambda data: data.broken,
}


def beside(path: str, module: str) -> str:
    """The path of a module in the folder of a user's file."""
    return str(PurePath(path).parent / module)


def _data_fact(spec: StudySpec, name: str) -> object:
    return "none" if spec.data is None else getattr(spec.data, name)


def _weights_in_words(spec: StudySpec) -> str:
    return "none" if spec.data is None or spec.data.weights is None else repr(spec.data.weights)


def _columns(spec: StudySpec) -> Mapping[str, str]:
    return {} if spec.data is None else spec.data.columns


def _data_with_code_of(was: StudySpec, now: StudySpec) -> DataSpec | None:
    """The data of the first, from the source of the second: it names the code."""
    if was.data is None or now.data is None:
        return was.data
    return was.data.model_copy(update={"source": now.data.source})


def _objective_in_words(spec: StudySpec) -> str:
    is_own = name_of(spec.metric) in spec.own_metrics or spec.function_kind.trains
    return f"{spec.metric} ({spec.direction})" if is_own else spec.metric


def _in_words(fact: object) -> str:
    return f"{fact:.6g}" if isinstance(fact, float) else str(fact)


def _changed_columns(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [
        format_change(
            f"column {format_value(name)}",
            old.get(name, "by its cells"),
            new.get(name, "by its cells"),
        )
        for name in names
    ]


def _request(spec: StudySpec) -> DataSpec | None:
    """What was asked of the data, whatever their place, whether or not the task was named, and
    whichever version reads them."""
    if spec.data is None:
        return None
    update = {"task": spec.task, "source": "", "reading": READING, "skipped": ()}
    return spec.data.model_copy(update=update)


def _data_location(spec: StudySpec) -> Path | None:
    """The data's path, the same however it is spelled."""
    return None if spec.data is None else expanded_path(spec.data.source).resolve()


def _check_seed(seed: int) -> None:
    if not 0 <= seed < SEEDS:
        raise SpecError(f"the seed must be a whole number from 0 to {SEEDS - 1}, got {seed}")
