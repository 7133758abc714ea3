"""What a column can be, and what can be learnt from a target."""

from typing import Literal

ColumnKind = Literal["number", "category", "text", "date", "drop", "target"]
# What one head learns; "several" of data with several heads.
Task = Literal["classes", "binary", "regression", "multilabel", "several"]
