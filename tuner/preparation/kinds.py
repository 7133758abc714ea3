"""What a column can be, and what can be learnt from a target."""

import re
from typing import Literal

ColumnKind = Literal["number", "category", "text", "date", "drop", "target"]
# words: 1 for each of the most common words that a text holds (tuner's own rule for words).
# tokens: the words' numbers, in order. tf_idf: a weight for each word of the vocabulary.
TextForm = Literal["words", "tokens", "tf_idf"]
# What one head learns.
HeadTask = Literal["classes", "binary", "regression", "multilabel"]
# What a network learns: "several" where it has several heads.
Task = Literal["classes", "binary", "regression", "multilabel", "several"]

# Names of inputs and heads become names of layers, of metrics (val_price_mae) and of columns.
_PART_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def has_one_class(task: str) -> bool:
    """Whether a row has one of several labels."""
    return task in ("classes", "binary")


def part_name_problem(name: str) -> str:
    """Why an input or a head cannot have this name, or ""."""
    if _PART_NAME.fullmatch(name):
        return ""
    return "such names begin with a letter or digit and hold letters, digits, _, . and - alone"
