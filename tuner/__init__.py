"""Hyperparameter search for Keras networks, from Python.

Whatever the command `tuner` does with studies, this package does too, on the same database:

    import tuner

    study = tuner.create_study("digits", space="mlp", data="digits")
    study.optimize(trials=100)
    print(study.best_trial)
    model = study.best_model()

Everything is imported when it is first used: `import tuner` alone loads no other library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.api.create import create_study, list_studies, load_study
    from tuner.api.models import load_model
    from tuner.api.spaces import Categorical, Float, Int, Space
    from tuner.api.studies import Study
    from tuner.api.trials import Trial
    from tuner.errors import (
        ArtifactError,
        ArtifactsUnavailable,
        CodeError,
        DatasetError,
        ExportError,
        MetricError,
        NetworkError,
        NotPromoted,
        SearchFailed,
        SpaceError,
        SpecError,
        StorageError,
        StorageUnavailable,
        StudyError,
        TrackingError,
        TrialPruned,
        TunerError,
        UsageError,
        WorkerError,
    )
    from tuner.functions.training_trial import TrainingTrial
    from tuner.models.evaluations import Estimate, Evaluation
    from tuner.models.model import Model
    from tuner.models.registering import Promotion
    from tuner.networks.learning_rates import layer_learning_rates
    from tuner.system.user_files import local_file

    __version__: str

__all__ = [
    "ArtifactError",
    "ArtifactsUnavailable",
    "Categorical",
    "CodeError",
    "DatasetError",
    "Estimate",
    "Evaluation",
    "ExportError",
    "Float",
    "Int",
    "MetricError",
    "Model",
    "NetworkError",
    "NotPromoted",
    "Promotion",
    "SearchFailed",
    "Space",
    "SpaceError",
    "SpecError",
    "StorageError",
    "StorageUnavailable",
    "Study",
    "StudyError",
    "TrackingError",
    "TrainingTrial",
    "Trial",
    "TrialPruned",
    "TunerError",
    "UsageError",
    "WorkerError",
    "__version__",
    "create_study",
    "layer_learning_rates",
    "list_studies",
    "load_model",
    "load_study",
    "local_file",
]

_MODULES = {
    **dict.fromkeys(("Categorical", "Float", "Int", "Space"), "tuner.api.spaces"),
    **dict.fromkeys(("create_study", "list_studies", "load_study"), "tuner.api.create"),
    "layer_learning_rates": "tuner.networks.learning_rates",
    "load_model": "tuner.api.models",
    "local_file": "tuner.system.user_files",
    "Model": "tuner.models.model",
    **dict.fromkeys(("Estimate", "Evaluation"), "tuner.models.evaluations"),
    "Promotion": "tuner.models.registering",
    "Study": "tuner.api.studies",
    "TrainingTrial": "tuner.functions.training_trial",
    "Trial": "tuner.api.trials",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from tuner.settings import tuner_version

        return tuner_version()
    if name not in __all__:
        raise AttributeError(f"module 'tuner' has no attribute {name!r}")
    value = getattr(import_module(_MODULES.get(name, "tuner.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
