"""The catalogue: every parameter that the shipped networks and the training take, and the kinds of
shipped networks. Search spaces are checked against it; `tuner space parameters` prints it.

To add a parameter: add it here with its role, and read it where that role is handled (training/ops
for a number or a switch of the training, networks for a layer). Say which value is `off`: studies
made before the parameter existed have it. To add a network: add its kind here, and its builder in
networks. No TensorFlow: the kinds name their builders as text.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tuner.search_space.function_kinds import FunctionKind
from tuner.search_space.parameter_types import Parameter, Role, repeat_value
from tuner.values import Scalar

ACTIVATIONS = (
    "relu", "leaky_relu", "elu", "selu", "gelu", "swish", "softplus", "sigmoid", "tanh", "arctan",
    "linear",
)  # fmt: skip
INITIALIZERS = (
    "auto", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform",
    "lecun_normal", "normal", "orthogonal",
)  # fmt: skip
OPTIMIZERS = ("adam", "adamw", "nadam", "sgd", "rmsprop", "adagrad")
SCHEDULES = ("constant", "plateau", "cosine", "exponential", "one_cycle")
# Those that follow the objective on the validation split, which a comparison trains on.
SCHEDULES_BY_SCORE = ("plateau",)

# By task, the losses that fit it; the first is what `auto` means.
LOSSES: dict[str, tuple[str, ...]] = {
    "classes": ("cross_entropy", "mse"),
    "binary": ("cross_entropy", "mse"),
    "multilabel": ("cross_entropy", "mse"),
    "regression": ("mse", "mae", "huber"),
    "several": (),  # each head has the first of its task
}
ALL_LOSSES = tuple(dict.fromkeys(loss for losses in LOSSES.values() for loss in losses))


def _table(*parameters: Parameter) -> dict[str, Parameter]:
    return {parameter.name: parameter for parameter in parameters}


def _table_of_new_network(*parameters: Parameter) -> dict[str, Parameter]:
    """Those that a network has had from its first version on: no study is older than they are, so
    `off` is their default."""
    return _table(*(replace(parameter, off=parameter.default) for parameter in parameters))


def _whole(name: str, default: int, role: Role, bounds: tuple[int, int], **more: Any) -> Parameter:
    """A whole number from the first to the second bound."""
    return Parameter(name, "int", default, role=role, low=bounds[0], high=bounds[1], **more)


def _real(name: str, default: float, role: Role, bounds: str, **more: Any) -> Parameter:
    """A number, with its bounds as mathematics writes them: "(0, 1]" is > 0 and <= 1."""
    low, high = (float(bound) for bound in bounds[1:-1].split(","))
    return Parameter(
        name, "float", default, role=role, low=low, low_open=bounds[0] == "(",
        high=high if math.isfinite(high) else None,
        high_open=bounds[-1] == ")" and math.isfinite(high), **more,
    )  # fmt: skip


def _rate(name: str, doc: str, **more: Any) -> Parameter:
    return _real(name, 0.0, Role.DROPOUT, "[0, 1)", doc=doc, **more)


def _amount(name: str, doc: str, **more: Any) -> Parameter:
    """A number that the training reads; 0, its default, means that there is none."""
    return _real(name, 0.0, Role.SCALAR, "[0, inf)", doc=doc, **more)


def _choice(
    name: str, default: str, role: Role, choices: tuple[str, ...], **more: Any
) -> Parameter:
    return Parameter(name, "categorical", default, role=role, choices=choices, **more)


def _switch(name: str, doc: str, **more: Any) -> Parameter:
    """An operation that a trial has or does not have."""
    return Parameter(name, "bool", False, role=Role.SWITCH, choices=(True, False), doc=doc, **more)


def _only(parent: str, *values: Scalar) -> dict[str, tuple[Scalar, ...]]:
    return {parent: values}


_LENGTH = _table(
    _whole("epochs", 27, Role.LOOP, (1, 100_000), doc="most epochs that a trial trains"),
    _whole(
        "patience", 5, Role.LOOP, (1, 100_000),
        doc="epochs without a better objective before a trial stops early",
    ),
    _whole("batch_size", 32, Role.SIZE, (1, 1_048_576), doc="samples per step"),
)  # fmt: skip

_LOSS = _table(
    _choice(
        "loss", "auto", Role.STRUCTURE, ("auto", *ALL_LOSSES), changes_loss=True,
        doc="what is minimised; for classes, mse compares with the one-hot form",
        note="auto: cross_entropy for classes and binary, mse for regression",
    ),
    _real(
        "huber_delta", 1.0, Role.SCALAR, "(0, inf)", when=_only("loss", "huber"), changes_loss=True,
        doc="error, in standard deviations of the target, above which huber grows linearly",
    ),
    _real(
        "label_smoothing", 0.0, Role.SCALAR, "[0, 1)", changes_loss=True, needs="classes",
        when=_only("loss", "auto", "cross_entropy", "mse"),
        doc="share of the target that is spread evenly over all classes",
    ),
    _choice(
        "class_weight", "none", Role.ROW_WEIGHT, ("none", "balanced"), off="none", by_class=True,
        needs="classes",
        doc="how much the training rows of each class count in the loss; balanced: rare classes "
        "as much as frequent ones",
    ),
)  # fmt: skip

# An optimizer that only the Keras engine implements is also named in `keras_only`.
_OPTIMIZER = _table(
    _choice("optimizer", "adam", Role.CHOICE, OPTIMIZERS, keras_only=(), doc="Keras optimizer"),
    _real(
        "learning_rate", 1e-3, Role.SCHEDULE, "(0, inf)",
        doc="learning rate; the peak learning rate where a schedule changes it",
    ),
    _real(
        "momentum", 0.0, Role.SCALAR, "[0, 1)", when=_only("optimizer", "sgd"),
        doc="momentum of sgd",
    ),
    _switch("nesterov", "Nesterov momentum", when=_only("optimizer", "sgd")),
    _amount(
        "weight_decay",
        "decoupled weight decay: each step takes this share of each kernel, times the learning "
        "rate; adamw is adam with it",
    ),
    _amount("clip_norm", "largest norm of all gradients together; 0: not clipped"),
)  # fmt: skip

_SCHEDULE = _table(
    _choice(
        "schedule", "constant", Role.SCHEDULE, SCHEDULES,
        doc="how the learning rate changes over the steps of a trial",
    ),
    _real(
        "warmup_epochs", 0.0, Role.SCHEDULE, "[0, inf)",
        doc="epochs of a linear rise to the learning rate, before the schedule begins; with "
        "one_cycle, the length of its rise",
    ),
    _real(
        "plateau_factor", 0.5, Role.SCHEDULE, "(0, 1)", when=_only("schedule", "plateau"),
        doc="what the rate is multiplied by when the objective no longer improves",
    ),
    _whole(
        "plateau_patience", 2, Role.SCHEDULE, (1, 100_000), when=_only("schedule", "plateau"),
        doc="epochs without a better objective before that",
    ),
    _real(
        "plateau_min_delta", 1e-4, Role.SCHEDULE, "[0, inf)", when=_only("schedule", "plateau"),
        doc="by how much an objective must be better to count",
    ),
    _real(
        "cosine_floor", 0.0, Role.SCHEDULE, "[0, 1]", when=_only("schedule", "cosine"),
        doc="share of the learning rate that is left at the end",
    ),
    _real(
        "decay", 0.9, Role.SCHEDULE, "(0, 1]", when=_only("schedule", "exponential"),
        doc="what the rate is multiplied by after each epoch",
    ),
    _real(
        "cycle_rise", 0.3, Role.SCHEDULE, "(0, 1)", when=_only("schedule", "one_cycle"),
        doc="share of the steps in which the rate rises",
    ),
)  # fmt: skip

_REGULARISATION = _table(
    _amount("l1", "penalty on the sum of all kernels' absolute values", changes_loss=True),
    _amount("l2", "penalty on the sum of all kernels' squares", changes_loss=True),
    _amount("max_norm", "largest norm of a unit's incoming weights; 0: not bounded"),
    _whole(
        "augment_shift", 0, Role.SCALAR, (0, 64), needs="images",
        doc="images: each is shifted by up to this many pixels each way, anew each time, and "
        "filled with zeros",
    ),
    _switch(
        "augment_flip", "images: each is mirrored left to right with probability one half",
        needs="images",
    ),
)  # fmt: skip

# Weights, inputs, outputs and losses are float32 in all of them (networks/dtype_policies.py).
FULL_PRECISION = "float32"
_PRECISION = _table(
    _choice(
        "precision", FULL_PRECISION, Role.PRECISION, (FULL_PRECISION, "bfloat16", "mixed_float16"),
        off=FULL_PRECISION, keras_only=("bfloat16", "mixed_float16"),
        doc="the numbers that layers compute in; the weights are float32 in all of them. Others "
        "than float32 are for GPUs",
    ),
)  # fmt: skip

TRAINING: dict[str, Parameter] = (
    _LENGTH | _LOSS | _OPTIMIZER | _SCHEDULE | _REGULARISATION | _PRECISION
)

_LAYERS = _table(
    _whole("depth", 2, Role.STRUCTURE, (0, 64), doc="number of hidden layers"),
    _whole("width", 128, Role.SIZE, (1, 65_536), layers="depth", doc="units of a hidden layer"),
    _real(
        "taper", 1.0, Role.SIZE, "(0, 4]",
        doc="each further hidden layer has this many times the width of the one before",
    ),
    _choice("activation", "relu", Role.CHOICE, ACTIVATIONS, doc="activation of hidden layers"),
    _real(
        "leaky_slope", 0.2, Role.SCALAR, "[0, 1)", when=_only("activation", "leaky_relu"),
        doc="slope of leaky_relu below zero",
    ),
    _choice(
        "initializer", "auto", Role.INIT, INITIALIZERS, doc="how kernels are drawn",
        note="auto: he_normal for relu, leaky_relu, elu, gelu, swish; lecun_normal for selu; "
        "glorot_uniform for the others and the output layer",
    ),
    _real(
        "init_sigma", 0.05, Role.INIT, "(0, inf)", when=_only("initializer", "normal"),
        doc="standard deviation of the initializer normal",
    ),
    _choice(
        "bias", "all", Role.STRUCTURE, ("all", "input", "none"),
        doc="which layers have biases; input: one constant input beside the others, with weights "
        "drawn like theirs",
    ),
    _rate("dropout", "share of a hidden layer's outputs dropped in training", layers="depth"),
    _rate("input_dropout", "share of the inputs dropped in training"),
    _switch("batch_norm", "batch normalisation in every hidden layer"),
    _switch("layer_norm", "layer normalisation in every hidden layer"),
    _choice(
        "norm_position", "before", Role.STRUCTURE, ("before", "after"),
        doc="normalisation before or after the activation",
    ),
)  # fmt: skip

_BLOCKS = _table(
    _whole(
        "blocks", 2, Role.STRUCTURE, (0, 8),
        doc="number of blocks of convolutions, each ended by max pooling",
    ),
    _whole("convolutions", 1, Role.STRUCTURE, (1, 8), doc="number of convolutions in each block"),
    _whole(
        "filters", 32, Role.SIZE, (1, 4096), layers="blocks",
        doc="filters of a block's convolutions",
    ),
    _real(
        "filter_growth", 2.0, Role.SIZE, "(0, 8]",
        doc="each further block has this many times the filters of the one before",
    ),
    _whole(
        "kernel", 3, Role.STRUCTURE, (1, 31), doc="side of a convolution's window, in pixels"
    ),
    _choice(
        "padding", "same", Role.STRUCTURE, ("same", "valid"),
        doc="padding of convolutions; a map smaller than the window is padded in any case",
    ),
    _whole("pool", 2, Role.STRUCTURE, (1, 16), doc="side of a pooling window; 1: no pooling"),
    _rate("block_dropout", "share of a block's outputs dropped in training", layers="blocks"),
)  # fmt: skip

_STAGES = _table_of_new_network(
    _whole(
        "stages", 3, Role.STRUCTURE, (1, 6),
        doc="number of stages of residual blocks; each but the first halves the sides of the maps",
    ),
    _whole("stage_blocks", 2, Role.STRUCTURE, (1, 32), doc="number of residual blocks in a stage"),
    _whole(
        "stage_filters", 16, Role.SIZE, (1, 4096), layers="stages",
        doc="filters of a stage's convolutions",
    ),
    _real(
        "stage_growth", 2.0, Role.SIZE, "(0, 8]",
        doc="each further stage has this many times the filters of the one before",
    ),
    _choice(
        "stem", "small", Role.STRUCTURE, ("small", "large"),
        doc="the first convolution: a window of 3, or for large images a window of 7 and pooling, "
        "which quarter the sides",
    ),
    _switch(
        "pre_activation", "normalisation and activation before each convolution of a block instead "
        "of behind it",
    ),
    _rate("stage_dropout", "share of a stage's outputs dropped in training", layers="stages"),
)  # fmt: skip

_RECURRENT = _table_of_new_network(
    _choice(
        "cell", "lstm", Role.CHOICE, ("simple", "lstm", "gru"),
        doc="what is computed at each step; gru has three quarters of the weights of lstm",
    ),
    _whole("rnn_layers", 1, Role.STRUCTURE, (1, 16), doc="number of recurrent layers"),
    _whole(
        "units", 64, Role.SIZE, (1, 8192), layers="rnn_layers",
        doc="units of a recurrent layer, in each direction",
    ),
    _switch("bidirectional", "each recurrent layer reads a row from both ends"),
    _choice(
        "pooling", "last", Role.STRUCTURE, ("last", "mean"),
        doc="what of the last recurrent layer goes on: its output at the last step, or the mean "
        "over all steps",
    ),
    _whole(
        "embedding", 64, Role.SIZE, (1, 8192), needs="words",
        doc="size of the vector that is learnt for each word",
    ),
    _rate(
        "recurrent_dropout",
        "share of a recurrent layer's outputs that do not reach the next step in training; the "
        "same ones at all steps",
        layers="rnn_layers",
    ),
    _rate(
        "rnn_dropout", "share of a recurrent layer's outputs dropped in training behind it",
        layers="rnn_layers",
    ),
)  # fmt: skip


def _choose(parameters: dict[str, Parameter], **own_defaults: Scalar) -> dict[str, Parameter]:
    """The parameters, some with a network's own default."""
    return {
        name: replace(parameter, default=own_defaults.get(name, parameter.default))
        for name, parameter in parameters.items()
    }


