"""Which program a trial can be trained by: what its study fixes, and what it leaves open.

Knows no TensorFlow: the loop asks it which worker already holds a trial's program.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuner.study.messages import TrialRequest

# Parameters that are written into a program, one after the other program where they vary.
_WRITTEN_IN = ("depth", "bias", "loss", "norm_position")
# Numbers that are inputs; where no trial of the study has more than 0, they cost nothing.
_AMOUNTS = (
    "dropout", "input_dropout", "label_smoothing", "l1", "l2", "max_norm", "clip_norm",
    "weight_decay", "augment_shift",
)  # fmt: skip
_SWITCHES = ("batch_norm", "layer_norm", "augment_flip")
# What else the programs are given, or what concerns none: weights, numbers, rates, lengths.
_GIVEN = (
    "width", "taper", "activation", "leaky_slope", "initializer", "init_sigma", "optimizer",
    "learning_rate", "momentum", "nesterov", "huber_delta", "batch_size", "epochs", "patience",
    "schedule", "warmup_epochs", "plateau_factor", "plateau_patience", "plateau_min_delta",
    "cosine_floor", "decay", "cycle_rise",
)  # fmt: skip
# Those that a step reads, 0 in a trial that has them not.
NUMBERS = (
    "momentum", "weight_decay", "clip_norm", "label_smoothing", "huber_delta", "l1", "l2",
    "max_norm", "augment_shift", "leaky_slope",
)  # fmt: skip
KNOWN = frozenset((*_WRITTEN_IN, *_AMOUNTS, *_SWITCHES, *_GIVEN))


@dataclass(frozen=True)
class ProgramKey:
    """A program's make-up. `written_in`: parameters that it has in it. `activations`,
    `optimizers`: those it can choose from. `may`: what a trial may have beside these; `always`:
    what all of them have."""

    written_in: tuple[tuple[str, Any], ...]
    activations: tuple[str, ...]
    optimizers: tuple[str, ...]
    may: frozenset[str]
    always: frozenset[str]

    @property
    def lacks_biases(self) -> bool:
        """Whether a trial may have layers without a bias."""
        return self["bias"] is not None or bool(self.may & {"batch_norm", "layer_norm"})

    @property
    def depth(self) -> int:
        return int(dict(self.written_in)["depth"])

    @property
    def parts(self) -> tuple[str, ...]:
        """The arrays of a hidden layer; the output layer has the first two."""
        batch = ("scale", "shift", "mean", "variance") if "batch_norm" in self.may else ()
        layer = ("layer_scale", "layer_shift") if "layer_norm" in self.may else ()
        return ("kernel", "bias", *batch, *layer)

    @property
    def forms(self) -> tuple[str, ...]:
        """The ways in which the optimizers can change a weight (updates.py)."""
        forms: list[str] = []
        for name in self.optimizers:
            forms.append(name)
            if name == "sgd" and "momentum" in self.may:
                forms += ["momentum", "nesterov"]
        return tuple(forms)

    def __getitem__(self, name: str) -> Any:
        return dict(self.written_in).get(name)


def program_key_of(request: TrialRequest) -> ProgramKey | None:
    """The make-up of the program that can train the plan beside its study's other trials; None
    where only one of its own can."""
    if request.engine == "keras" or request.network != "mlp" or not request.params.keys() <= KNOWN:
        return None
    params, choices = request.params, request.choices
    positive = {
        name: [_positive(value) for value in (params.get(name, 0), *choices.get(name, ()))]
        for name in (*_AMOUNTS, *_SWITCHES)
    }
    optimizers = _all("optimizer", params, choices)
    # A trial of another optimizer has no momentum that could say what those of sgd may have.
    told = "momentum" in choices or optimizers == ("sgd",)
    positive["momentum"] = [not told or any(map(_positive, _all("momentum", params, choices)))]
    return ProgramKey(
        written_in=tuple((name, params[name]) for name in _WRITTEN_IN if name in params),
        activations=_all("activation", params, choices),
        optimizers=optimizers,
        may=frozenset(name for name, found in positive.items() if any(found)),
        always=frozenset(name for name, found in positive.items() if all(found)),
    )


def program_key(request: TrialRequest) -> str:
    """A word equal for plans that one program can train; empty where each has its own."""
    design = program_key_of(request)
    return "" if design is None else repr(design)


def _all(name: str, params: Mapping[str, Any], choices: Mapping[str, Any]) -> tuple[str, ...]:
    own = (params[name],) if name in params else ()
    return tuple(sorted({*own, *choices.get(name, ())}))


def _positive(value: Any) -> bool:
    return any(_positive(one) for one in value) if isinstance(value, list) else value > 0
