"""Tries a user's own network before a study of it is created: builds it, runs it on a few rows,
trains it on one batch, saves and loads it. What a search would fail on later is refused here, with
its cause.
"""

import inspect
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tuner.data.named_rows import named_parts, take_arrays
from tuner.errors import NetworkError
from tuner.networks import build_network, export_network
from tuner.networks.arranging import arranged_inputs, arranged_outputs
from tuner.networks.custom import (
    CompiledModel,
    CustomNetwork,
    GivenParams,
    HiddenParameter,
    MissingParameter,
    NetworkFile,
    given_params,
    model_problems,
    why_hidden,
)
from tuner.networks.dtype_policies import output_problem, precision_of, precision_problem
from tuner.networks.layers import HEAD_ACTIVATIONS, KerasLayers
from tuner.search_space.parameter_types import Params, read_number, read_whole
from tuner.search_space.parameters import FULL_PRECISION, TRAINING, is_read_by_fit
from tuner.study.messages import Event, Goal, Reply, Report, TrialRequest
from tuner.training.build_plan import plan_of_build
from tuner.training.engines.compiled_models import compile_problem, gives_logits
from tuner.training.engines.cost import worth_compiling
from tuner.training.engines.keras import KerasProgram
from tuner.training.fit_trial import FitTrial
from tuner.training.network_inputs import is_beside, may_mention, modules_of, watched_layers
from tuner.training.program_key import structure_key
from tuner.training.saved_check import outputs_differ
from tuner.training.trial import Trainer
from tuner.training.trial_builds import TrialBuilds, Tried
from tuner.values import clipped

# Probabilities of a row add up to 1 except for float32 rounding, also over thousands of classes.
_SUM_TOLERANCE = 1e-3
# A bfloat16 has 8 bits: softmax rounds each of its steps to 0.4 %.
_ROUNDED_SUM_TOLERANCE = 2e-2
_SHOWN_VALUES = 6
_QUICK_S = 0.5
_LEAST_STRUCTURES = 2  # tried even if time is short: the smallest and the largest
_MOST_TEXT = 240
# Of the rows that a network is tried with: several steps, as a trial has them.
_ONE_EPOCH: Params = {"epochs": 1, "batch_size": 8}
_MOST_CAUSE = 120  # characters of an error that a message also explains
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# Lines of Keras' errors that say where it failed, not why.
_LOCATION_LINES = (
    "Exception encountered when calling",
    "Arguments received by",
    "Operation received",
    "Could not automatically infer the output shape",
)


def check_network(
    network: CustomNetwork, request: TrialBuilds, tell: Callable[[str], None] = lambda text: None
) -> Tried:
    """Try the network with as many of the configurations as there is time for. `tell` is called
    with each next step. Raises NetworkError, in one line, for a network that does not fit."""
    return _Check(network, request, tell).run()


@dataclass(frozen=True)
class _Recording(CustomNetwork):
    """The user's network; `models` has the models of one configuration. `built` is called with each
    model and its parameters."""

    built: Callable[[Any, GivenParams], None] = lambda model, given: None
    models: list[Any] = field(default_factory=list)

    def build(
        self,
        params: Params,
        input_shape: tuple[int, ...],
        outputs: int,
        file: NetworkFile | None = None,
    ) -> Any:
        assert isinstance(params, GivenParams)
        try:
            model = super().build(params, input_shape, outputs, file)
        except (KeyError, AttributeError) as error:
            name = params.hidden_name(error)
            if name is None or isinstance(error, MissingParameter):
                raise
            hidden = HiddenParameter(why_hidden(name))
            raise hidden.with_traceback(error.__traceback__) from None
        self.built(model, params)
        self.models.append(model)
        return model