# Where few values, each with a meaning, come before the dense layers, no hidden one follows by
# default. Biases and the place of a normalisation cannot be chosen there.
_HEAD_OF_FEW = _choose(
    {name: _LAYERS[name] for name in _LAYERS if name not in ("bias", "norm_position")},
    depth=0,
)  # fmt: skip


@dataclass(frozen=True)
class NetworkKind:
    """What is known of a shipped network without TensorFlow.

    `parameters`: those of its own, beside the training's.
    `builder`: "package.module:function", which returns the keras.Model (networks/registry.py).
    `estimate_weights`: roughly how many weights it has, from (params, values in a row of data).
    `dropout_places`: the parameters of its dropouts, in the order of the network.
    `has_shared_program`: whether the graph and XLA engines can train it, and not only Keras.
    `row_axes`: the numbers of axes that a row of data may have, () for any; `row_noun`: such data.
    `input_kinds`: which `Dataset.input_kind` it can learn from. Only a network that looks its words
    up takes "tokens".
    `reads_steps`: whether its builder is also told what steps are (networks/step_rows.py).
    """

    parameters: dict[str, Parameter]
    builder: str
    estimate_weights: Callable[[Mapping[str, Any], int], int]
    dropout_places: tuple[str, ...]
    has_shared_program: bool = False
    row_axes: tuple[int, ...] = ()
    row_noun: str = "data"
    input_kinds: tuple[str, ...] = ("", "sequence")
    reads_steps: bool = False

    def accepts(self, input_shape: tuple[int, ...], input_kind: str = "") -> bool:
        """Whether it can be built for rows of this shape and `Dataset.input_kind`."""
        if input_kind == "tokens":
            return self.takes_tokens
        return not self.row_axes or len(input_shape) in self.row_axes

    @property
    def takes_tokens(self) -> bool:
        """Whether texts become numbers of words for it, instead of a feature for each word."""
        return "tokens" in self.input_kinds

    def dropout_rates(self, params: Mapping[str, Any]) -> list[float]:
        """The rate at each place where it may have a dropout, zeros included."""
        return [
            rate for name in self.dropout_places for rate in self.parameters[name].per_layer(params)
        ]


