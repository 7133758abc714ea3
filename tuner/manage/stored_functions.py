"""The functions of a user that training runs from the texts that a study stores."""

from pathlib import Path

from tuner.manage.trust import find_code, require_trusted
from tuner.settings import Settings
from tuner.study.messages import FunctionCode
from tuner.study.spec import StudySpec


def user_network(settings: Settings, spec: StudySpec) -> FunctionCode | None:
    """The user's own network, as the study stores it; None for a network of ours. Raises CodeError
    where its code may not run on this machine."""
    require_trusted(spec, settings)
    path = spec.network_path
    if path is None:
        return None
    code = _function_code(settings, spec, path, spec.space.network.rpartition(":")[2])
    return code._replace(local_files=tuple(sorted(spec.local_files.items())))


def user_metrics(settings: Settings, spec: StudySpec) -> dict[str, FunctionCode]:
    """The user's own metrics by name, as the study stores them. Raises CodeError as
    `user_network`."""
    require_trusted(spec, settings)
    return {
        name: _function_code(settings, spec, metric.path, metric.function)
        for name, metric in spec.own_metrics.items()
    }


def _function_code(settings: Settings, spec: StudySpec, path: str, function: str) -> FunctionCode:
    modules = tuple((name, code.text) for name, code in sorted(spec.modules_of(path).items()))
    file = find_code(path, settings) or Path(path).absolute()
    return FunctionCode(
        path=path,
        function=function,
        text=spec.code[path].text,
        modules=modules if spec.keeps_modules else None,
        file=str(file),
    )