class _Check:
    """`_read`: the parameters that any build has read. `_saved`: the kinds of layers of networks
    that were saved and loaded."""

    def __init__(
        self, network: CustomNetwork, request: TrialBuilds, tell: Callable[[str], None]
    ) -> None:
        values = {name: getattr(network, name) for name in network.__dataclass_fields__}
        self._network = _Recording(**values, built=self._built)
        self._request, self._tell = request, tell
        self._where = f"{network.path}:{network.function}"
        self._dataset = request.dataset
        self._read: set[str] = set()
        self._saved: set[frozenset[str]] = set()
        self._warnings: dict[str, None] = {}
        self._trains_alone = False  # whether a model was not compiled: tuner trains it
        self._params: Params | None = None

    def run(self) -> Tried:
        self._tell("reads the file")
        self._check_signature()
        tried, structures = 0, set[str]()
        for params in self._request.configurations:
            if len(structures) >= _LEAST_STRUCTURES and self._is_late():
                break
            self._params, key = params, structure_key(self._network.identity, params)
            if key not in structures:
                self._try(params, first=not structures)
                structures.add(key)
            tried += 1
        self._params = None
        self._check_read(whole=tried == len(self._request.configurations))
        return Tried(tried, tuple(self._warnings), compiles=not self._trains_alone)

    def _is_late(self) -> bool:
        return time.monotonic() > self._request.until

    def _refusal(self, text: str) -> NetworkError:
        return NetworkError(f"{self._where}{self._configuration()}: {text}")

    def _configuration(self) -> str:
        """ " with units=8, head=float32": the configuration that a message is about."""
        if self._params is None:
            return ""
        varying = [name for name in self._request.varying if name in self._params]
        words = [f"{name}={self._params[name]}" for name in varying[:_SHOWN_VALUES]]
        more = ", …" if len(varying) > len(words) else ""
        return f" with {', '.join(words)}{more}" if words else ""

    @contextmanager
    def _step(
        self,
        doing: str,
        failed: str,
        explain: Callable[[BaseException], str | None] = lambda _: None,
    ) -> Iterator[None]:
        """Turns whatever the user's code raises inside into one line. `explain` may give a better
        text for an error than its own."""
        self._tell(f"{doing}{self._configuration()}")
        try:
            yield
        except CompiledModel:
            raise
        except NetworkError as error:
            text = str(error).removeprefix(self._where).removeprefix(self._configuration())
            raise self._refusal(text.removeprefix(":").strip()) from error
        except MissingParameter as error:
            raise self._refusal(f"{error}{self._place(error)}") from error
        except (Exception, SystemExit) as error:
            text = explain(error) or f"{error_line(error)}{self._place(error)}"
            raise self._refusal(f"{failed}: {text}") from error

    def _place(self, error: BaseException) -> str:
        """ " (net.py:7)": the last line of the user's own code in the traceback."""
        if isinstance(error, SyntaxError) and error.lineno:
            return f" ({error.filename}:{error.lineno})"
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if is_beside(frame.filename, self._network.path)]
        return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""

    def _check_signature(self) -> None:
        with self._step("reads the file", "the file cannot be run", _installing):
            function = self._network.load()
        try:
            inspect.signature(function).bind({}, (), 1)
        except TypeError as error:
            signature = inspect.signature(function)
            raise self._refusal(
                f"must take (params, input_shape, outputs), it takes {signature}"
            ) from error
        except ValueError:  # the function has no signature
            return

    def _try(self, params: Params, first: bool) -> None:
        self._network.models.clear()
        clock = time.monotonic()
        try:
            with self._step("builds", "build raises"):
                program = KerasProgram(self._network, params, self._dataset)
        except CompiledModel:
            self._try_compiled(params, first)
            return
        self._trains_alone = True
        quick = time.monotonic() - clock < _QUICK_S
        with self._step("runs", "cannot be run"):
            self._check_values(program.model)
        with self._step("builds", "build raises", self._another_structure):
            program.start(params, seed=0)
            self._check_fresh()
        with self._step("trains", "cannot be trained"):
            self._check_step(program, params, compiled=first and quick)
        kinds = _kinds(program.model)
        if first or (kinds not in self._saved and not self._is_late()):
            self._saved.add(kinds)
            self._check_saving(
                program.model,
                lambda: export_network(self._network, params, self._dataset, program.weights()),
            )

    def _try_compiled(self, params: Params, first: bool) -> None:
        """Train a compiled model for an epoch of the few rows, by Keras' own fit."""
        given = given_params(self._network, params)
        self._network.models.clear()
        with self._step("reads the file", "fit_arguments raises"):
            plan = plan_of_build(self._network, params, self._dataset, given)
        with self._step("builds", "build raises"):
            model = plan.make_model()
        if problem := compile_problem(model):
            raise self._refusal(problem)
        with self._step("runs", "cannot be run"):
            self._check_values(model)
        if not first and self._is_late():
            return
        request = TrialRequest(self._where, params | _ONE_EPOCH, 0, self._request.goal)
        make_model = plan.make_model
        if not first:  # tracing a graph, and compiling it, takes far longer than these few steps
            plan = replace(plan, make_model=lambda: _eager(make_model()))
        trial = FitTrial(Trainer(self._dataset, network=self._network), request, plan)
        with self._step("trains", "cannot be trained", self._another_structure):
            trial.run(self._hear)
            self._check_fresh()
        self._read |= given.read
        self._check_saving(model, trial.program.exported)

    def _hear(self, event: Event) -> Reply:
        loss = event.metrics.get("loss", 0.0) if isinstance(event, Report) else 0.0
        if not np.isfinite(loss):
            raise self._refusal(f"its loss in the first steps is {loss}")
        return Reply()

    def _built(self, model: Any, given: GivenParams) -> None:
        """Check a model before anything is computed."""
        self._read |= given.read
        if given.asked and not model.compiled:
            raise self._refusal(why_hidden(min(given.asked)))
        if problem := next(model_problems(model), None):
            raise self._refusal(problem)
        if not model.compiled and (problem := precision_problem(model, self._precision)):
            raise self._refusal(problem)

    @property
    def _precision(self) -> str:
        return precision_of(self._params or {})

    def _another_structure(self, error: BaseException) -> str | None:
        shapes = {tuple(tuple(v.shape) for v in model.variables) for model in self._network.models}
        if len(shapes) < 2:
            return None
        return "another network at each call with the same params; leave no sizes to chance"

    def _check_fresh(self) -> None:
        """Each call must return new layers, or a trial would start with another trial's weights."""
        models = self._network.models[:2]
        first, second = ({id(variable) for variable in model.variables} for model in models)
        if first & second:
            raise self._refusal(
                "gives the same layers at each call, so that a trial would begin with another's "
                "weights; make all layers inside the function"
            )

    def _check_values(self, model: Any) -> None:
        parts, x = self._dataset.input_parts, named_parts(self._dataset.train.x)
        scaled = {name: part.scaling.apply(np.asarray(x[name])) for name, part in parts.items()}
        inputs = scaled if self._dataset.inputs else scaled[""]
        weights = len(model.variables)
        methods = {name: part.scaling.method for name, part in parts.items()}
        with watched_layers(scaled, methods) as watched:
            try:
                outputs = self._run_model(model, inputs)
            except Exception:
                if watched.problem is None:
                    raise
        described = self._request.described
        if watched.problem is not None:
            raise self._refusal(f"{watched.problem}: the network is given {described}")
        if watched.warning is not None:
            self._warnings[f"{self._where}: {watched.warning}: it is given {described}"] = None
        if len(model.variables) > weights:  # an optimizer would not know them
            raise self._refusal(
                "makes weights only when it runs, as a layer such as PReLU does that is given as "
                "an activation; call each layer in the network instead: PReLU()(x)"
            )
        if not self._dataset.heads and not tf.is_tensor(outputs):
            raise self._refusal(f"must give one tensor, gives a {type(outputs).__name__}")
        for output in tf.nest.flatten(outputs):
            if output.dtype != tf.float32:
                problem = output_problem(output.dtype.name, self._precision)
                if not model.compiled:
                    raise self._refusal(problem)
                if self._precision != FULL_PRECISION:  # else the precision is the user's own
                    self._warnings[f"{self._where}: {problem}, or predictions are rounded"] = None
            if not np.isfinite(np.asarray(output)).all():
                raise self._refusal(
                    "gives values that are not finite (NaN or infinity) before any step"
                )
        values = self._by_target(outputs)
        if gives_logits(model) or all(t.task == "regression" for t in self._dataset.targets):
            return
        _enlarge_weights(model)
        other = self._by_target(self._run_model(model, inputs))
        for target in self._dataset.targets:
            if target.task != "regression":
                self._check_probabilities(values[target.name], target.task)
                self._check_probabilities(other[target.name], target.task, values[target.name])

    def _run_model(self, model: Any, inputs: Any) -> Any:
        """The model's outputs for scaled rows; of several heads by name."""
        tensors = tf.nest.map_structure(tf.constant, inputs)
        outputs = model(arranged_inputs(model, tensors), training=False)
        return arranged_outputs(model, outputs, self._dataset.outputs)

    def _by_target(self, outputs: Any) -> dict[str, np.ndarray]:
        named = outputs if self._dataset.heads else {self._dataset.targets[0].name: outputs}
        return {name: np.asarray(values) for name, values in named.items()}

    def _check_probabilities(
        self, values: np.ndarray, task: str, constant: np.ndarray | None = None
    ) -> None:
        """Each value must be in [0, 1]; for classes a row must sum to 1. `constant`: the values of
        other weights, which must differ."""
        binary = task == "binary"
        head = HEAD_ACTIVATIONS[task]
        tolerance = _SUM_TOLERANCE if values.dtype == np.float32 else _ROUNDED_SUM_TOLERANCE
        # Exact: bfloat16 values would be summed up in bfloat16.
        values = values.astype(np.float64)
        values = values[np.isfinite(values).all(axis=-1)]
        if not len(values):
            return
        low, high, sums = values.min(), values.max(), values.sum(axis=-1)
        if low < -tolerance or high > 1 + tolerance:
            raise self._refusal(
                f"gives values from {low:.3g} to {high:.3g}, which are no probabilities; end it "
                f"with activation={head!r}"
            )
        if binary and constant is not None and np.ptp(np.concatenate([values, constant])) < 1e-6:
            raise self._refusal(
                f"gives {values[0, 0]:.3g} for every row whatever its weights, as softmax over one "
                f"unit does; end it with activation={head!r}"
            )
        if task == "classes" and np.abs(sums - 1).max() > tolerance:
            worst = sums[np.abs(sums - 1).argmax()]
            raise self._refusal(
                f"gives rows that add up to {worst:.3g}, not to 1, which are no probabilities of "
                f"{values.shape[-1]} classes; end it with activation={head!r}"
            )

    def _check_step(self, program: KerasProgram, params: Params, compiled: bool) -> None:
        split, size = self._dataset.train, read_whole(params, "batch_size")
        x, y = (
            tf.nest.map_structure(tf.constant, take_arrays(rows[:size]))
            for rows in (split.x, split.y)
        )
        step: Any = program.step
        if compiled:
            # Refuses what works only eagerly, or not under XLA. Compiling takes as long as many
            # steps; for a large network it would take too long.
            xla = self._uses_xla(params) and not program.slow_under_xla
            step = tf.function(step, jit_compile=xla, autograph=False)
        rate = tf.constant(read_number(params, "learning_rate"))
        weights = None if program.row_weights is None else tf.constant(program.row_weights[:size])
        loss = float(step(x, y, rate, weights)[0])
        if not np.isfinite(loss):
            raise self._refusal(f"its loss in the first step is {loss}")

    def _uses_xla(self, params: Params) -> bool:
        trial_request = TrialRequest(self._where, params, 0, Goal("", "maximize"))
        return worth_compiling(trial_request, self._dataset.input_shape, self._request.train_rows)

    def _check_saving(self, trained: Any, export: Callable[[], Any]) -> None:
        file = self._request.folder / "network.keras"

        def unsaved(error: BaseException) -> str | None:
            return self._another_structure(error) or _needs_config(trained, error)

        with self._step("saves", "the network cannot be saved", unsaved):
            model = export()
            model.save(file)
        with (
            self._step("loads", "the saved network cannot be loaded", unsaved),
            _without_modules_of(self._network.path),
        ):
            loaded = keras.saving.load_model(file)
        rows = tf.nest.map_structure(
            lambda array: tf.constant(array, tf.float32), take_arrays(self._dataset.train.x)
        )
        with self._step("loads", "the saved network cannot be run"):
            saved, again = (each(rows, training=False) for each in (model, loaded))
        if outputs_differ(saved, again):
            raise self._refusal(
                "loads as another network than was saved: a layer's get_config() lacks something, "
                "or it keeps state outside of its weights"
            )

    def _check_read(self, whole: bool) -> None:
        """`whole`: whether all configurations were tried."""
        unread = self._unread()
        if unread and not may_mention(self._network, unread):
            whole = True  # the code never names them, so no configuration can make it read them
        elif unread and whole:
            whole = self._read_more()
            unread = self._unread()
        if not unread:
            return
        names = ", ".join(unread)
        self._check_effect(unread)
        if not whole:
            self._warnings[
                f"{self._where}: no build has read {names}, but not all configurations could be "
                "tried in the time"
            ] = None
            return
        verb = "is" if len(unread) == 1 else "are"
        raise self._refusal(
            f"the space's {names} {verb} read neither by it nor by the training; read "
            f"params[{unread[0]!r}] in it, or take that out of the space{self._asked_instead()}"
        )

    def _check_effect(self, unread: list[str]) -> None:
        """Refuse parameters of the training that a compiled model has no use for."""
        idle = [name for name in unread if name in TRAINING]
        if not idle:
            return
        verb = "has" if len(idle) == 1 else "have"
        raise self._refusal(
            f"the space's {', '.join(idle)} {verb} no effect on a compiled model; read "
            f"params[{idle[0]!r}] in it, or take that out of the space"
        )

    def _unread(self) -> list[str]:
        if self._trains_alone:
            return [name for name in self._request.own if name not in self._read]
        return [
            name
            for name in self._request.declared or self._request.own
            if name not in self._read and not is_read_by_fit(name)
        ]

    def _read_more(self) -> bool:
        dataset = self._dataset
        shape = dataset.input_shape, dataset.outputs, dataset.network_task
        shape = dataset.input_shape, dataset.outputs, dataset.network_task
        for params in self._request.more:
            if not self._unread():
                return True
            if self._is_late():
                return False
            self._params = params
            with self._step("builds", "build raises"):
                build_network(self._network, params, *shape, KerasLayers())
            self._network.models.clear()
        self._params = None
        return True

    def _asked_instead(self) -> str:
        in_space = set().union(*self._request.configurations)
        lacking = sorted(self._read - in_space)
        return f"; it asks for {', '.join(lacking)}, which the space lacks" if lacking else ""