def _estimate_dense_weights(params: Mapping[str, Any], inputs: int) -> int:
    """As if each hidden layer had the width of the widest."""
    widest = max(repeat_value(params["width"], 1), default=0)
    return int(widest * (inputs + widest * params["depth"]))


def _estimate_recurrent_weights(params: Mapping[str, Any], inputs: int) -> int:
    """Each as often as a row meets it, as if each input were a step: too many where a step has
    several."""
    widest = max(repeat_value(params["units"], 1))
    return int(4 * widest * inputs * (1 + widest) * params["rnn_layers"])


NETWORKS: dict[str, NetworkKind] = {
    "mlp": NetworkKind(
        parameters=_LAYERS,
        builder="tuner.networks.mlp:build_mlp",
        estimate_weights=_estimate_dense_weights,
        dropout_places=("input_dropout", "dropout"),
        has_shared_program=True,
    ),
    "cnn": NetworkKind(
        parameters=_BLOCKS | _LAYERS,
        builder="tuner.networks.cnn:build_cnn",
        estimate_weights=_estimate_dense_weights,
        dropout_places=("input_dropout", "block_dropout", "dropout"),
        row_axes=(2, 3),
        row_noun="images",
    ),
    "resnet": NetworkKind(
        parameters=_STAGES | _choose(_HEAD_OF_FEW, batch_norm=True),
        builder="tuner.networks.resnet:build_resnet",
        estimate_weights=_estimate_dense_weights,
        dropout_places=("input_dropout", "stage_dropout", "dropout"),
        row_axes=(2, 3),
        row_noun="images",
    ),
    "rnn": NetworkKind(
        parameters=_RECURRENT | _HEAD_OF_FEW,
        builder="tuner.networks.rnn:build_rnn",
        estimate_weights=_estimate_recurrent_weights,
        dropout_places=("input_dropout", "recurrent_dropout", "rnn_dropout", "dropout"),
        row_axes=(2, 3),
        row_noun="sequences, images or words",
        input_kinds=("", "sequence", "tokens"),
        reads_steps=True,
    ),
}

