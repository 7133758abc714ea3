"""What defines a study: everything that is stored with it and never changes afterwards."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any, Self

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
from tuner.preparation.kinds import HeadTask
from tuner.preparation.kinds import TextForm as TextForm
from tuner.search_space import Space
from tuner.search_space.checks import check_defaults, explain_validation_error, format_mistake
from tuner.search_space.enumeration import MOST_POINTS, varying_values
from tuner.search_space.function_kinds import FunctionKind
from tuner.search_space.nodes import format_in_sentence
from tuner.search_space.parameters import catalogue_key, former_defaults
from tuner.search_space.parameters import defaults as present_defaults
from tuner.search_space.ranges import InvalidError, Value
from tuner.study.data_spec import FIRST_READING, check_seed
from tuner.study.data_spec import DataSpec as DataSpec
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
from tuner.study.prior_spec import PriorSpec
from tuner.system.locations import expanded_path
from tuner.system.user_modules import imported_modules
from tuner.values import Scalar

# The sampler that trains a population.
POPULATION = "pbt"
ROWS_PER_REPORT = 10_000
MOST_REPORTS = 5


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

    `prior`: what is known of good configurations before the first trial.

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
    prior: PriorSpec = PriorSpec()
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
        check_seed(self.seed)
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
    def generation_epochs(self) -> int | None:
        """The epochs of a generation, where the study trains a population: then a trial is one
        generation of a member. None otherwise."""
        if self.sampler.name != POPULATION:
            return None
        interval = self.sampler.options["interval"]
        assert isinstance(interval, int)  # all its options are stored, checked
        return interval

    @property
    def first_epoch_reports(self) -> int:
        """Reports within the first epoch: one per 10 000 rows, from 1 to 5. Only one where nothing
        can be pruned, or trials are paused, which is done between epochs."""
        if self.pruner.name in ("none", "promotion") or self.function_kind.trains:
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
        """The flat parameters of the trials before the sampler's first: the baselines, what the
        prior adds to them, and for a grid every point that is not one of them. Raises SpecError for
        a grid that is too large."""
        if self.sampler.name == "listed":  # the loop gives each slot its configuration
            return []
        trials = [self.space.flatten(baseline) for baseline in self.space.baselines]
        if not self.space.function_kind.defines_space:  # else ranges are known only as it runs
            more = (*self.prior.learned, *self.prior.portfolio)
            trials += [flat for flat in _once(more) if flat not in trials]
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


def _once(configurations: Iterable[dict[str, Scalar]]) -> Iterator[dict[str, Scalar]]:
    """Each configuration once, in their order."""
    seen: list[dict[str, Scalar]] = []
    for flat in configurations:
        if flat not in seen:
            seen.append(flat)
            yield dict(flat)


def beside(path: str, module: str) -> str:
    """The path of a module in the folder of a user's file."""
    return str(PurePath(path).parent / module)
