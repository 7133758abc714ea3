"""The search space: what a file says, checked as a whole, and what a study asks of it."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo
from pydantic import PlainValidator, field_validator, model_validator

from tuner.errors import SpaceError
from tuner.parameters import NETWORKS, Params, Scalar, catalogue, nearest, shown
from tuner.space import grid
from tuner.space.checks import MOST_PARAMETERS, fit, unknown_parameter
from tuner.space.configuration import check_value, flatten, without_conflicts
from tuner.space.nodes import Node, in_words, largest, make_nodes
from tuner.space.plan import Plan, make_plan
from tuner.space.ranges import Choices, Declaration, FloatRange, IntRange, Range, Suggests
from tuner.space.scalars import Wrong, check_scalar
from tuner.space.wording import explained, placed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
