"""The search space: a YAML file made into ranges that Optuna samples and a grid can enumerate.

`parameters` is the catalogue, `parameter_types` what a parameter is, `ranges` what a space declares
of one, `nodes` and `checks` how they depend on each other, `space` the whole, `configurations` and
`enumeration` what is made of it, `loading` reads files, `reference` documents the catalogue.
"""

from tuner.search_space.loading import (
    SpaceFile,
    load_file,
    load_network,
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
    "load_network",
    "load_space",
    "make_space",
    "parse_space",
    "shipped_spaces",
    "space_schema",
]