# The groups of the reference, in its order.
GROUPS: dict[str, dict[str, Parameter]] = {
    "dense layers": _LAYERS,
    "convolutions (cnn)": _BLOCKS,
    "residual blocks (resnet)": _STAGES,
    "recurrent layers (rnn)": _RECURRENT,
    "length": _LENGTH,
    "loss": _LOSS,
    "optimizer": _OPTIMIZER,
    "schedule": _SCHEDULE,
    "regularisation": _REGULARISATION,
    "precision": _PRECISION,
}


# The defaults of studies that were made before a study stored its own. Never change this table, and
# add nothing to it.
DEFAULTS_BEFORE: dict[str, Scalar] = {
    "depth": 2, "width": 128, "taper": 1.0, "activation": "relu", "leaky_slope": 0.2,
    "initializer": "auto", "init_sigma": 0.05, "bias": "all", "dropout": 0.0, "input_dropout": 0.0,
    "batch_norm": False, "layer_norm": False, "norm_position": "before", "epochs": 27,
    "patience": 5, "batch_size": 32, "loss": "auto", "huber_delta": 1.0, "label_smoothing": 0.0,
    "optimizer": "adam", "learning_rate": 0.001, "momentum": 0.0, "nesterov": False,
    "weight_decay": 0.0, "clip_norm": 0.0, "schedule": "constant", "warmup_epochs": 0.0,
    "plateau_factor": 0.5, "plateau_patience": 2, "plateau_min_delta": 0.0001, "cosine_floor": 0.0,
    "decay": 0.9, "cycle_rise": 0.3, "l1": 0.0, "l2": 0.0, "max_norm": 0.0, "augment_shift": 0,
    "augment_flip": False, "blocks": 2, "convolutions": 1, "filters": 32, "filter_growth": 2.0,
    "kernel": 3, "padding": "same", "pool": 2, "block_dropout": 0.0,
}  # fmt: skip


