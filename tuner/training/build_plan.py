"""How a trial of a user's `build` is trained by the fit engine."""

from typing import Any

from tuner.data import Dataset
from tuner.networks.custom import CustomNetwork, GivenParams, given_params
from tuner.networks.dtype_policies import dtype_policy, precision_of
from tuner.search_space.parameter_types import Params
from tuner.training.fit_arguments import check_arguments, check_callbacks
from tuner.training.fit_trial import FitPlan


class UncompiledModel(Exception):
    """The user's code returns a model that is not compiled: the Keras engine trains it."""


def plan_of_build(
    network: CustomNetwork, params: Params, dataset: Dataset, given: GivenParams | None = None
) -> FitPlan:
    """`make_model` raises UncompiledModel for a model that is not compiled. `given`: the params as
    the user's code is to see them. Raises NetworkError for arguments that `fit` does not take."""
    given = given_params(network, params) if given is None else given
    file = network.run_file()
    where = f"{network.path}:{network.function}"

    def make_model() -> Any:
        with dtype_policy(precision_of(params)):
            model = network.build(given, dataset.input_shape, dataset.outputs, file)
        if not getattr(model, "compiled", False):
            raise UncompiledModel
        return model

    arguments = file.call("fit_arguments", given)
    return FitPlan(
        make_model,
        network.identity,
        callbacks=lambda: check_callbacks(file.call("callbacks", given) or [], where),
        arguments={} if arguments is None else check_arguments(arguments, where),
    )
