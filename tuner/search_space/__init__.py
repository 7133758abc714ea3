"""The search space: a YAML file made into ranges that Optuna samples and a grid can enumerate.

`files` reads it (`yaml_file` the text, `extras` what it says beside the space), `model` is what a
study keeps, `plan` the order in which parameters are settled, `listing` the configurations that are
named one by one, `checks` what must hold between them, `difference` what sets two apart.
"""

from tuner.search_space.loading import (
    SpaceFile,
    load_file,
    load_space,
    parse_space,
    shipped_spaces,
    space_schema,
)
from tuner.search_space.parameter_types import Params
from tuner.search_space.space import Row, Space, make_space
from tuner.values import Scalar

__all__ = [
    "Params",
    "Row",
    "Scalar",
    "Space",
    "SpaceFile",
    "load_file",
    "load_space",
    "make_space",
    "parse_space",
    "shipped_spaces",
    "space_schema",
]