# In place of a network's name: a user's function that trains by itself. All parameters are its own,
# but for the number of epochs, which the pruner has to know. It has no default.
OWN_TRAINING = "own training"
_OWN_TRAINING = {"epochs": TRAINING["epochs"]}
# In place of a network's name: a user's function that returns a compiled model, and asks for its
# parameters. Of the training's parameters it has those that Keras' `fit` is called with.
OWN_MODEL = "own model"
_OWN_MODEL = {
    name: parameter
    for name, parameter in TRAINING.items()
    if parameter.role in (Role.LOOP, Role.SIZE, Role.ROW_WEIGHT)
}


def catalogue_key(network: str, kind: FunctionKind) -> str:
    """What `catalogue` takes for a study's network; `kind`: of a user's own."""
    if kind is FunctionKind.HYPERMODEL:
        return OWN_MODEL
    return OWN_TRAINING if kind.trains else network


def catalogue(network: str) -> dict[str, Parameter]:
    """The parameters of `network`: its own and the training's. Of a user's own network
    (`file.py:build`) only the training's are in the catalogue. `network` may be OWN_TRAINING or
    OWN_MODEL."""
    if network == OWN_TRAINING:
        return _OWN_TRAINING
    if network == OWN_MODEL:
        return _OWN_MODEL
    kind = NETWORKS.get(network)
    return {**(kind.parameters if kind else {}), **TRAINING}


