"""What kind of function a user's file has, found from its text alone: nothing of it is run."""

import ast
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from tuner.errors import NetworkError


class FunctionKind(StrEnum):
    """How a user's function takes part in a study. The words are stored with studies."""

    BUILD = "build"
    """`build(params, input_shape, outputs)` returns a keras.Model, which tuner trains."""
    TRAIN = "train"
    """`train(params, trial)` trains by itself and reports."""
    OBJECTIVE = "objective"
    """Optuna's `objective(trial)`: it asks for its parameters and returns its score."""
    HYPERMODEL = "hypermodel"
    """KerasTuner's `build_model(hp)`, or a HyperModel: it asks for its parameters and returns a
    compiled keras.Model."""

    @property
    def defines_space(self) -> bool:
        """Whether the space is what the function asks for while it runs."""
        return self in (FunctionKind.OBJECTIVE, FunctionKind.HYPERMODEL)

    @property
    def trains(self) -> bool:
        """Whether the function trains by itself, and may need no data of ours."""
        return self in (FunctionKind.TRAIN, FunctionKind.OBJECTIVE)

    @property
    def form(self) -> str:
        """How such a function is written, and what it does, in a few words."""
        return _FORMS[self]


_FORMS = {
    FunctionKind.BUILD: "builds a network: build(params, input_shape, outputs)",
    FunctionKind.TRAIN: "trains by itself: train(params, trial)",
    FunctionKind.OBJECTIVE: "is an objective of Optuna's form: objective(trial)",
    FunctionKind.HYPERMODEL: "builds a model of KerasTuner's form: build_model(hp)",
}
FORMS = (
    "build(params, input_shape, outputs), train(params, trial), Optuna's objective(trial) or "
    "KerasTuner's build_model(hp)"
)
_SUGGESTS = ("suggest_", "should_prune", "report", "set_user_attr")
_HYPERPARAMETERS = ("Int", "Float", "Choice", "Boolean", "Fixed", "conditional_scope")
_MOST_BASES = 8  # also of classes that are their own base, which Python refuses
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def kind_of_function(text: str, name: str, where: str) -> FunctionKind:
    """The kind of the function or HyperModel class `name` in a file with this text. `where` begins
    the message. Raises NetworkError for one that fits no kind.

    The number of its arguments decides; of one argument, its annotation and name, and then what the
    function does with it.
    """
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return FunctionKind.BUILD  # running the file will say what is wrong
    definition = _definition(module, name)
    if isinstance(definition, ast.Assign):
        is_hypermodel = isinstance(definition.value, ast.Call) and _is_hypermodel(
            module, definition.value.func
        )
        return FunctionKind.HYPERMODEL if is_hypermodel else FunctionKind.BUILD
    if isinstance(definition, ast.ClassDef):
        if _is_hypermodel(module, ast.Name(name)):
            return FunctionKind.HYPERMODEL
        raise NetworkError(f"{where} is a class without a method build(self, hp); {_instead()}")
    if definition is None:
        _check_bound(module, name, where)
        return FunctionKind.BUILD  # made otherwise, by a call or an import
    names, required = _arguments(definition)
    if required == 1:
        return _kind_of_one_argument(definition, names[0], where)
    if definition.args.vararg is not None or (len(names) >= 3 and required in (2, 3)):
        return FunctionKind.BUILD
    if required == 2:
        return FunctionKind.TRAIN
    raise NetworkError(f"{where} takes ({', '.join(names)}); {_instead()}")


def kind_of_network(network: object) -> FunctionKind:
    """The kind of `my_file.py:function`, where that is a file in the current folder. BUILD for
    anything else, and where the file cannot be read: whoever needs the file says so."""
    path, _, name = network.rpartition(":") if isinstance(network, str) else ("", "", "")
    if not path.endswith(".py"):
        return FunctionKind.BUILD
    try:
        return kind_of_function(Path(path).read_text(encoding="utf-8"), name, path)
    except (OSError, ValueError, NetworkError):
        return FunctionKind.BUILD


def _instead() -> str:
    return f"write {FORMS}"


def _definition(module: ast.Module, name: str) -> _Function | ast.ClassDef | ast.Assign | None:
    """What gives the name its meaning at the top of the file, the last time."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    definitions = [
        node
        for node in module.body
        if (isinstance(node, kinds) and node.name == name)
        or (isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets))
    ]
    return definitions[-1] if definitions else None


def _check_bound(module: ast.Module, name: str, where: str) -> None:
    """Raises NetworkError where nothing in the file can have given that name a value."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
    if not names & {name, "*"}:
        own = [node.name for node in module.body if isinstance(node, ast.FunctionDef)]
        path = where.rpartition(":")[0] or where
        raise NetworkError(f"{path}: no function {name!r}; it has {', '.join(own) or 'none'}")


def _is_hypermodel(module: ast.Module, made_by: ast.expr, depth: int = 0) -> bool:
    """Whether it is the name of a class with a method `build`, or of one of KerasTuner's own, such
    as HyperResNet. Classes of the file are followed to their bases."""
    name = ast.unparse(made_by).rpartition(".")[2]
    definition = _definition(module, name)
    if not isinstance(definition, ast.ClassDef):
        return definition is None and name.startswith("Hyper")
    if _has_method(definition, "build"):
        return True
    return depth < _MOST_BASES and any(
        _is_hypermodel(module, base, depth + 1) for base in definition.bases
    )


def _has_method(node: ast.ClassDef, name: str) -> bool:
    return any(isinstance(each, ast.FunctionDef) and each.name == name for each in node.body)


def _arguments(function: _Function) -> tuple[list[str], int]:
    """The names of its positional arguments, and how many of them have no default."""
    names = [argument.arg for argument in [*function.args.posonlyargs, *function.args.args]]
    return names, len(names) - len(function.args.defaults)


def _kind_of_one_argument(function: _Function, name: str, where: str) -> FunctionKind:
    annotation = next(
        ast.unparse(argument.annotation) if argument.annotation else ""
        for argument in [*function.args.posonlyargs, *function.args.args]
        if argument.arg == name
    )
    for kind, words in (
        (FunctionKind.OBJECTIVE, ("trial", "Trial", "optuna")),
        (FunctionKind.HYPERMODEL, ("hp", "HyperParameters", "hyperparameters")),
    ):
        if name in words or any(word in annotation for word in words[1:]):
            return kind
    used = set(_attributes_of(function, name))
    if any(attribute.startswith(_SUGGESTS) for attribute in used):
        return FunctionKind.OBJECTIVE
    if used.intersection(_HYPERPARAMETERS):
        return FunctionKind.HYPERMODEL
    raise NetworkError(
        f"{where} takes ({name}), and neither asks it for parameters as Optuna's trial nor as "
        f"KerasTuner's hp; {_instead()}"
    )


def _attributes_of(function: _Function, name: str) -> Iterator[str]:
    for node in ast.walk(function):
        value = node.value if isinstance(node, ast.Attribute) else None
        if isinstance(node, ast.Attribute) and isinstance(value, ast.Name) and value.id == name:
            yield node.attr