def error_line(error: BaseException, most: int = _MOST_TEXT) -> str:
    """An error's text for a one-line message, without the lines that Keras adds."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    paragraphs = re.split(r"\n\s*\n", _ANSI.sub("", message))
    texts = [" ".join(paragraph.split()) for paragraph in paragraphs]
    text = next((text for text in texts if text and not text.startswith(_LOCATION_LINES)), "")
    text = clipped(text, most)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _installing(error: BaseException) -> str | None:
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    name = error.name.partition(".")[0]
    return f"there is no module {name}; install it beside tuner, or put it into the file's folder"


def _eager(model: Any) -> Any:
    model.run_eagerly, model.jit_compile = True, False
    return model


def _needs_config(model: Any, error: BaseException) -> str | None:
    """What to do about a network that Keras cannot save, or cannot load again."""
    cause = error_line(error, _MOST_CAUSE)
    if "safe_mode" in str(error):
        return (
            "a Lambda layer of Python code does not load where the network is used; write it with "
            f"keras.ops, or as a layer class with get_config() ({cause})"
        )
    own = {type(layer).__name__: None for layer in model._flatten_layers() if _is_own(layer)}
    if not own:
        return None
    return (
        f"decorate {' and '.join(own)} with @keras.saving.register_keras_serializable(), with a "
        f"get_config() that returns all arguments of __init__ ({cause})"
    )


def _is_own(layer: Any) -> bool:
    return not type(layer).__module__.startswith("keras.")


def _kinds(model: Any) -> frozenset[str]:
    return frozenset(
        f"{type(layer).__module__}.{type(layer).__name__}" for layer in model._flatten_layers()
    )


def _enlarge_weights(model: Any) -> None:
    """Set weights far from their start: without an activation at its end a network leaves [0, 1].
    The model cannot be used afterwards."""
    draw = np.random.default_rng(0)
    for variable in model.trainable_variables:
        value = variable.numpy()
        drawn = 5 * value + draw.normal(scale=3.0 if value.ndim < 2 else 0.1, size=value.shape)
        variable.assign(drawn)
        if variable.constraint is not None:  # as after each step of an optimizer
            variable.assign(variable.constraint(variable))


@contextmanager
def _without_modules_of(path: str) -> Iterator[None]:
    """Hide the user's own modules: a saved network must load without them."""
    own = {name: sys.modules.pop(name) for name in modules_of(path)}
    try:
        yield
    finally:
        sys.modules.update(own)