def parameters_with(network: str, *roles: Role) -> dict[str, Parameter]:
    """The parameters of `network` that have one of these roles."""
    return {
        name: parameter for name, parameter in catalogue(network).items() if parameter.role in roles
    }


def training_parameters(*roles: Role) -> dict[str, Parameter]:
    """The parameters of the training, whatever the network, that have one of these roles."""
    return {name: parameter for name, parameter in TRAINING.items() if parameter.role in roles}


def training_only_names() -> frozenset[str]:
    """Numbers, schedule, length and row weights of the training: what a user's own network is not
    given. A number that it built in as a constant would stay for the next trial of the same
    structure."""
    return frozenset(training_parameters(Role.SCALAR, Role.SCHEDULE, Role.LOOP, Role.ROW_WEIGHT))


def is_read_by_fit(name: str) -> bool:
    """Whether the parameter has an effect on a model that the user's code has compiled. Its
    optimizer, losses and regularisation are its own."""
    return name in training_parameters(Role.LOOP, Role.SIZE, Role.ROW_WEIGHT, Role.PRECISION)


def defaults(network: str) -> dict[str, Scalar]:
    """The present default of each parameter of `network` that has one."""
    if network == OWN_TRAINING:
        return {}
    return {name: parameter.default for name, parameter in catalogue(network).items()}


def former_defaults(network: str) -> dict[str, Scalar]:
    """The defaults of a study that was made before studies stored their own."""
    return {name: DEFAULTS_BEFORE[name] for name in defaults(network) if name in DEFAULTS_BEFORE}


def settled_defaults(network: str, stored: Mapping[str, Scalar] | None) -> dict[str, Scalar]:
    """The default of each parameter in a study with these `stored` ones; None for the present ones.
    A parameter that is newer than the study has no effect."""
    present = defaults(network)
    if stored is None:
        return present
    parameters = catalogue(network)
    return {name: stored.get(name, parameters[name].without_effect) for name in present}
